// Package plain escapes untrusted text before it is printed, so that it cannot control a
// terminal or a log. It escapes control characters (C0, DEL, C1), everything else that is
// not printable, such as the characters that change the direction of text, and bytes
// that are not UTF-8.
//
// Programs use it for all text that they print: names of files, interfaces and tables,
// words of configurations, comments of rules, answers of other processes.
package plain

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line returns s as one line. What separates words becomes a blank, the rest of what
// is not printable a question mark.
func Line(s string) string { return replace(s, false) }

// replace keeps line feeds and tabs of a text that has lines.
func replace(s string, lines bool) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b.WriteByte('?')
		case unicode.IsPrint(r), lines && (r == '\n' || r == '\t'):
			b.WriteRune(r)
		case r == 0, r == '\n', r == '\r', r == '\t':
			b.WriteByte(' ')
		default:
			b.WriteByte('?')
		}
		i += size
	}
	return b.String()
}

// isPlain reports whether s is printable ASCII, which most lines are.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// IsLine reports whether Line would leave s as it is.
func IsLine(s string) bool { return Line(s) == s }

// Short is Line of at most so many characters; an ellipsis stands for what is left out.
func Short(s string, most int) string {
	n := 0
	for i := range s {
		if n++; n > most {
			return Line(s[:i]) + "…"
		}
	}
	return Line(s)
}

// JSON escapes what is not printable in a JSON text, in which that stands in strings
// only. The standard library escapes C0 and leaves the rest. Line feeds stay.
func JSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			out = append(out, `\ufffd`...)
		case r == '\n', unicode.IsPrint(r):
			out = append(out, text[i:i+size]...)
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += size
	}
	return out
}

// A Writer writes text of many lines, cleaned but for line feeds and tabs. It takes
// whole characters only: one that is split between two calls counts as bytes that are
// no UTF-8. Lines that hold the text of others are made by Line first, lest a line
// feed in it begin a line of its own.
type Writer struct{ W io.Writer }

// Write writes b. The number is that of the bytes of b, all or none.
func (w Writer) Write(b []byte) (int, error) {
	if _, err := io.WriteString(w.W, replace(string(b), true)); err != nil {
		return 0, err
	}
	return len(b), nil
}
