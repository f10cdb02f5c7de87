package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
	"github.com/steppe-nat64/steppe/tun"
)

// asThief makes the test binary a local user that attaches to the device.
const asThief = "STEPPE_TEST_AS_THIEF"

func thief() {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err == nil {
		ifr, _ := unix.NewIfreq("nat64")
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_MULTI_QUEUE | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, 12)
	}
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TUNSETSNDBUF, 1)
	}
	fmt.Println("thief:", err)
	if err == nil {
		for { // a select without cases is a deadlock where there is no cgo
			time.Sleep(time.Hour)
		}
	}
}

// asNobody is a shell command that runs another one without privilege, where
// /dev/net/tun is for all as udev makes it.
func asNobody(command string) string {
	return "mount -t tmpfs none /dev && mkdir /dev/net && mknod -m 666 /dev/net/tun c 10 200 && mknod -m 666 /dev/null c 1 3 && exec " +
		"setpriv --reuid=65534 --regid=65534 --clear-groups " + command
}

// unprivileged starts tayga as nobody.
func (b *bench) unprivileged() *netlab.Process {
	b.Helper()
	p, err := b.host.Launch("/usr/bin/unshare", "-m", "/bin/sh", "-c", asNobody(b.readable(b.self)+" -d -c "+b.conf))
	require.NoError(b, err)
	b.await(p, "Workers: ")
	return p
}

// readable returns a copy of a program that any user may run.
func (b *bench) readable(program string) string {
	b.Helper()
	b.openDir()
	text, err := os.ReadFile(program)
	require.NoError(b, err)
	require.NoError(b, os.WriteFile(b.dir+"/program", text, 0o755))
	return b.dir + "/program"
}

// addOwnerless makes a persistent device that any local user may attach to, as
// ip tuntap add does without user or group.
func (b *bench) addOwnerless() {
	b.Helper()
	require.NoError(b, b.host.Do(func() error { return tun.Persist("nat64", tun.Owner{UID: -1, GID: -1}) }))
}

// thief starts a thief, and returns it with what it says.
func (b *bench) thief() (*netlab.Process, string) {
	b.Helper()
	self, err := os.Executable()
	require.NoError(b, err)
	p, err := b.host.Launch("/usr/bin/unshare", "-m", "/bin/sh", "-c", asNobody("env "+asThief+"=1 "+b.readable(self)))
	require.NoError(b, err)
	b.await(p, "thief: ")
	b.await(p, "\n")
	return p, p.Output()
}

// inspect asks the kernel about the device.
func (b *bench) inspect() (i tun.Info) {
	b.Helper()
	require.NoError(b, b.host.Do(func() (err error) {
		i, err = tun.Inspect("nat64")
		return err
	}))
	return i
}

const ownerlessText = "tun device nat64 has several queues and no owner: any local user may read its packets and send others, see DEVICE in tayga(8)"

// The device that the daemon or --mktun made was ownerless, and any local user could
// attach to it, take its packets and have the daemon lose the rest.
func TestDeviceHasAnOwner(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string // nil: --mktun
		want tun.Owner
	}{
		{"root", []string{}, tun.Owner{UID: 0, GID: 0}},
		{"user", []string{"-u", "nobody", "-g", "nogroup"}, tun.Owner{UID: 65534, GID: 65534}},
		{"mktun", nil, tun.Owner{UID: 0, GID: 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, strings.Replace(gatewayConf, "data-dir DIR\n", "workers 2\n", 1)).installed()
			b.openDir()
			if test.args == nil {
				out, _, status := b.tayga("--mktun", "-c", b.conf)
				require.Equal(t, 0, status, out)
			} else {
				p := b.launch(test.args...)
				assert.NotContains(t, p.Output(), "no owner")
			}
			i := b.inspect()
			assert.Equal(t, test.want, tun.Owner{UID: i.UID, GID: i.GID})
			assert.True(t, i.MultiQueue)
			if test.want.UID == 0 {
				_, said := b.thief()
				assert.Equal(t, "thief: operation not permitted\n", said)
			}
			out, _, status := b.tayga("--check", "-c", b.conf)
			assert.Equal(t, 0, status)
			assert.Equal(t, b.conf+": OK\n", out)
		})
	}
}

