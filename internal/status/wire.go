package status

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/steppe-nat64/steppe/internal/plain"
)

// A What says which report is wanted.
type What string

// What can be asked for.
const (
	Summary What = "summary" // everything but the lists
	Leases  What = "leases"  // with the list of leases
	MapList What = "maps"    // with the list of explicit maps
	// Sessions is a page of the sessions that a Query selects.
	Sessions What = "sessions"
)

// whats are all of them.
var whats = []What{Summary, Leases, MapList, Sessions}

// A Request says what a client asks for.
type Request struct {
	What  What
	Query Query // if What is Sessions
}

// ParseWhat reads a What.
func ParseWhat(s string) (What, error) {
	for _, w := range whats {
		if s == string(w) {
			return w, nil
		}
	}
	return "", fmt.Errorf("status: %s is none of summary, leases, maps, sessions", show(s))
}

// A request is a word, padded with blanks, and a line feed: always of the same
// length, so that the server never waits for the end of something endless. After
// "sessions" comes a query.
const requestLen = 16

// errUnknown is what a client is told whose request makes no sense.
var errUnknown = fmt.Errorf("unknown request: send summary, leases, maps or sessions, padded with blanks to %d bytes, and a line feed", requestLen-1)

func encodeRequest(w What) []byte {
	return fmt.Appendf(nil, "%-*s\n", requestLen-1, w)
}

func (r Request) encode() []byte {
	b := encodeRequest(r.What)
	if r.What == Sessions {
		b = append(b, encodeQuery(r.Query)...)
	}
	return b
}

func decodeRequest(b []byte) (What, error) {
	word, ok := strings.CutSuffix(string(b), "\n")
	if !ok || len(b) != requestLen {
		return "", errUnknown
	}
	w, err := ParseWhat(strings.TrimRight(word, " "))
	if err != nil {
		return "", errUnknown
	}
	return w, nil
}

// An answer is one line: a Report in JSON, or the refusal and why.
const refusal = "error: "

// maxAnswer bounds what a client reads. A list of MaxList entries takes less
// than two MiB.
const maxAnswer = 8 << 20

func encodeAnswer(r *Report) ([]byte, error) {
	b, err := json.Marshal(r)
	return append(plain.JSON(b), '\n'), err
}

func encodeRefusal(err error) []byte { return []byte(refusal + err.Error() + "\n") }

// decodeAnswer reads an answer up to the end of r. What it says is only known
// to have the form of a Report.
func decodeAnswer(r io.Reader) (*Report, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	line, whole := bytes.CutSuffix(b, []byte("\n"))
	why, refused := bytes.CutPrefix(line, []byte(refusal))
	switch {
	case whole && refused: // before the request was read, so that the connection may have been reset
		return nil, fmt.Errorf("refused: %s", clean(string(why)))
	case err != nil:
		return nil, err
	case len(b) > maxAnswer:
		return nil, fmt.Errorf("the answer is longer than %d MiB", maxAnswer>>20)
	case len(b) == 0:
		return nil, errors.New("no answer")
	case !whole:
		return nil, errors.New("the answer was cut short")
	}
	report := new(Report)
	if err := json.Unmarshal(line, report); err != nil {
		return nil, fmt.Errorf("the answer makes no sense: %s", clean(err.Error()))
	}
	return report, nil
}

// show returns a word for use in a message.
func show(s string) string { return fmt.Sprintf("%q", clean(s)) }

// clean makes text of others fit for a terminal: short, and on one line.
func clean(s string) string { return plain.Short(s, 200) }
