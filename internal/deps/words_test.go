package deps

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// plainWords are words that confused readers, and what to write instead.
var plainWords = []struct{ not, but string }{
	{`octets?`, "byte"},
	{`lends?|lent|lending|lenders?|lessors?|unlent|lendable|borrow(s|ed|ing|er)?`, "lease, assign, allocator"},
	{`mend(s|ed|ing)?`, "fix, repair, update (a checksum)"},
	{`twins?`, "reference implementation"},
	{`behind|in front of`, "after, before"},
	{`judg(e|es|ed|ing|ement)`, "check, validate; reference"},
	{`obey(s|ed|ing)?|glances?|complain(s|ed|ing|ts?)?|vitals|hears?|heard`, "handle, poll, report, error"},
	{`aloud|in silence|whoever|nobody|somebody`, "log, report; silently; a program that, no host"},
	{`of no meaning|in peace|ke(eps?|pt) (its|their) word`, "the mechanism"},
	{`pfx`, "pref64, prefix"},
}

// allowedWords are the lines in which such a word is right, by file and by text.
var allowedWords = []struct{ file, line, why string }{
	{`CHANGELOG\.md`, `^\|`, "names before a change"},
	{`Makefile`, `\btwin\b`, "the former name of a target, for scripts that call it"},
	{`.*\.go`, `packets, (%d|\d+|\\d\+) octets`, "a log line, which scripts may parse"},
	{`cmd/tayga/.*_test\.go`, `" octets\\n"`, "the same line"},
	{`internal/status/report\.go`, `json:"octets"`, "a key of the status report"},
	{`rfc/(README\.md|choices_test\.go)`, "[`\"]octet-8[`\"]", "RFC 6052 §2.2 calls it the \"u\" octet"},
	{`.*`, `(?i)\b(le(ft|aves?|aving)|stay(s|ed)?)\b.*\bbehind|leaveBehind|LeftBehind|left-behind`, "what remains of a program"},
	{`internal/(cmd/\w+/run_linux|status/socket)\.go`, `^// behind`, "the same, on the next line"},
	{`.*`, `(?i)\bbehind (a|the) (translator|gateway|NAT64)`, "a place in a network"},
	{`internal/cmd/mutants/list\.go`, `identification-behind-clock`, "a counter that is late"},
	{`rfc/rfc6864_test\.go`, `fall behind`, "counters that are late"},
	{`.*_linux_test\.go|cmd/tayga/options_test\.go|internal/cmd/faults/storage_linux\.go|(packaging|docs)/.*`, `(?i)\bnobody\b`, "the user nobody, in tests of permissions"},
	{`.*`, `asNobody|NobodyCannotTakeLocks`, "the same"},
}

// TestPlainWords: no word of the table above is in the text or in the code.
func TestPlainWords(t *testing.T) {
	var words []*regexp.Regexp
	for _, w := range plainWords {
		words = append(words, regexp.MustCompile(`(?i)\b(?:`+w.not+`)\b`))
	}
	camel := regexp.MustCompile(`([a-z0-9])([A-Z])`)
	type place struct{ file, line *regexp.Regexp }
	var allowed []place
	for _, a := range allowedWords {
		allowed = append(allowed, place{regexp.MustCompile(`^(?:` + a.file + `)$`), regexp.MustCompile(a.line)})
	}
	used := make([]bool, len(allowed))
	root := "../.."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch {
			case name == ".git", name == "bin", name == "bench/results", d.Name() == "testdata":
				return filepath.SkipDir
			}
			return nil
		}
		if name == "internal/deps/words_test.go" || name == "go.sum" || !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.IndexByte(b, 0) >= 0 {
			return nil // a binary
		}
		n := 0
	lines:
		for line := range strings.Lines(string(b)) {
			n++
			split := camel.ReplaceAllString(strings.ReplaceAll(line, "_", " "), "$1 $2")
			for i, w := range words {
				bad := w.FindString(split)
				if bad == "" {
					continue
				}
				for j, a := range allowed {
					if a.file.MatchString(name) && a.line.MatchString(line) {
						used[j] = true
						continue lines
					}
				}
				t.Errorf("%s:%d: %q: write %s: %s", name, n, bad, plainWords[i].but, strings.TrimSpace(line))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for j, a := range allowedWords {
		if !used[j] {
			t.Errorf("%s: no line with %s any more", a.file, a.line)
		}
	}
}