// An ownerless device that others made is used, since units with a dynamic user need
// one, and pointed out; --mktun gives it an owner, also under the running daemon.
func TestOwnerlessDeviceIsReported(t *testing.T) {
	b := newBench(t, gatewayConf+"status-socket DIR/sock\n").installed()
	b.addOwnerless()
	p := b.launch()
	assert.Contains(t, p.Output(), ownerlessText+"\n")
	assert.True(t, b.ask(status.Summary).Device.Ownerless)
	out, _, code := b.tayga("--check", "-c", b.conf)
	assert.Equal(t, 0, code)
	assert.Equal(t, b.conf+": warning: "+ownerlessText+"\n"+b.conf+": OK\n", out)
	out, _, _ = b.tayga("--doctor", "-c", b.conf)
	command := b.self + " -c " + b.conf + " --mktun"
	assert.Contains(t, out, "warning: owner: nat64 has several queues and no owner: any local user may read its packets and send others; run: "+command+"\n")
	out, _, _ = b.tayga("--status", "-c", b.conf)
	assert.Contains(t, out, "device nat64: no owner: any local user may attach\n")

	text, err := b.host.Command("/bin/sh", "-c", command).CombinedOutput()
	require.NoError(t, err, string(text))
	assert.False(t, b.inspect().Ownerless())
	b.eventually(func() bool { return !b.ask(status.Summary).Device.Ownerless }, p.Output)
	out, _, _ = b.tayga("--check", "-c", b.conf)
	assert.Equal(t, b.conf+": OK\n", out)
	out, _, _ = b.tayga("--doctor", "-c", b.conf)
	assert.NotContains(t, out, "owner")
	require.NoError(t, p.Stop(patience))
}

// A local user on such a device took the daemon's packets and changed the header
// under it, which went on as if all was well and lost every packet.
func TestThiefIsReported(t *testing.T) {
	b := newBench(t, gatewayConf+"status-socket DIR/sock\n").installed()
	b.openDir()
	b.addOwnerless()
	p := b.launch()
	b.connect()
	require.NoError(t, b.host.WaitRunning("nat64", patience))
	require.NoError(t, b.ping("192.168.255.1"))

	robber, said := b.thief()
	require.Equal(t, "thief: <nil>\n", said)
	const attached = "another program is attached with 1 of its queues"
	b.await(p, "Tun device nat64: "+attached+", which gets packets that are for tayga and may send any: see DEVICE in tayga(8)\n")
	b.eventually(func() bool { return b.ask(status.Summary).Device.Repaired > 0 }, p.Output)
	assert.Equal(t, 1, b.ask(status.Summary).Device.Foreign)
	out, _, _ := b.tayga("--status", "-c", b.conf)
	assert.Contains(t, out, "device nat64: "+attached+", and gets packets that are for tayga\n")
	assert.Contains(t, out, "device nat64: times that another program changed its settings, which were set back: 1\n")
	out, _, _ = b.tayga("--doctor", "-c", b.conf)
	assert.Contains(t, out, "error: owner: another program is attached to nat64 with 1 queues of its own")

	robber.Kill()
	b.eventually(func() bool { return b.ask(status.Summary).Device.Foreign == 0 }, p.Output)
	require.NoError(t, b.ping("192.168.255.1"))
	require.NoError(t, b.ping("2001:db8:1::64"))
	assert.NotContains(t, p.Output(), "not permitted")
	require.NoError(t, p.Stop(patience))
}

