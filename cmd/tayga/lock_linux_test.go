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
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// otherDevice is gatewayConf for another device, with the same data-dir.
var otherDevice = strings.ReplaceAll(gatewayConf, "nat64\n", "other\n")

// Two daemons with one data-dir replaced each other's dynamic.map, and after the
// next start hosts had the addresses of others.
func TestDataDirInUse(t *testing.T) {
	for _, args := range [][]string{nil, {"-u", "nobody", "-r"}} {
		b := newBench(t, gatewayConf).installed()
		b.openDir()
		require.NoError(t, os.Chown(b.dir, nobody, nobody))
		p := b.launch(args...)
		second := b.dir + "/second.conf"
		require.NoError(t, os.WriteFile(second, []byte(strings.ReplaceAll(otherDevice, "DIR", b.dir)), 0o644))
		for _, more := range [][]string{nil, {"-u", "nobody"}} {
			out, _, status := b.tayga(append([]string{"-d", "-c", second}, more...)...)
			assert.Equal(t, 1, status)
			assert.Contains(t, out, fmt.Sprintf("data-dir %s is in use by another tayga: process %d, device \"nat64\"\n", b.dir, p.Pid()))
		}
		assert.Equal(t, []string{"nat64"}, b.devices())
		b.connect()
		b.lease(p)

		// However the first one ends, the next one starts.
		require.Error(t, p.Kill())
		q, err := b.host.Launch(b.self, "-d", "-c", second)
		require.NoError(t, err)
		b.await(q, "Workers: ")
		require.NoError(t, q.Stop(patience))
		assert.NoFileExists(t, b.dir+"/dynamic.map.lock")
	}
}

