package main

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/fastpath"
	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// fastOn is what the log says when the fast path is on, offNote how the line begins that says
// why it is not.
const (
	fastOn  = "Fast path: on: the kernel translates plain packets\n"
	offNote = "Note: fast path: off: "
)

// transfer sends and gets n bytes by TCP.
func (v *village) transfer(n int64) {
	v.Helper()
	s, err := v.server.ServeTransfers(":5000")
	require.NoError(v, err)
	defer s.Close()
	at := net.JoinHostPort(serverIn6, "5000")
	_, err = v.client.Download(at, n, patience)
	require.NoError(v, err)
	_, err = v.client.Upload(at, n, patience)
	require.NoError(v, err)
}

// fast returns what the daemon says of the fast path.
func (v *village) fast() *status.FastPath {
	v.Helper()
	f := v.ask(status.Summary).FastPath
	require.NotNil(v, f)
	return f
}

// byKernel asserts that the kernel has translated nearly all of at least n bytes since f.
func (v *village) byKernel(f *status.FastPath, n uint64) {
	v.Helper()
	now := v.fast()
	kernel, daemon := now.Kernel.Bytes-f.Kernel.Bytes, now.Daemon.Bytes-f.Daemon.Bytes
	assert.GreaterOrEqual(v, kernel+daemon, n)
	assert.Greater(v, float64(kernel), 0.95*float64(kernel+daemon), "by the kernel, of %d bytes: %+v", kernel+daemon, now)
}

// byDaemon asserts that the daemon has translated all of at least n bytes since f.
func (v *village) byDaemon(f *status.FastPath, n uint64) {
	v.Helper()
	now := v.fast()
	assert.GreaterOrEqual(v, now.Daemon.Bytes-f.Daemon.Bytes, n)
	assert.Equal(v, f.Kernel, now.Kernel)
}

const megabytes = 4 << 20

// newFast is a village whose daemon has a fast path. Its hosts share an address, or the
// client has a map.
func newFast(t *testing.T, shares bool, more string) *village {
	t.Helper()
	conf := villageConf
	if shares {
		conf = strings.Replace(sharedConf, "log drop reject\n", "", 1)
	}
	return newVillage(t, conf+"status-socket DIR/sock\n"+more)
}

// TestFastPath: with nothing in the way, the kernel translates, in a process that has no
// privilege any more.
func TestFastPath(t *testing.T) {
	for name, shares := range map[string]bool{"map": false, "shared": true} {
		for _, sandbox := range []string{"auto", "no"} {
			t.Run(name+"/sandbox="+sandbox, func(t *testing.T) {
				v := newFast(t, shares, "sandbox "+sandbox+"\n")
				p := v.launch()
				require.Contains(t, p.Output(), fastOn)
				f := v.fast()
				assert.True(t, f.On)
				assert.Empty(t, f.Off)
				v.transfer(megabytes)
				v.byKernel(f, 2*megabytes)
				n := v.ask(status.Summary)
				sum := uint64(0)
				for _, c := range n.Packets {
					if c.Reason == "translated" {
						sum += c.Bytes
					}
				}
				assert.Equal(t, n.FastPath.Kernel.Bytes+n.FastPath.Daemon.Bytes, sum)
				table, _, code := v.tayga("--status", "-c", v.conf)
				assert.Zero(t, code)
				assert.Regexp(t, `(?m)^fast path: on: [^$]*^kernel +\d+ +\d+\.\d % +\d+ +(9\d|100)\.\d %\ndaemon `, table)
				require.NoError(t, p.Stop(patience))
				assert.NotContains(t, p.Output(), offNote)
			})
		}
	}
}

// TestFastPathKernel: a kernel that is too old is said to be so, by one line, and the daemon
// translates as ever; another has the fast path. make kernels runs it on both.
func TestFastPathKernel(t *testing.T) {
	tooOld := fastpath.Supported()
	v := newFast(t, true, "sandbox auto\n")
	p := v.launch()
	f := v.fast()
	if tooOld == nil {
		require.Contains(t, p.Output(), fastOn)
		v.transfer(megabytes)
		v.byKernel(f, 2*megabytes)
	} else {
		assert.Contains(t, p.Output(), offNote+tooOld.Error())
		assert.Equal(t, 1, strings.Count(p.Output(), "ast path: "), p.Output())
		assert.False(t, f.On)
		assert.Equal(t, tooOld.Error(), f.Off)
		v.transfer(megabytes)
		v.byDaemon(f, 2*megabytes)
	}
	require.NoError(t, p.Stop(patience))
}

