package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What a sandbox is in full is tried in internal/sandbox. Here, the daemon goes
// into its own, and works there. The program is the one that is installed: one
// with the race detector has half a sandbox, since that needs cgo.

// inSandbox is the line of a daemon that has given up all that it can.
const inSandbox = "Sandbox: landlock, seccomp, no_new_privs; capabilities: "

// installed lets the bench run tayga as it is installed.
func (b *bench) installed() *bench {
	b.Helper()
	self, err := program()
	require.NoError(b, err)
	b.self = self
	return b
}

// confined checks that every thread of a process is in the sandbox, with these
// capabilities.
func (b *bench) confined(pid int, capabilities uint64) {
	b.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	require.NoError(b, err)
	require.Greater(b, len(tasks), 3)
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // the thread ended
		}
		require.NoError(b, err)
		status := strings.Join(strings.Fields(string(text)), " ")
		assert.Contains(b, status, fmt.Sprintf("CapInh: %016x CapPrm: %016x CapEff: %016x", 0, capabilities, capabilities))
		assert.Contains(b, status, "CapAmb: 0000000000000000 NoNewPrivs: 1 Seccomp: 2")
	}
}

const (
	capDACOverride = 1 << unix.CAP_DAC_OVERRIDE
	capNetAdmin    = 1 << unix.CAP_NET_ADMIN
)

// Under traffic, it reads a map-file that was replaced, saves leases, tells its
// counters, takes up a device that was deleted and made again, and removes its
// files at the end.
func TestSandbox(t *testing.T) {
	v := newVillage(t, strings.Replace(villageConf, "map 198.51.99.7 2001:db8:c::2\n", "map-file DIR/etc/maps\nstatus-socket DIR/run/socket\n", 1))
	v.hosts()
	require.NoError(t, os.Mkdir(v.dir+"/etc", 0o755))
	require.NoError(t, os.Mkdir(v.dir+"/run", 0o755))
	writeMaps := func(text string) {
		require.NoError(t, os.WriteFile(v.dir+"/etc/new", []byte(text), 0o644))
		require.NoError(t, os.Rename(v.dir+"/etc/new", v.dir+"/etc/maps"))
	}
	writeMaps("map 198.51.99.8 2001:db8:c::8\n")
	p := v.launch("--pidfile", v.dir+"/run/pid")
	assert.Contains(t, p.Output(), inSandbox+"none\n")
	v.confined(p.Pid(), 0)
	v.confined(v.helper(p), capNetAdmin) // for tun-up and tun-route

	_, err := v.server.ServeTransfers(":80")
	require.NoError(t, err)
	conn, err := v.client.Dial("udp6", "["+serverIn6+"]:9", patience)
	require.NoError(t, err)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		defer conn.Close()
		for b := make([]byte, 1000); ; time.Sleep(100 * time.Microsecond) {
			select {
			case <-stop:
				return
			default:
				conn.Write(b)
			}
		}
	}()
	works := func() {
		t.Helper()
		_, err := v.client.Download("["+serverIn6+"]:80", 4<<20, time.Minute)
		require.NoError(t, err, p.Output())
	}
	works()

	writeMaps("map " + client4 + " " + clientAddr + "\n")
	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
	v.await(p, "Reloaded "+v.dir+"/etc/maps: 1 maps\n")
	works()

	require.NoError(t, v.speak(1))
	v.eventually(func() bool {
		require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
		return v.leases()[host6(1).String()] != ""
	}, p.Output)

	v.delete("nat64")
	v.await(p, "is gone: waiting for it to come back\n")
	v.addTun("nat64", 2)
	v.eventually(func() bool { return strings.Count(p.Output(), "Workers: ") == 2 }, p.Output)
	v.confined(p.Pid(), 0)
	v.confined(v.helper(p), capNetAdmin)
	works()

	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGUSR1))
	v.await(p, "6to4 forward")
	out, errs, status := v.tayga("--status", "-c", v.conf)
	assert.Equal(t, 0, status, errs)
	assert.Contains(t, out, "nat64")

	assert.FileExists(t, v.dir+"/run/pid")
	require.NoError(t, p.Stop(patience))
	left, err := os.ReadDir(v.dir + "/run")
	require.NoError(t, err)
	assert.Empty(t, left)
	assert.NotContains(t, p.Output(), "not permitted")
	assert.NotContains(t, p.Output(), "permission denied")
}

