package main

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
	"github.com/steppe-nat64/steppe/internal/test/testbed"
)

// TestFaults is a short run.
func TestFaults(t *testing.T) {
	netlab.New(t) // skips where there is no laboratory
	emptyTemp(t)
	tayga, err := testbed.Build(t.TempDir())
	require.NoError(t, err)
	var out bytes.Buffer
	survived := run(t.Context(), &out, options{tayga: tayga, short: true})
	t.Log("\n" + out.String())
	assert.True(t, survived)
	assert.Equal(t, len(faults), strings.Count(out.String(), "\nok   ")+1)
	assert.Regexp(t, `\nfaults: \d+ survived, 0 failed; inputs [\d,]+; leases looked for [\d,]+, lost: 0; .*\n$`, out.String())
}

// TestBrokenBinary wants every fault to fail with a program that does nothing.
func TestBrokenBinary(t *testing.T) {
	netlab.New(t)
	emptyTemp(t)
	var out bytes.Buffer
	assert.False(t, run(t.Context(), &out, options{tayga: "/bin/true", short: true}))
	assert.Equal(t, len(faults), strings.Count(out.String(), "FAIL "), out.String())
	assert.NotContains(t, out.String(), "ok   ")
}

// TestInterrupted ends the program before it has begun.
func TestInterrupted(t *testing.T) {
	netlab.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	assert.False(t, run(ctx, &out, options{tayga: "/bin/true", only: regexp.MustCompile("disk")}))
	assert.True(t, strings.HasPrefix(out.String(), "FAIL disk-full: context canceled"), out.String())
	assert.Equal(t, 1, strings.Count(out.String(), "FAIL "), out.String())
}

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
