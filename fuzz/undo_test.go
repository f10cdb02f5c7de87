package fuzz

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/steppe-nat64/steppe/internal/plain"
	"github.com/steppe-nat64/steppe/internal/repair"
)

// FuzzUndo reads files of commands that --undo runs. Whatever is accepted has lines that
// can be shown, states for all that is touched, and means the same when it is written.
func FuzzUndo(f *testing.F) {
	const entry = `{"time":"2026-01-02T03:04:05Z","boot":"b","netns":"cookie 7","about":"forwarding","command":"sysctl -w net.ipv4.ip_forward=1","undo":"sysctl -w net.ipv4.ip_forward=0","touches":[{"kind":"setting","name":"ipv4/ip_forward","new":1}],"before":["0"],"after":["1"]}`
	f.Add([]byte(`{"version":1,"entries":[` + entry + `]}`))
	f.Add([]byte(`{"version":1,"entries":[` + entry + `,` + entry + `]} {}`))
	f.Add([]byte(`{"version":1,"entries":[{"command":"true","touches":[{"kind":"iptables","text":"iptables -t nat -C POSTROUTING -s 192.168.255.0/24 -j MASQUERADE"}],"before":["absent"]}]}`))
	f.Add([]byte(`{"version":1,"entries":[{"command":"true","copy":"doctor-copy-0","touches":[{"kind":"route","prefix":"64:ff9b::/96","link":"nat64","table":254}],"before":[""]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		entries, err := repair.Parse(text)
		if err != nil {
			if !plain.IsLine(err.Error()) || entries != nil {
				t.Errorf("%d entries, error %q", len(entries), err)
			}
			return
		}
		for _, e := range entries {
			if e.Command == "" || !plain.IsLine(e.Command) || !plain.IsLine(e.Undo) || len(e.Before) != len(e.Touches) {
				t.Errorf("entry %+v", e)
			}
		}
		once := rewritten(t, entries)
		read, err := repair.Parse(once)
		if err != nil {
			t.Fatalf("%s: %v", once, err)
		}
		if twice := rewritten(t, read); !bytes.Equal(once, twice) {
			t.Errorf("%s: read again as %s", once, twice)
		}
	})
}

// rewritten is the file with some entries.
func rewritten(t *testing.T, entries []repair.Entry) []byte {
	t.Helper()
	text, err := json.Marshal(map[string]any{"version": 1, "entries": entries})
	if err != nil {
		t.Fatal(err)
	}
	return text
}
