package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// A resolver's user that put a pipe in place of its resolv.conf stopped the helper, which waited for
// a writer until the daemon gave it up, and the CLAT ended.
func TestResolvConfIsNoFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "resolv.conf")
	if err := syscall.Mkfifo(name, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := readResolvers(name); got != nil {
		t.Errorf("a pipe has resolvers: %v", got)
	}
	os.Remove(name)
	if err := os.WriteFile(name, []byte("nameserver 2001:db8::53\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := readResolvers(name); !slices.Equal(got, []netip.Addr{netip.MustParseAddr("2001:db8::53")}) {
		t.Errorf("resolvers %v", got)
	}
}
