package examples

import (
	"flag"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const page = "../docs/library.md"

var update = flag.Bool("update", false, "write the programs into "+page)

// block is a program on the page: a link to its file, and its text.
var block = regexp.MustCompile("(?s)(\\]\\(\\.\\./examples/([a-z0-9/_]+\\.go)\\):\n\n```go\n)(.*?)```\n")

// What the page shows is what is compiled and tested here.
func TestPage(t *testing.T) {
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	if *update {
		text = block.ReplaceAllFunc(text, func(b []byte) []byte {
			m := block.FindSubmatch(b)
			file, err := os.ReadFile(string(m[2]))
			require.NoError(t, err)
			return []byte(string(m[1]) + string(file) + "```\n")
		})
		require.NoError(t, os.WriteFile(page, text, 0o644))
	}
	var shown []string
	for _, m := range block.FindAllSubmatch(text, -1) {
		name := string(m[2])
		file, err := os.ReadFile(name)
		require.NoError(t, err)
		assert.Equal(t, string(file), string(m[3]), "%s: go test ./examples -update", name)
		shown = append(shown, name)
	}
	assert.Equal(t, []string{"capture/main.go", "clat/clat.go", "leases/leases.go", "fast/main.go"}, shown)
	// Every other piece of Go on the page would be one that is never compiled.
	assert.Equal(t, len(shown), strings.Count(string(text), "```go\n"))
}

// Who copies a program has none of our internal packages.
func TestImports(t *testing.T) {
	for _, name := range []string{"capture/main.go", "clat/clat.go", "leases/leases.go", "fast/main.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, i := range f.Imports {
			assert.NotContains(t, i.Path.Value, "/internal/", name)
		}
	}
}
