package main

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSharedRestart: connections go on after a clean end, and after one by SIGKILL if they
// were there when the file was last written to. The other way round, no session would be
// known for the next packet, and TCP would wait for ever.
func TestSharedRestart(t *testing.T) {
	v := newShared(t, "sandbox auto\n")
	l, err := v.server.Listen("tcp4", ":80")
	require.NoError(t, err)
	defer l.Close()

	p := v.launch()
	c, s, _ := v.seenFrom(clientAddr, l)
	defer c.Close()
	defer s.Close()
	roundTrip(t, c, s)
	require.NoError(t, p.Stop(patience))
	fi, err := os.Stat(v.dir + "/" + sessionFileName)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), fi.Mode().Perm())

	p = v.launch()
	v.await(p, "Loaded 1 session from "+v.dir+"/sessions.bin\n")
	roundTrip(t, c, s)
	c2, s2, _ := v.seenFrom(secondAddr, l)
	defer c2.Close()
	defer s2.Close()
	roundTrip(t, c2, s2)
	size := func() int64 {
		fi, err := os.Stat(v.dir + "/" + sessionFileName)
		require.NoError(t, err)
		return fi.Size()
	}
	before := size()
	require.NoError(t, p.Signal(syscall.SIGHUP))
	v.eventually(func() bool { return size() > before }, p.Output)
	require.Error(t, p.Kill())

	p = v.launch()
	v.await(p, "Loaded 2 sessions from ")
	roundTrip(t, c, s)
	roundTrip(t, c2, s2)
	require.NoError(t, p.Stop(patience))
	assert.NotContains(t, p.Output(), "Unable to write")
}

// TestSharedTwoDaemons: a second daemon does not get the sessions of the first one.
func TestSharedTwoDaemons(t *testing.T) {
	v := newShared(t, "")
	p := v.launch()
	out, errs, status := v.tayga("-c", v.conf, "-d")
	assert.Equal(t, 1, status)
	assert.Contains(t, out+errs, "data-dir "+v.dir+" is in use by another tayga")
	require.NoError(t, p.Stop(patience))
}
