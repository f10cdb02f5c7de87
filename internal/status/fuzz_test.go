package status

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode"
)

// FuzzRequest: what is taken for a request is one of a few, written as we do.
func FuzzRequest(f *testing.F) {
	for _, w := range whats {
		f.Add(encodeRequest(w))
	}
	f.Add([]byte("summary"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if w, err := decodeRequest(b); err == nil && !bytes.Equal(encodeRequest(w), b) {
			t.Errorf("%q taken for %s", b, w)
		}
	})
}

// FuzzQuery: what is taken for a selection of sessions is written as we do, and what an
// operator types in for it arrives as it was meant.
func FuzzQuery(f *testing.F) {
	for _, words := range queries {
		q, err := ParseQuery(strings.Fields(words))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encodeQuery(q), words)
	}
	f.Add([]byte("page=1"), "::1 ::2")
	f.Add(fmt.Appendf(nil, "%-159s\n", "page=01"), "[::1]:0")
	f.Fuzz(func(t *testing.T, b []byte, words string) {
		if q, err := decodeQuery(b); err == nil && !bytes.Equal(encodeQuery(q), b) {
			t.Errorf("%q taken for %v", b, q)
		}
		q, err := ParseQuery(strings.Fields(words))
		if err != nil {
			if !fit(err.Error()) || len(err.Error()) > 1000 {
				t.Errorf("error %q", err)
			}
			return
		}
		request := Request{Sessions, q}.encode()
		if got, err := readRequest(bytes.NewReader(request)); err != nil || got.Query != q {
			t.Errorf("%q: %v sent as %q, taken for %v, %v", words, q, request, got.Query, err)
		}
	})
}

// FuzzAnswer: whatever a server sends gives a report or one clean line, and the
// report a table without control characters.
func FuzzAnswer(f *testing.F) {
	for _, w := range whats {
		b, err := encodeAnswer(tellAsked(Request{What: w}))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(encodeRefusal(errBusy))
	f.Add([]byte(`{"version":"\u001b[2J\u202e","uptime_seconds":18446744073709551615,"dynamic_pool":{},"packets":[{"direction":"\n"}]}` + "\n"))
	f.Add([]byte(`{"fast_path":{"off":"\u001b[2J\u2028","kernel":{"packets":18446744073709551615},"daemon":{"packets":1},` +
		`"counts":[{"direction":"\n","reason":"\u009b","segments":18446744073709551615},{}]}}` + "\n"))
	f.Add([]byte(`{"stateful_pool":{"total":{"used":-1},"denied":[{"reason":"\u001b[31m","packets":18446744073709551615}],"sessions":[{"protocol":"\u202e"},{}],` +
		`"addresses":{"entries":[{"ipv4":"\n"}],"left_out":9},"fullest_subscribers":[{"prefix":"\u0007"}]},` +
		`"session_list":{"entries":[{"host":"\u009b","remaining_seconds":18446744073709551615},{}],"next":4294967295}}` + "\n"))
	f.Add([]byte(`{"lease_list":{"entries":[null],"left_out":-1},"map_list":{},"started":"0001-01-01T00:00:00Z"}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeAnswer(bytes.NewReader(b))
		if err != nil {
			if !fit(err.Error()) || len(err.Error()) > 1000 {
				t.Errorf("error %q", err)
			}
			return
		}
		var table strings.Builder
		if err := r.WriteTable(&table); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(table.String()) {
			if !fit(strings.TrimSuffix(line, "\n")) {
				t.Errorf("line %q", line)
			}
		}
		if _, err := json.Marshal(r); err != nil {
			t.Error(err)
		}
	})
}

func fit(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}
