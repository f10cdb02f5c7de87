package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// emptyTemp gives the test a directory for temporary files of its own and wants
// it empty at the end.
func emptyTemp(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		assert.NoError(t, err)
		assert.Empty(t, left, "temporary files are left behind")
	})
}

// TestBrokenBinary shows a program that does nothing, one that fails and one that
// is not there.
func TestBrokenBinary(t *testing.T) {
	netlab.New(t) // skips where there is no laboratory
	for path, want := range map[string]string{
		"/bin/true":       "FAIL one-command: tayga --gateway ended at once\n",
		"/bin/false":      "FAIL one-command: tayga --gateway ended at once",
		"/no/such/binary": "FAIL one-command: netlab: gateway: start /no/such/binary: ",
	} {
		t.Run(path, func(t *testing.T) {
			emptyTemp(t)
			var out bytes.Buffer
			assert.False(t, run(t.Context(), &out, options{tayga: path}))
			assert.Contains(t, out.String(), want)
			assert.True(t, strings.HasSuffix(out.String(), "\ndemo: 0 checks passed, 1 failed\n"), out.String())
		})
	}
}