// Which capabilities stay depends on whose the files are; whether there is a helper, on
// what a device that comes back would need.
func TestSandboxCapabilities(t *testing.T) {
	const nobody = 65534
	owned := func(b *bench, owner uint32) {
		require.NoError(b, b.host.Do(func() error {
			return netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "nat64"}, Mode: netlink.TUNTAP_MODE_TUN, Owner: owner})
		}))
	}
	for _, test := range []struct {
		name    string
		make    func(*bench) // makes the device, again after it was deleted
		conf    string
		keep    string
		numbers uint64
		helper  bool
	}{
		{"device-without-owner", func(b *bench) { b.addTun("nat64", 1) }, "", "none", 0, false},
		{"device-of-root", func(b *bench) {
			_, errs, status := b.tayga("--mktun", "-c", b.conf)
			require.Equal(b, 0, status, errs)
		}, "", "none", 0, false},
		{"device-of-another-user", func(b *bench) { owned(b, nobody) }, "", "none", 0, true},
		{"device-to-set-up", func(b *bench) { b.addTun("nat64", 1) }, "tun-up yes\n", "none", 0, true},
		{"address-to-set-up", func(b *bench) { b.addTun("nat64", 1) }, "tun-ip 10.9.9.9/24\n", "none", 0, true},
		{"data-dir-of-another-user", func(b *bench) {
			b.addTun("nat64", 1)
			require.NoError(b, os.Chown(b.dir, nobody, nobody))
		}, "", "cap_dac_override", capDACOverride, false},
		{"leases-of-another-user", func(b *bench) {
			b.addTun("nat64", 1)
			require.NoError(b, os.WriteFile(b.dir+"/dynamic.map", nil, 0o600))
			require.NoError(b, os.Chown(b.dir+"/dynamic.map", nobody, nobody))
		}, "", "cap_dac_override", capDACOverride, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, gatewayConf).installed()
			b.configure(gatewayConf + test.conf)
			test.make(b)
			p := b.launch()
			assert.Contains(t, p.Output(), inSandbox+test.keep+"\n")
			b.confined(p.Pid(), test.numbers)
			assert.Equal(t, test.helper, strings.Contains(p.Output(), "Privileged helper: "))
			if test.helper {
				b.confined(b.helper(p), capNetAdmin)
			}

			b.delete("nat64")
			b.await(p, "is gone: waiting for it to come back\n")
			test.make(b)
			b.eventually(func() bool { return strings.Count(p.Output(), "Workers: ") == 2 }, p.Output)
			b.connect()
			require.NoError(t, b.host.WaitRunning("nat64", patience))
			require.NoError(t, b.ping("192.168.255.1"))
			b.lease(p)
			require.NoError(t, p.Stop(patience))
			saved, err := os.ReadFile(b.dir + "/dynamic.map")
			require.NoError(t, err)
			assert.Contains(t, string(saved), "\t2001:db8:1::1\t", p.Output())
		})
	}
}

// Another user in a jail finds the map-file and saves leases; and keeps no
// capability that it had not anyway.
func TestSandboxInJail(t *testing.T) {
	for _, maps := range []string{"data", "etc"} { // within the jail, and outside
		b := newBench(t, strings.Replace(gatewayConf, "data-dir DIR", "data-dir DIR/data\ntun-up yes\nmap-file DIR/"+maps+"/maps", 1)).installed()
		b.openDir()
		require.NoError(t, os.Mkdir(b.dir+"/etc", 0o755))
		require.NoError(t, os.Mkdir(b.dir+"/data", 0o755))
		require.NoError(t, os.Chown(b.dir+"/data", 65534, 65534))
		file := b.dir + "/" + maps + "/maps"
		require.NoError(t, os.WriteFile(file, nil, 0o644))
		p := b.launch("-u", "nobody", "-g", "nogroup", "-r")
		assert.Contains(t, p.Output(), inSandbox+"none\n")
		b.confined(p.Pid(), 0)
		b.connect()
		b.lease(p)
		require.NoError(t, os.WriteFile(file+"~", []byte("map 192.168.254.9 2001:db8:7::9\n"), 0o644))
		require.NoError(t, os.Rename(file+"~", file))
		require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
		b.await(p, "Reloaded "+file+": 1 maps")
		require.NoError(t, p.Stop(patience))
		assert.FileExists(t, b.dir+"/data/dynamic.map")
	}
}

