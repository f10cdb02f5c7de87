package main

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
	"github.com/steppe-nat64/steppe/internal/test/testbed"
)

// TestSoak is a short run, which is to leave nothing behind.
func TestSoak(t *testing.T) {
	netlab.New(t) // skips where there is no laboratory
	tayga, err := testbed.Build(t.TempDir())
	require.NoError(t, err)
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var out bytes.Buffer
	well := run(t.Context(), &out, options{tayga: tayga, time: 16 * time.Second, sessions: 40_000})
	t.Log("\n" + out.String())
	assert.True(t, well)
	assert.Regexp(t, `\nsoak: 16s, 2 halves well, 0 failed; TCP [1-9].* lost: 0; .* changed: 0; .*\n$`, out.String())
	assert.Contains(t, out.String(), "ok   sessions: ")
	assert.Regexp(t, `ok   offload=yes: .*; 0 of them, 0.0 % of bytes, translated by the fast path`, out.String())
	assert.Regexp(t, `ok   offload=no: .*; [1-9]\d+ of them, [1-9]\d\.\d % of bytes, translated by the fast path`, out.String())
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left, "temporary files are left behind")
}

// TestBrokenBinary wants a program that does nothing to fail.
func TestBrokenBinary(t *testing.T) {
	netlab.New(t)
	var out bytes.Buffer
	assert.False(t, run(t.Context(), &out, options{tayga: "/bin/true", time: time.Second}))
	assert.Contains(t, out.String(), "FAIL offload=yes: ")
	assert.Contains(t, out.String(), "\nsoak: 1s, 0 halves well, 2 failed; ")
}

// TestInterrupted ends a run in the middle.
func TestInterrupted(t *testing.T) {
	netlab.New(t)
	tayga, err := testbed.Build(t.TempDir())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var out bytes.Buffer
	assert.False(t, run(ctx, &out, options{tayga: tayga, time: time.Hour}))
	assert.Contains(t, out.String(), "FAIL offload=yes: context deadline exceeded")
	assert.Contains(t, out.String(), "\nsoak: 1h0m0s, 0 halves well, 1 failed; ")
}

// TestLeaks has each thing that is looked at grow, or only go up and down.
func TestLeaks(t *testing.T) {
	grow := func(f func(u *testbed.Usage, i int)) error {
		var us usages
		for i := range 100 {
			u := testbed.Usage{Memory: 20 << 20, Threads: 10, Files: 15}
			f(&u, i)
			us = append(us, u)
		}
		_, err := us.leaks()
		return err
	}
	for name, f := range map[string]func(u *testbed.Usage, i int){
		"memory":      func(u *testbed.Usage, i int) { u.Memory += int64(i) << 18 },
		"threads":     func(u *testbed.Usage, i int) { u.Threads += i / 10 },
		"descriptors": func(u *testbed.Usage, i int) { u.Files += i / 40 },
	} {
		assert.ErrorContains(t, grow(f), "something leaks", name)
	}
	assert.NoError(t, grow(func(u *testbed.Usage, i int) {
		u.Memory += int64(i%10) << 21
		u.Threads += i % 7
		u.Files += i % 3
		if i < 10 {
			*u = testbed.Usage{Memory: 1, Threads: 1, Files: 1} // it has just begun
		}
	}))
	_, err := usages{}.leaks()
	assert.ErrorContains(t, err, "only 0 looks")
}
