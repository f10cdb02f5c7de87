package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Short pieces of Go in the documents, and what they take for granted. "…" in a piece
// stands for what a reader adds, such as the check of an error.
var snippets = []struct{ file, begins, given string }{
	{"../README.md", "tab, err := translate.NewTable", "var own4, own6 netip.Addr; var packet []byte; var start time.Time"},
	{"../docs/library.md", "wrapped, err := clat.New", "var tunnel clat.Device[int]"},
	{"../docs/library.md", "dyn, err := leases.New", "var store leases.Store; var prefixes, addresses []netip.Prefix"},
}

// indented is a block of code in Markdown without a fence.
var indented = regexp.MustCompile(`(?m)(^    .*\n|^\n)+`)

// What the documents show compiles against the packages as they are. README called
// Translate without the time, which it had come to ask for.
func TestSnippets(t *testing.T) {
	for _, s := range snippets {
		text, err := os.ReadFile(s.file)
		require.NoError(t, err)
		code := ""
		for _, b := range strings.Split(string(text), "```go\n")[1:] {
			if b, _, _ := strings.Cut(b, "```"); strings.Contains(b, s.begins) && !strings.HasPrefix(b, "package") && !strings.HasPrefix(b, "//") {
				code = b
			}
		}
		for _, b := range indented.FindAllString(string(text), -1) {
			if strings.Contains(b, s.begins) {
				code = b
			}
		}
		require.NotEmpty(t, code, s.begins)
		code = code[strings.Index(code, s.begins):]
		code, _, _ = strings.Cut(code, "dev := device.NewDevice") // of wireguard-go
		code = strings.ReplaceAll(code, "…", "_ = err")
		whole := `package p
import (
	"log"
	"net/netip"
	"time"
	"github.com/steppe-nat64/steppe/examples/clat"
	"github.com/steppe-nat64/steppe/examples/leases"
	"github.com/steppe-nat64/steppe/translate"
)
var _ = log.Print
var _ netip.Addr
var _ time.Time
var _ clat.Config
var _ leases.Leases
var _ translate.Packet
func f() {
` + s.given + "\n" + code + "\n}\n"
		name := filepath.Join(t.TempDir(), "piece.go")
		require.NoError(t, os.WriteFile(name, []byte(whole), 0o644))
		out, err := exec.Command("go", "build", "-gcflags=-e", "-o", os.DevNull, name).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			// A piece ends somewhere.
			if !strings.Contains(line, "declared and not used") && !strings.HasPrefix(line, "#") {
				t.Errorf("%s: %s", s.file, line)
			}
		}
		assert.True(t, err == nil || len(out) > 0, "%v", err)
	}
}