// TestFastPathKilled: with the daemon, translation ends, and no program is left behind.
func TestFastPathKilled(t *testing.T) {
	v := newFast(t, false, "sandbox auto\n")
	_, _, status := v.tayga("--mktun", "-c", v.conf)
	require.Zero(t, status)
	p := v.launch()
	require.Contains(t, p.Output(), fastOn)
	v.transfer(megabytes)
	_, err := v.client.Ping(netip.MustParseAddr(serverIn6), netlab.Echo{Timeout: patience})
	require.NoError(t, err)
	require.Error(t, p.Kill())
	_, err = v.client.Ping(netip.MustParseAddr(serverIn6), netlab.Echo{Timeout: 300 * time.Millisecond})
	require.Error(t, err)
	p = v.launch()
	require.Contains(t, p.Output(), fastOn)
	f := v.fast()
	v.transfer(megabytes)
	v.byKernel(f, 2*megabytes)
	require.NoError(t, p.Stop(patience))
}

// TestFastPathDeviceReplaced: a device that was deleted and made again gets the program again,
// from a helper that can do that and no more, as the daemon itself can attach without one.
func TestFastPathDeviceReplaced(t *testing.T) {
	for _, sandbox := range []string{"auto", "no"} {
		v := newFast(t, false, "sandbox "+sandbox+"\n")
		v.configure(strings.NewReplacer("tun-up yes\n", "", "tun-route", "#").Replace(villageConf) + "status-socket DIR/sock\nsandbox " + sandbox + "\n")
		_, _, code := v.tayga("--mktun", "-c", v.conf)
		require.Zero(t, code)
		setUp := func() {
			t.Helper()
			v.host.Up("nat64")
			for _, r := range []string{"198.51.99.0/24", "64:ff9b::/96", "2001:db8:1::/64"} {
				v.host.Route(r, "", "nat64")
			}
		}
		setUp()
		p := v.launch()
		require.Contains(t, p.Output(), fastOn)
		if sandbox == "auto" {
			assert.Contains(t, p.Output(), "sandbox: landlock, seccomp, no_new_privs; capabilities: none\n")
			v.confined(v.helper(p), 0)
			v.confined(p.Pid(), 0)
		}
		for n := 2; n < 4; n++ {
			f := v.fast()
			v.transfer(megabytes)
			v.byKernel(f, 2*megabytes)
			v.delete("nat64")
			v.await(p, "Tun device nat64 is gone")
			_, _, code := v.tayga("--mktun", "-c", v.conf)
			require.Zero(t, code)
			v.eventually(func() bool { return strings.Count(p.Output(), fastOn) == n }, p.Output)
			setUp()
		}
		f := v.fast()
		v.transfer(megabytes)
		v.byKernel(f, 2*megabytes)
		require.NoError(t, p.Stop(patience))
	}
}