// Daemons that keep no leases may share a directory, and so may those with leases
// in different files, and all that cannot write it.
func TestDataDirIsShared(t *testing.T) {
	b := newBench(t, strings.Replace(gatewayConf, "dynamic-pool", "#", 1)+"map-file maps\n").installed()
	require.NoError(t, os.WriteFile(b.dir+"/maps", nil, 0o644))
	p := b.launch()
	second := strings.ReplaceAll(otherDevice, "DIR", b.dir)
	start := func(conf string) *netlab.Process {
		t.Helper()
		require.NoError(t, os.WriteFile(b.dir+"/second.conf", []byte(conf), 0o644))
		q, err := b.host.Launch(b.self, "-d", "-c", b.dir+"/second.conf")
		require.NoError(t, err)
		b.await(q, "Workers: ")
		return q
	}
	q := start(second)
	r := start(strings.Replace(strings.Replace(second, "other", "third", 1), "dynamic-pool 192.168.255.0/24",
		"prefix 2001:db8:64::/96\ndynamic-pool 192.168.253.0/24 via 2001:db8:64::/96", 1))
	for _, p := range []*netlab.Process{p, q, r} {
		require.NoError(t, p.Stop(patience), p.Output())
	}
	left, err := os.ReadDir(b.dir)
	require.NoError(t, err)
	for _, f := range left {
		assert.NotContains(t, f.Name(), lockSuffix)
	}

	// Where nothing is saved, nothing is locked.
	require.NoError(t, unix.Mount(b.dir, b.dir, "", unix.MS_BIND, ""))
	defer unix.Unmount(b.dir, unix.MNT_DETACH)
	require.NoError(t, os.WriteFile(b.dir+"/second.conf", []byte(second), 0o644))
	b.configure(gatewayConf)
	require.NoError(t, unix.Mount("", b.dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	p = b.launch()
	q, err = b.host.Launch(b.self, "-d", "-c", b.dir+"/second.conf")
	require.NoError(t, err)
	b.await(q, "Workers: ")
	require.NoError(t, p.Stop(patience))
	require.NoError(t, q.Stop(patience))
}

// A start that overlaps the end of the one before waits for it, and finds its
// leases.
func TestStartWaitsForStop(t *testing.T) {
	b := newBench(t, gatewayConf).installed()
	p := b.launch("-p", "pid")
	b.connect()
	b.lease(p)
	_, after, _ := strings.Cut(p.Output(), "DYN: [assigned] ")
	lease, _, _ := strings.Cut(after, "\n")
	q, err := b.host.Launch(b.self, "-d", "-c", b.conf, "-p", "pid")
	require.NoError(t, err)
	b.await(q, fmt.Sprintf("Waiting for pid.lock, which is locked by process %d, device \"nat64\"\n", p.Pid()))
	require.NoError(t, p.Stop(patience))
	b.await(q, "Workers: ")
	assert.Contains(t, q.Output(), "DYN: [loaded] "+lease+"\n")
	assert.Equal(t, q.Pid(), b.pid(b.dir+"/pid"))

	// It does not wait any longer when it is told to end itself.
	r, err := b.host.Launch(b.self, "-d", "-c", b.conf)
	require.NoError(t, err)
	b.await(r, "Waiting for dynamic.map.lock, ")
	require.NoError(t, r.Signal(syscall.SIGTERM))
	b.ends(r, 0)
	require.NoError(t, q.Stop(patience))
}

// takeNow takes a lock in the working directory that no process has.
func takeNow(t *testing.T, name string) *lock {
	t.Helper()
	l, err := locker{who: thisProcess("nat64")}.take(nil, name)
	require.NoError(t, err)
	return l
}

// One that is ending gets more time than one that is not.
func TestLockOfOneThatEnds(t *testing.T) {
	t.Chdir(t.TempDir())
	l := takeNow(t, "x")
	_, err := locker{}.take(nil, "x")
	var held errHeld
	require.ErrorAs(t, err, &held)
	assert.Equal(t, holder{pid: os.Getpid(), device: "nat64", host: l.who.host}, held.holder)

	l.stopping()
	began := time.Now()
	waiting := make(chan holder, 1)
	go func() {
		<-waiting
		time.AfterFunc(lockPatience+time.Second, l.release)
	}()
	second, err := locker{waiting: func(_ string, h holder) { waiting <- h }}.take(nil, "x")
	require.NoError(t, err)
	assert.Greater(t, time.Since(began), lockPatience)
	assert.FileExists(t, "x.lock", "not the one that was removed")
	second.release()
	assert.NoFileExists(t, "x.lock")
}

// What another user has put in the place of a lock is no lock, and what he has
// written into one is no message.
func TestForeignLock(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("precious", []byte("precious"), 0o600))
	for what, plant := range map[string]func() error{
		"link": func() error { return os.Symlink("precious", "x.lock") },
		"pipe": func() error { return syscall.Mkfifo("x.lock", 0o666) },
		"file": func() error {
			if err := os.WriteFile("x.lock", nil, 0o600); err != nil {
				return err
			}
			f, err := os.Open("x.lock")
			if err != nil {
				return err
			}
			t.Cleanup(func() { f.Close() })
			return firstErr(unix.Flock(int(f.Fd()), unix.LOCK_EX), os.Chown("x.lock", nobody, nobody))
		},
	} {
		if what == "file" && os.Geteuid() != 0 {
			continue
		}
		require.NoError(t, plant(), what)
		l := takeNow(t, "x")
		fi, err := os.Lstat("x.lock")
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), fi.Mode(), what)
		l.release()
		text, err := os.ReadFile("precious")
		require.NoError(t, err)
		assert.Equal(t, "precious", string(text), what)
	}

	f, err := os.Create("text")
	require.NoError(t, err)
	defer f.Close()
	for _, text := range []string{"", "\n", "17", "17\tnat64\thost\n", "x\t\"nat64\"\t\"host\"\n", strings.Repeat("9", 2000)} {
		require.NoError(t, f.Truncate(0))
		_, err := f.WriteAt([]byte(text), 0)
		require.NoError(t, err)
		assert.Equal(t, holder{}, readHolder(f), text)
	}
	assert.Equal(t, "another process", holder{}.String())
	h := holder{pid: 17, device: "a\x1b[2J", host: "b\x07"}
	assert.Equal(t, `process 17, device "a\x1b[2J", host "b\a"`, h.String())
	require.NoError(t, f.Truncate(0))
	_, err = f.WriteAt(h.line(), 0)
	require.NoError(t, err)
	assert.Equal(t, h, readHolder(f))
}

func firstErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
