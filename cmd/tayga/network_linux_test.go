package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/autogw"
	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// twoSided gives a host an interface towards IPv4 and one for clients.
func twoSided(t *testing.T) *bench {
	b := newBench(t, "").installed()
	for _, name := range []string{"wan", "lan"} {
		require.NoError(t, b.host.Command("ip", "link", "add", name, "type", "veth", "peer", "name", name+"-peer").Run())
		b.host.Up(name)
		b.host.Up(name + "-peer")
	}
	b.host.Addr("wan", "198.51.96.1/24")
	b.host.Route("0.0.0.0/0", "198.51.96.2", "wan")
	b.host.Addr("lan", "2001:db8:5::1/64")
	return b
}

// network is what a daemon changes: rules, tables of nftables, settings.
func (b *bench) network() string {
	b.Helper()
	out, err := b.host.Command("sh", "-c", `ip -4 rule; ip -6 rule; ip -4 route show table all; ip -6 route show table all | grep -v fe80::; nft list ruleset
		for f in /proc/sys/net/ipv[46]/conf/*/*forwarding /proc/sys/net/ipv6/conf/*/accept_ra; do echo "$f $(cat "$f")"; done`).CombinedOutput()
	require.NoError(b, err, string(out))
	return string(out)
}

// netns returns the inode of the host's network namespace.
func (b *bench) netns() (inode uint64) {
	b.Helper()
	require.NoError(b, b.host.Do(func() error { inode = netnsInode("thread-self"); return nil }))
	return inode
}

// gateway starts a gateway without a file.
func (b *bench) gateway() *netlab.Process {
	b.Helper()
	p, err := b.host.Launch(b.self, "--gateway")
	require.NoError(b, err)
	b.await(p, "Workers: ")
	b.changed()
	return p
}

// changed waits until the last of the rules is there.
func (b *bench) changed() {
	b.Helper()
	b.eventually(func() bool {
		return strings.Contains(b.network(), fmt.Sprintf("from all iif lan lookup %d", autogw.Table))
	}, b.network)
}

// The process that reads packets of a gateway without a file has no capability, and its helper
// has one. The helper undoes what it has changed when the daemon ends, also when it is killed
// and cannot ask for that.
func TestNetworkIsLeft(t *testing.T) {
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			b := twoSided(t)
			before := b.network()
			p := b.gateway()
			helper := b.helper(p)
			b.confined(helper, capNetAdmin)
			assert.Contains(t, p.Output(), "\nSandbox: landlock, seccomp, no_new_privs; capabilities: none\n")
			assert.NotEqual(t, before, b.network())

			require.NoError(t, p.Signal(sig))
			<-p.Done()
			b.over(helper)
			assert.Equal(t, before, b.network())
			assert.NotContains(t, p.Output(), "warning")
			assert.NoFileExists(t, filepath.Join(status.Dir, fmt.Sprintf("nat64-%d.net", b.netns())))
		})
	}
}

// When both are killed, the next start undoes what they have left.
func TestNetworkIsLeftLater(t *testing.T) {
	b := twoSided(t)
	before := b.network()
	p := b.gateway()
	helper := b.helper(p)
	require.NoError(t, unix.Kill(helper, unix.SIGSTOP)) // it would be faster
	require.NoError(t, p.Signal(unix.SIGKILL))
	require.NoError(t, unix.Kill(helper, unix.SIGKILL))
	<-p.Done()
	b.over(helper)
	assert.NotEqual(t, before, b.network())

	p = b.gateway()
	require.NoError(t, p.Signal(unix.SIGTERM))
	<-p.Done()
	assert.Equal(t, before, b.network())
}

// Without rights, and beside another one, the start ends with a sentence, at once.
func TestNetworkRefused(t *testing.T) {
	b := twoSided(t)
	before := b.network()
	for _, word := range []string{"--clat", "--gateway"} {
		out, err := b.host.Command("/usr/bin/setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all", b.self, word).CombinedOutput()
		assert.Error(t, err)
		assert.Equal(t, "to change the network of this machine takes CAP_NET_ADMIN, and for a CLAT also CAP_NET_RAW: start tayga as root\n", string(out), word)
	}
	assert.Equal(t, before, b.network())

	p := b.gateway()
	with := b.network()
	out, err := b.host.Command(b.self, "--gateway").CombinedOutput()
	assert.Error(t, err)
	assert.Contains(t, string(out), "there is an interface nat64 already")
	assert.Equal(t, with, b.network())
	require.NoError(t, p.Signal(unix.SIGTERM))
	<-p.Done()
	assert.Equal(t, before, b.network())
}