// TestFastPathWithoutHelper: when the helper that could attach the program again is killed, the
// kernel goes on to translate until the device is deleted, and then the daemon does. Of a
// device that it attaches to by itself, the log said that it could not.
func TestFastPathWithoutHelper(t *testing.T) {
	v := newFast(t, false, "")
	v.configure(strings.NewReplacer("tun-up yes\n", "", "tun-route", "#").Replace(villageConf) + "status-socket DIR/sock\nsandbox auto\n")
	makeDevice := func() {
		t.Helper()
		_, _, code := v.tayga("--mktun", "-c", v.conf)
		require.Zero(t, code)
		v.host.Up("nat64")
		for _, r := range []string{"198.51.99.0/24", "64:ff9b::/96", "2001:db8:1::/64"} {
			v.host.Route(r, "", "nat64")
		}
	}
	makeDevice()
	p := v.launch()
	require.Contains(t, p.Output(), fastOn)
	helper := v.helper(p)
	require.NoError(t, unix.Kill(helper, unix.SIGKILL))
	v.await(p, fmt.Sprintf("The privileged helper, process %d, has ended: tun device nat64 has its fast path until it is deleted: restart tayga\n", helper))
	f := v.fast()
	assert.True(t, f.On)
	v.transfer(megabytes)
	v.byKernel(f, 2*megabytes)
	v.delete("nat64")
	v.await(p, "Tun device nat64 is gone")
	makeDevice()
	v.await(p, offNote+"the privileged helper has ended: ")
	v.eventually(func() bool { return strings.Count(p.Output(), "Workers: ") == 2 }, p.Output)
	f = v.fast()
	v.transfer(megabytes)
	v.byDaemon(f, 2*megabytes)
	assert.Equal(t, 1, strings.Count(p.Output(), "has its fast path"), p.Output())
	require.NoError(t, p.Stop(patience))
}

// TestFastPathObstacles: what would be bypassed keeps the fast path off for as long as it is
// there, and so does a program that detaches ours; packets pass then, too.
func TestFastPathObstacles(t *testing.T) {
	v := newFast(t, true, "sandbox auto\n")
	p := v.launch()
	require.Contains(t, p.Output(), fastOn)
	v.transfer(megabytes)
	tc := func(args string) {
		t.Helper()
		out, err := v.host.Command("tc", strings.Fields(args)...).CombinedOutput()
		require.NoError(t, err, "tc %s: %s", args, out)
		v.host.MTU("nat64", 1400) // which has the daemon look at once
		v.host.MTU("nat64", 1500)
	}
	tc("qdisc replace dev nat64 root tbf rate 1gbit burst 1mb latency 50ms")
	const why = "nat64 has the queueing discipline tbf, which it would bypass"
	v.await(p, offNote+why)
	f := v.fast()
	assert.False(t, f.On)
	assert.Equal(t, why, f.Off)
	v.transfer(megabytes)
	v.byDaemon(f, 2*megabytes)
	tc("qdisc del dev nat64 root")
	v.eventually(func() bool { return strings.Count(p.Output(), fastOn) == 2 }, p.Output)
	f = v.fast()
	v.transfer(megabytes)
	v.byKernel(f, 2*megabytes)
	require.NoError(t, p.Stop(patience))

	// It is there before the daemon.
	_, _, code := v.tayga("--mktun", "-c", v.conf)
	require.Zero(t, code)
	v.host.Up("nat64")
	tc("qdisc replace dev nat64 root pfifo limit 1000")
	p = v.launch()
	assert.Contains(t, p.Output(), offNote+"nat64 has the queueing discipline pfifo, which it would bypass")
	f = v.fast()
	v.transfer(megabytes)
	v.byDaemon(f, 2*megabytes)
	require.NoError(t, p.Stop(patience))
}

// TestFastPathOff: what is to keep it off does, and the log says that.
func TestFastPathOff(t *testing.T) {
	for _, c := range []struct{ name, line, log, off string }{
		{"directive", "fast-path off\n", "Fast path: off, by fast-path off\n", "fast-path off"},
		{"packet-log", "log drop\n", offNote + "a packet log ", "a packet log (log drop, reject, icmp or self) is to see each packet in this process"},
		{"flow-labels", "flow-labels yes\n", offNote + "fastpath: flow labels ", "fastpath: flow labels are computed by the translator"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newFast(t, false, c.line)
			p := v.launch()
			assert.Contains(t, p.Output(), c.log)
			assert.NotContains(t, p.Output(), fastOn)
			f := v.fast()
			assert.False(t, f.On)
			assert.Equal(t, c.off, f.Off)
			v.transfer(megabytes)
			v.byDaemon(f, 2*megabytes)
			require.NoError(t, p.Stop(patience))
		})
	}
	// The log of leases is about no packets.
	v := newFast(t, false, "log dyn\n")
	p := v.launch()
	assert.Contains(t, p.Output(), fastOn)
	require.NoError(t, p.Stop(patience))
}