// A map-file that is a symbolic link is read from where that leads, also after
// the file there was replaced.
func TestSandboxFollowsLink(t *testing.T) {
	// No data-dir, which would hold all of these.
	b := newBench(t, strings.Replace(gatewayConf, "data-dir DIR\n", "map-file DIR/etc/maps\n", 1)).installed()
	require.NoError(t, os.Mkdir(b.dir+"/etc", 0o755))
	require.NoError(t, os.Mkdir(b.dir+"/store", 0o755))
	require.NoError(t, os.WriteFile(b.dir+"/store/maps", nil, 0o644))
	require.NoError(t, os.Symlink("../store/maps", b.dir+"/etc/maps"))
	p := b.launch()
	require.NoError(t, os.WriteFile(b.dir+"/store/new", []byte("map 192.168.254.9 2001:db8:7::9\n"), 0o644))
	require.NoError(t, os.Rename(b.dir+"/store/new", b.dir+"/store/maps"))
	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
	b.await(p, "Reloaded "+b.dir+"/etc/maps: 1 maps")

	// But not to a directory that was not known at start.
	require.NoError(t, os.Mkdir(b.dir+"/later", 0o755))
	require.NoError(t, os.WriteFile(b.dir+"/later/maps", nil, 0o644))
	require.NoError(t, os.Symlink("../later/maps", b.dir+"/etc/new"))
	require.NoError(t, os.Rename(b.dir+"/etc/new", b.dir+"/etc/maps"))
	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
	b.await(p, "map-file "+b.dir+"/etc/maps: permission denied: going on with the maps as they were\n")
	require.NoError(t, p.Stop(patience))
}

// A daemon of root to which data-dir belonged has no more rights than other users
// once it belongs to one of them.
func TestSandboxDataDirTaken(t *testing.T) {
	b := newBench(t, gatewayConf).installed()
	p := b.launch()
	b.connect()
	b.lease(p)
	save := func(want string) {
		t.Helper()
		require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
		b.await(p, want)
	}
	require.NoError(t, os.Chown(b.dir, 65534, 65534))
	save("Unable to open " + b.dir + "/dynamic.map~~ for writing: permission denied: trying again in 45s\n")
	require.NoError(t, os.Chown(b.dir, 0, 0))
	require.NoError(t, p.Stop(patience)) // which saves as well
	assert.FileExists(t, b.dir+"/dynamic.map")
}

func TestSandboxOff(t *testing.T) {
	b := newBench(t, gatewayConf+"sandbox no\n").installed()
	p := b.launch()
	assert.Contains(t, p.Output(), "Sandbox: no\n")
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	require.NoError(t, err)
	own, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	for _, name := range []string{"CapEff:", "NoNewPrivs:", "Seccomp:"} {
		assert.Equal(t, statusField(string(own), name), statusField(string(text), name))
	}
	require.NoError(t, p.Stop(patience))
}

func statusField(text, name string) string {
	_, rest, _ := strings.Cut(text, "\n"+name)
	value, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(value)
}

// A log daemon that was restarted gets our messages again.
func TestSandboxLogsAgain(t *testing.T) {
	for _, test := range []struct{ option, socket string }{
		{"--syslog", "syslog"},
		{"--journal", "systemd/journal/socket"},
	} {
		b := newBench(t, gatewayConf).installed()
		path := filepath.Join(b.dir, "run", test.socket)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		conn := listen(t, path)
		p, err := b.host.Launch("/usr/bin/unshare", "-m", "/bin/sh", "-c",
			fmt.Sprintf("mount --bind %s/run /run && exec %s -n %s -c %s", b.dir, b.self, test.option, b.conf))
		require.NoError(t, err)
		for !strings.Contains(receive(t, conn), inSandbox+"none") {
		}
		for !strings.Contains(receive(t, conn), "Workers: ") {
		}
		conn.Close()
		require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGUSR1)) // into the void
		require.NoError(t, os.Remove(path))
		conn = listen(t, path)
		b.eventually(func() bool {
			require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGUSR1))
			conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			_, err := conn.Read(make([]byte, 4096))
			return err == nil
		}, func() string { return test.option + ": not a word" })
		conn.Close()
		require.NoError(t, p.Stop(patience))
	}
}