// A local user on an ownerless device made himself its owner: it counted as well kept
// from then on. One who was there before the daemon kept it from starting, and why he
// could be there was not said.
func TestForeignOwnerIsReported(t *testing.T) {
	b := newBench(t, gatewayConf).installed()
	b.openDir()
	b.addOwnerless()
	p := b.launch()
	give := func(uid int) {
		require.NoError(t, b.host.Do(func() error { return tun.Persist("nat64", tun.Owner{UID: uid, GID: -1}) }))
	}
	give(65534)
	const text = "tun device nat64 belongs to user 65534, who may read its packets and send others, see DEVICE in tayga(8)\n"
	b.await(p, text)
	require.NoError(t, p.Stop(patience))
	p = b.launch()
	assert.Contains(t, p.Output(), text)
	require.NoError(t, p.Stop(patience))
	p = b.launch("-u", "nobody")
	assert.NotContains(t, p.Output(), "tun device nat64 belongs")
	require.NoError(t, p.Stop(patience))

	b.delete("nat64")
	b.addOwnerless()
	_, said := b.thief()
	require.Equal(t, "thief: <nil>\n", said)
	out, _, status := b.tayga("-d", "-c", b.conf)
	assert.Equal(t, 1, status)
	assert.Contains(t, out, ownerlessText+"\ntun: attach nat64: device is in use (stop the other process first)\n")
}

// The log says at once that another program is there, and again no more than once
// in ten seconds, whatever that does.
func TestForeignQueuesAreLoggedSeldom(t *testing.T) {
	d, _, r := inMemory(t, poolConf)
	begin := time.Now()
	at := func(after time.Duration, l tun.Link) {
		d.link = l
		d.reportForeign(begin.Add(after))
	}
	at(0, tun.Link{Foreign: 1})
	assert.Equal(t, "STATUS=Translating on mem0, 1 workers; another program is attached with 1 of its queues", d.status())
	for i := range 9 {
		at(time.Duration(i+1)*time.Second, tun.Link{Foreign: i % 2, Repaired: i})
	}
	at(refusalInterval, tun.Link{Repaired: 8})
	at(2*refusalInterval, tun.Link{Repaired: 8})
	assert.Equal(t, "STATUS=Translating on mem0, 1 workers", d.status())
	d.log.flush()
	var said []string
	for _, line := range r.all() {
		if strings.Contains(line, " another ") || strings.Contains(line, " no other ") {
			said = append(said, line)
		}
	}
	assert.Equal(t, []string{
		"3 Tun device mem0: another program is attached with 1 of its queues, which gets packets that are for tayga and may send any: see DEVICE in tayga(8)",
		"3 Tun device mem0: another program changed its settings, and packets were lost: they are set back",
		"5 Tun device mem0: no other program is attached any more",
	}, said)
}

// A daemon that gave up root for another user attaches again to a device of that
// user: the owner that its own devices have.
func TestOwnerAttachesAgain(t *testing.T) {
	b := newBench(t, strings.Replace(gatewayConf, "data-dir DIR\n", "", 1)).installed()
	b.openDir()
	add := func() {
		b.Helper()
		require.NoError(b, b.host.Do(func() error { return tun.Persist("nat64", tun.Owner{UID: 65534, GID: 65534}) }))
	}
	add()
	p, err := b.host.Launch("/usr/bin/unshare", "-m", "/bin/sh", "-c", asNobody(b.readable(b.self)+" -d -c "+b.conf))
	require.NoError(t, err)
	b.await(p, "Workers: ")
	b.delete("nat64")
	b.await(p, "Tun device nat64 is gone: waiting for it to come back\n")
	add()
	b.eventually(func() bool { return strings.Count(p.Output(), "Workers: ") == 2 }, p.Output)
	b.connect()
	require.NoError(t, b.host.WaitRunning("nat64", patience))
	require.NoError(t, b.ping("192.168.255.1"))
	assert.NotContains(t, p.Output(), "no owner")
	require.NoError(t, p.Stop(patience))
}
