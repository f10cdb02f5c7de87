package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/tun"
)

// addTun makes a persistent device the way ip tuntap does, with or without
// multiple queues.
func (b *bench) addTun(name string, queues int) {
	b.Helper()
	b.holdTun(name, queues)()
}

// holdTun does the same and holds the device until it is let go.
func (b *bench) holdTun(name string, queues int) (letGo func()) {
	b.Helper()
	tun := &netlink.Tuntap{
		LinkAttrs:  netlink.LinkAttrs{Name: name},
		Mode:       netlink.TUNTAP_MODE_TUN,
		Flags:      netlink.TUNTAP_DEFAULTS,
		Queues:     queues,
		NonPersist: false,
	}
	if queues > 1 {
		tun.Flags = netlink.TUNTAP_MULTI_QUEUE_DEFAULTS
	}
	require.NoError(b, b.host.Do(func() error { return netlink.LinkAdd(tun) }))
	return func() {
		for _, fd := range tun.Fds {
			fd.Close()
		}
	}
}

func (b *bench) delete(name string) {
	b.Helper()
	require.NoError(b, b.host.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	}))
}

// Devices that others have made are attached to, whatever their kind.
func TestAttach(t *testing.T) {
	debian := func(b *bench) {
		b.configure(strings.Replace(gatewayConf, "log ", "# ", 1)) // 0.9.2 does not know it
		text, err := b.host.Command("/usr/sbin/tayga", "--mktun", "-c", b.conf).CombinedOutput()
		require.NoError(b, err, string(text))
	}
	for _, test := range []struct {
		name string
		make func(*bench)
		conf string
		want string
	}{
		{"single-queue", func(b *bench) { b.addTun("nat64", 1) }, "", "Workers: 1\n"},
		{"multi-queue", func(b *bench) { b.addTun("nat64", 2) }, "workers 3\n", "Workers: 3\n"},
		{"made-by-tayga-0.9.2", debian, "", "Workers: 1\n"},
		{"no-offload", func(b *bench) { b.addTun("nat64", 2) }, "offload no\nworkers 2\n", "Workers: 2\n"},
		{"workers-0", func(b *bench) { b.addTun("nat64", 2) }, "workers 0\n", "Workers: 1\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, gatewayConf)
			if _, err := os.Stat("/usr/sbin/tayga"); err != nil && test.name == "made-by-tayga-0.9.2" {
				t.Skip("Debian's tayga is not installed")
			}
			test.make(b)
			b.configure(gatewayConf + test.conf)
			p := b.launch()
			assert.Contains(t, p.Output(), test.want)
			b.connect()
			require.NoError(t, b.host.WaitRunning("nat64", patience))
			assert.NoError(t, b.ping("192.168.255.1"))
			require.NoError(t, p.Stop(patience))
			assert.Equal(t, []string{"nat64"}, b.devices())
		})
	}
}

// Two daemons never share a device.
func TestDeviceInUse(t *testing.T) {
	b := newBench(t, gatewayConf)
	p := b.launch()
	out, _, status := b.tayga("-d", "-c", b.conf)
	assert.Equal(t, 1, status)
	assert.Contains(t, out, "tun: attach nat64: device is in use (stop the other process first)\n")
	b.connect()
	assert.NoError(t, b.ping("192.168.255.1"))
	// Making it persistent under the daemon does not disturb it.
	_, _, status = b.tayga("--mktun", "-c", b.conf)
	assert.Equal(t, 0, status)
	assert.NoError(t, b.ping("192.168.255.1"))
	assert.NoError(t, b.ping("2001:db8:1::64"))
	require.NoError(t, p.Stop(patience))
	assert.Equal(t, []string{"nat64"}, b.devices())
}

// Interfaces that are no TUN devices are refused in words.
func TestNotATun(t *testing.T) {
	b := newBench(t, gatewayConf)
	require.NoError(t, b.host.Do(func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "nat64"}, PeerName: "peer"})
	}))
	out, _, status := b.tayga("-d", "-c", b.conf)
	assert.Equal(t, 1, status)
	assert.Contains(t, out, "tun: attach nat64: ")
	assert.Contains(t, out, "an interface of that name that is no TUN device?")
}

func TestSmallMTU(t *testing.T) {
	b := newBench(t, gatewayConf+"tcp-mss-clamp auto\nstatus-socket DIR/sock\n")
	b.addTun("nat64", 1)
	b.host.MTU("nat64", 1279)
	out, _, code := b.tayga("-d", "-c", b.conf)
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "tun device nat64 has an MTU of 1279, less than the 1280 that IPv6 needs: ip link set nat64 mtu 1500\n")
	b.host.MTU("nat64", 1280)
	p := b.launch()
	assert.Contains(t, p.Output(), "Using tun device nat64 with MTU 1280\n")
	// The log and the status have the MSS that follows: none showed what auto means.
	assert.Contains(t, p.Output(), "tcp-mss-clamp: 1220 bytes\n")
	assert.Equal(t, 1220, b.ask(status.Summary).MSSClamp)
	b.host.MTU("nat64", 9000)
	b.await(p, "Tun device nat64 has an MTU of 9000 now\n")
	b.await(p, "tcp-mss-clamp: 8940 bytes\n")
	assert.Equal(t, 8940, b.ask(status.Summary).MSSClamp)
	require.NoError(t, p.Stop(patience))
}

// Without privilege, or without /dev/net/tun, a sentence says what to do.
func TestNoPrivilege(t *testing.T) {
	b := newBench(t, gatewayConf)
	b.openDir()
	require.NoError(t, os.Chmod(b.dir, 0o777))
	b.copyProgram()
	run := func(shell string) string {
		t.Helper()
		cmd := b.host.Command("/bin/sh", "-c", shell)
		text, err := cmd.CombinedOutput()
		assert.Error(t, err)
		assert.Equal(t, 1, cmd.ProcessState.ExitCode())
		return string(text)
	}
	daemon := fmt.Sprintf("%s -d -c %s", b.self, b.conf)
	nobody := fmt.Sprintf("exec setpriv --reuid=65534 --regid=65534 --clear-groups %s", daemon)
	allowed := "exec unshare -m sh -c 'mount -t tmpfs none /dev && mkdir /dev/net && mknod -m 666 /dev/net/tun c 10 200 && " + nobody + "'"
	assert.Contains(t, run(allowed), "(run as root or with CAP_NET_ADMIN)\n")
	absent := "exec unshare -m sh -c 'mount -t tmpfs none /dev && exec " + daemon + "'"
	assert.Contains(t, run(absent), "tun: open /dev/net/tun: no such file or directory (load the tun module, or give the container the device)\n")
	require.NoError(t, os.Chmod(b.conf, 0o600))
	assert.Contains(t, run(nobody), b.conf+": permission denied\n")
	assert.Empty(t, b.devices())
}

// A device that is deleted is waited for: said once, at no cost, and all is well
// when it is back.
func TestDeviceDeleted(t *testing.T) {
	b := newBench(t, gatewayConf+"tun-up yes\n")
	b.addTun("nat64", 1)
	p := b.launch()
	b.connect()
	require.NoError(t, b.ping("192.168.255.1"))
	b.lease(p)

	b.delete("nat64")
	b.await(p, "Tun device nat64 is gone: waiting for it to come back\n")
	before := cpuTime(t, p.Pid())
	time.Sleep(500 * time.Millisecond)
	assert.Less(t, cpuTime(t, p.Pid())-before, 100*time.Millisecond, "busy")
	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGUSR1)) // it still listens
	b.await(p, "dynamic pool: 254 addresses, 1 held")

	b.addTun("nat64", 2)
	b.eventually(func() bool { return strings.Count(p.Output(), "Workers: ") == 2 }, p.Output)
	b.connect()
	require.NoError(t, b.host.WaitRunning("nat64", patience))
	require.NoError(t, b.ping("192.168.255.1"))

	b.delete("nat64")
	b.eventually(func() bool { return strings.Count(p.Output(), "is gone: waiting") == 2 }, p.Output)
	require.NoError(t, p.Stop(patience)) // also while it waits
	saved, err := os.ReadFile(b.dir + "/dynamic.map")
	require.NoError(t, err)
	assert.Contains(t, string(saved), "\t2001:db8:1::1\t")
	assert.LessOrEqual(t, strings.Count(p.Output(), "is gone"), 2)
}

// The daemon also waits for a device that exists again but is used by another program.
// SIGHUP took the daemon down then: it told systemd of a device that it had not.
func TestDeviceHeldWhenItComesBack(t *testing.T) {
	b := newBench(t, gatewayConf+"tun-up yes\nstatus-socket DIR/sock\n")
	b.addTun("nat64", 1)
	p := b.launch()
	b.delete("nat64")
	b.await(p, "Tun device nat64 is gone: waiting for it to come back\n")
	letGo := b.holdTun("nat64", 1)
	time.Sleep(2 * pollInterval) // it looks, in vain

	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
	b.await(p, "Received SIGHUP, reloading\n")
	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGUSR1))
	b.await(p, "dynamic pool: 254 addresses")
	assert.False(t, b.ask(status.Summary).Device.Present)

	letGo()
	b.eventually(func() bool { return strings.Count(p.Output(), "Workers: ") == 2 }, p.Output)
	assert.True(t, b.ask(status.Summary).Device.Present)
	b.connect()
	require.NoError(t, b.host.WaitRunning("nat64", patience))
	require.NoError(t, b.ping("192.168.255.1"))
	require.NoError(t, p.Stop(patience))
}

// cpuTime returns the processor time that a process has used.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	var user, system int
	fmt.Sscan(f[11], &user)
	fmt.Sscan(f[12], &system)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// A daemon without privilege cannot attach again to a device of another user. It says so
// and ends.
func TestDeviceDeletedUnprivileged(t *testing.T) {
	b := newBench(t, strings.Replace(gatewayConf, "data-dir DIR\n", "", 1))
	b.openDir()
	require.NoError(t, b.host.Do(func() error { return tun.Persist("nat64", tun.Owner{UID: 65534, GID: -1}) }))
	p := b.unprivileged()
	b.delete("nat64")
	b.await(p, "Tun device nat64 is gone: waiting for it to come back\n")
	b.addTun("nat64", 1)
	assert.Contains(t, b.ends(p, 1), "tun: attach nat64: ")
}

// A device that is set down and up again is followed.
func TestDeviceDown(t *testing.T) {
	b := newBench(t, gatewayConf)
	p := b.launch()
	b.connect()
	require.NoError(t, b.ping("192.168.255.1"))
	setUp := func(up bool) {
		require.NoError(t, b.host.Do(func() error {
			link, err := netlink.LinkByName("nat64")
			if err != nil {
				return err
			}
			if up {
				return netlink.LinkSetUp(link)
			}
			return netlink.LinkSetDown(link)
		}))
	}
	b.await(p, "Tun device nat64 is up\n") // what came and went before the watch began is not told
	setUp(false)
	b.await(p, "Tun device nat64 is down: nothing arrives until it is up again\n")
	setUp(true)
	b.eventually(func() bool { return strings.Count(p.Output(), "Tun device nat64 is up\n") == 2 }, p.Output)
	require.NoError(t, b.host.WaitRunning("nat64", patience))
	require.NoError(t, b.ping("192.168.255.1"))
	require.NoError(t, p.Stop(patience))
}
