package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// What a local user without privilege can do with files.

const nobody = 65534

// asNobody runs a shell command as nobody and returns what it printed.
func (b *bench) asNobody(command string) (string, error) {
	b.Helper()
	cmd := b.host.Command("/bin/sh", "-c", command)
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// holdLocks takes a lock on every file below the bench's directory that the user nobody can
// open, and on the directories, as nobody, until the function is called.
func (b *bench) holdLocks() (paths []string, letGo func()) {
	b.Helper()
	var ends []func()
	require.NoError(b, filepath.WalkDir(b.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() && !e.Type().IsRegular() {
			return err
		}
		cmd := b.host.Command("/usr/bin/flock", "--nonblock", path, "-c", "echo locked; cat")
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		in, err := cmd.StdinPipe()
		require.NoError(b, err)
		out, err := cmd.StdoutPipe()
		require.NoError(b, err)
		require.NoError(b, cmd.Start())
		if text := make([]byte, 7); readAll(out, text) {
			paths = append(paths, path)
		}
		ends = append(ends, func() { in.Close(); cmd.Wait() })
		return nil
	}))
	return paths, func() {
		for _, end := range ends {
			end()
		}
	}
}

func readAll(r io.Reader, b []byte) bool {
	_, err := io.ReadFull(r, b)
	return err == nil
}

// The lock was on the pid file, which every user can read and so can lock: the
// daemon then said that it runs already.
func TestNobodyCannotTakeLocks(t *testing.T) {
	b := newBench(t, strings.Replace(gatewayConf, "data-dir DIR", "data-dir DIR/data", 1))
	b.openDir()
	require.NoError(t, os.Mkdir(b.dir+"/data", 0o755))
	require.NoError(t, os.Mkdir(b.dir+"/run", 0o755))
	p := b.launch("-p", b.dir+"/run/pid")
	held, letGo := b.holdLocks()
	defer letGo()
	assert.Contains(t, held, b.dir+"/run/pid")
	assert.Contains(t, held, b.dir+"/data")
	require.Error(t, p.Kill()) // which leaves the files
	assert.FileExists(t, b.dir+"/run/pid")
	p = b.launch("-p", b.dir+"/run/pid")
	assert.NotContains(t, p.Output(), "Waiting for")
	assert.Equal(t, p.Pid(), b.pid(b.dir+"/run/pid"))
	require.NoError(t, p.Stop(patience))
}

// A daemon of root followed a link at the path of its pid file, which the user that
// it becomes can make: a file of root's was cut to nothing.
func TestPidFileIsNoLink(t *testing.T) {
	for what, plant := range map[string]func(victim, path string) error{
		"symbolic": os.Symlink,
		"hard":     os.Link,
	} {
		t.Run(what, func(t *testing.T) {
			b := newBench(t, strings.Replace(gatewayConf, "data-dir DIR", "data-dir DIR/data", 1))
			b.openDir()
			data, victim := b.dir+"/data", b.dir+"/victim"
			require.NoError(t, os.Mkdir(data, 0o755))
			require.NoError(t, os.Chown(data, nobody, nobody))
			require.NoError(t, os.WriteFile(victim, []byte("precious"), 0o600))
			require.NoError(t, plant(victim, data+"/pid"))
			out, _, status := b.tayga("-d", "-c", b.conf, "-u", "nobody", "-p", "pid")
			assert.Equal(t, 1, status)
			assert.Contains(t, out, "pid file: ")
			got, err := os.ReadFile(victim)
			require.NoError(t, err)
			assert.Equal(t, "precious", string(got))
			assert.Empty(t, b.devices())

			// A file that the user owns will do, and so will none.
			require.NoError(t, os.Remove(data+"/pid"))
			for range 2 {
				p := b.launch("-u", "nobody", "-p", "pid")
				assert.Equal(t, p.Pid(), b.pid(data+"/pid"))
				require.NoError(t, p.Stop(patience))
				assert.NoFileExists(t, data+"/pid")
				_, err := b.asNobody("touch " + data + "/pid")
				require.NoError(t, err)
			}
		})
	}
}

// The lock beside the pid file, or beside the leases, was any file of root's that
// another user had given that name: it was closed to others, and overwritten.
func TestLockIsNoHardLink(t *testing.T) {
	for _, dir := range []struct {
		name string
		uid  int
		mode fs.FileMode
		user string
	}{
		{"of-the-user", nobody, 0o755, "nobody"},
		{"sticky", 0, 0o777 | fs.ModeSticky, "root"},
		{"of-a-group", 0, 0o775, "nobody"},
	} {
		for _, name := range []string{"dynamic.map.lock", "pid.lock"} {
			t.Run(dir.name+"/"+name, func(t *testing.T) {
				b := newBench(t, strings.Replace(gatewayConf, "data-dir DIR", "data-dir DIR/data", 1))
				b.openDir()
				data, victim := b.dir+"/data", b.dir+"/victim"
				require.NoError(t, os.Mkdir(data, 0o755))
				require.NoError(t, os.Chown(data, dir.uid, nobody))
				require.NoError(t, os.Chmod(data, dir.mode))
				require.NoError(t, os.WriteFile(victim, []byte("precious"), 0o644))
				require.NoError(t, os.Link(victim, data+"/"+name))
				p := b.launch("-u", dir.user, "-p", "pid")
				assert.NotContains(t, p.Output(), "is not kept away")
				got, err := os.ReadFile(victim)
				require.NoError(t, err)
				assert.Equal(t, "precious", string(got))
				fi, err := os.Stat(victim)
				require.NoError(t, err)
				assert.Equal(t, fs.FileMode(0o644), fi.Mode())
				assert.EqualValues(t, 1, fi.Sys().(*syscall.Stat_t).Nlink)
				fi, err = os.Stat(data + "/" + name)
				require.NoError(t, err)
				assert.Equal(t, fs.FileMode(0o600), fi.Mode())
				require.NoError(t, p.Stop(patience))
			})
		}
	}
}

// A link on the way to the pid file is as good as one in its place.
func TestPidFileThroughALink(t *testing.T) {
	b := newBench(t, gatewayConf)
	b.openDir()
	require.NoError(t, os.Mkdir(b.dir+"/root", 0o755))
	require.NoError(t, os.Mkdir(b.dir+"/nobody", 0o755))
	require.NoError(t, os.Chown(b.dir+"/nobody", nobody, nobody))
	_, err := b.asNobody("ln -s " + b.dir + "/root " + b.dir + "/nobody/run")
	require.NoError(t, err)
	out, _, status := b.tayga("-d", "-c", b.conf, "-p", b.dir+"/nobody/run/pid")
	assert.Equal(t, 1, status)
	assert.Contains(t, out, "the symbolic link "+b.dir+"/nobody/run is not followed: "+b.dir+"/nobody belongs to user 65534\n")
	left, err := os.ReadDir(b.dir + "/root")
	require.NoError(t, err)
	assert.Empty(t, left)
}

// In a directory of a third user, the pid file is what root may kill by, and the
// socket is who answers in the daemon's name.
func TestDirectoriesOfOthers(t *testing.T) {
	b := newBench(t, gatewayConf)
	b.openDir()
	dir := b.dir + "/d"
	require.NoError(t, os.Mkdir(dir, 0o755))
	b.configure(strings.Replace(gatewayConf, "data-dir DIR\n", "", 1) + "status-socket DIR/d/sock\n")
	pidFile := strings.Replace(gatewayConf, "data-dir DIR\n", "", 1)
	for _, test := range []struct {
		uid  int
		mode fs.FileMode
		by   string
	}{
		{nobody, 0o755, " belongs to user 65534"},
		{0, 0o777, " can be written by every user"},
	} {
		require.NoError(t, os.Chown(dir, test.uid, 0))
		require.NoError(t, os.Chmod(dir, test.mode))
		want := "/d" + test.by + ": choose a directory that only root and the user of tayga can write\n"
		out, _, code := b.tayga("-d", "-c", b.conf, "-u", "daemon")
		assert.Equal(t, 1, code)
		assert.Contains(t, out, "status-socket: "+dir+"/sock: "+b.dir+want)
		other := b.dir + "/pid.conf"
		require.NoError(t, os.WriteFile(other, []byte(pidFile), 0o644))
		out, _, code = b.tayga("-d", "-c", other, "-u", "daemon", "-p", dir+"/pid")
		assert.Equal(t, 1, code)
		assert.Contains(t, out, "pid file "+dir+"/pid: "+b.dir+want)
		assert.Empty(t, b.devices())
	}
	// The user that the daemon becomes may have both.
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.Chown(dir, nobody, 0))
	p := b.launch("-u", "nobody", "-p", dir+"/pid")
	assert.Equal(t, p.Pid(), b.ask(status.Summary).PID)
	require.NoError(t, p.Stop(patience))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
}

// A data-dir of a third user is not the daemon's to keep leases in. A user who cannot
// save them in one of root's goes on without, and it is said at the start.
func TestDataDirOfTheWrongUser(t *testing.T) {
	b := newBench(t, gatewayConf)
	b.openDir()
	text := "data-dir " + b.dir + ": user nobody, as whom tayga runs, may not write there: "
	require.NoError(t, os.Chown(b.dir, 12345, 0))
	out, _, code := b.tayga("-d", "-c", b.conf, "-u", "nobody")
	assert.Equal(t, 1, code)
	assert.Equal(t, text+"it belongs to user 12345: give the directory to user nobody\n", out)
	assert.Empty(t, b.devices())

	require.NoError(t, os.Chown(b.dir, 0, 0))
	p := b.launch("-u", "nobody")
	assert.Contains(t, p.Output(), text+"leases are forgotten when tayga ends: give the directory to that user\n")
	require.NoError(t, p.Stop(patience))

	// By its group he may, and without a pool he need not.
	require.NoError(t, os.Chown(b.dir, 0, nobody))
	require.NoError(t, os.Chmod(b.dir, 0o775))
	p = b.launch("-u", "nobody")
	assert.NotContains(t, p.Output(), "data-dir")
	require.NoError(t, p.Stop(patience))
	require.NoError(t, os.Chmod(b.dir, 0o755))
	b.configure(strings.Replace(gatewayConf, "dynamic-pool", "#", 1))
	p = b.launch("-u", "nobody")
	require.NoError(t, p.Stop(patience))

	// Of others who can write there, the log speaks.
	b.configure(gatewayConf)
	require.NoError(t, os.Chmod(b.dir, 0o777))
	p = b.launch()
	assert.Contains(t, p.Output(), "data-dir "+b.dir+": "+b.dir+" can be written by every user, who can change the leases\n")
	require.NoError(t, p.Stop(patience))
}

// A dynamic.map that was a link led to a private file, whose lines ended in the log
// and in a copy that every user could read. The same goes for the map-file.
func TestForeignLinksAreNotRead(t *testing.T) {
	const secret = "root:$6$secret"
	b := newBench(t, strings.Replace(gatewayConf, "data-dir DIR", "data-dir DIR/data\nmap-file maps", 1)).installed()
	b.openDir()
	data, private := b.dir+"/data", b.dir+"/private"
	require.NoError(t, os.Mkdir(data, 0o755))
	require.NoError(t, os.Chown(data, nobody, nobody))
	require.NoError(t, os.WriteFile(private, []byte(secret+"\n"), 0o600))
	for _, plant := range []func(victim, path string) error{
		func(victim, path string) error {
			_, err := b.asNobody("ln -s " + victim + " " + path)
			return err
		},
		os.Link,
	} {
		require.NoError(t, plant(private, data+"/maps"))
		for _, args := range [][]string{{"-d"}, {"-d", "-u", "nobody"}, {"--check"}} {
			out, _, code := b.tayga(append(args, "-c", b.conf)...)
			assert.Equal(t, 1, code)
			assert.NotContains(t, out, secret)
			assert.Regexp(t, "maps.*(is not followed|hard links)", out)
		}
		require.NoError(t, os.Remove(data+"/maps"))
		require.NoError(t, os.WriteFile(data+"/maps", nil, 0o644))

		require.NoError(t, plant(private, data+"/dynamic.map"))
		p := b.launch()
		b.await(p, "Unable to open "+data+"/dynamic.map: ")
		require.NoError(t, p.Stop(patience))
		assert.NotContains(t, p.Output(), secret)
		got, err := b.asNobody("cat " + data + "/dynamic.map*")
		assert.NotContains(t, got, secret, err)
		text, err := os.ReadFile(private)
		require.NoError(t, err)
		assert.Equal(t, secret+"\n", string(text))
		files, err := filepath.Glob(data + "/*")
		require.NoError(t, err)
		for _, file := range files {
			require.NoError(t, os.Remove(file))
		}
	}
}

// The copy of a damaged file is no more readable than the file.
func TestCopyIsNoWider(t *testing.T) {
	for _, suffix := range []string{damaged, old} {
		line := map[string]string{damaged: "private\n", old: "10.9.9.9\t2001:db8::9\t1795193388\n"}[suffix]
		b := newBench(t, gatewayConf).installed()
		require.NoError(t, os.WriteFile(b.dir+"/dynamic.map", []byte(line), 0o600))
		require.NoError(t, os.WriteFile(b.dir+"/dynamic.map"+suffix, nil, 0o644))
		require.NoError(t, os.Chown(b.dir+"/dynamic.map"+suffix, nobody, nobody))
		p := b.launch()
		require.NoError(t, p.Stop(patience))
		fi, err := os.Stat(b.dir + "/dynamic.map" + suffix)
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o600), fi.Mode())
		assert.Zero(t, fi.Sys().(*syscall.Stat_t).Uid)
		assert.EqualValues(t, len(line), fi.Size())
	}
}

// A dynamic.map that the operator had made a link became a file, and his own was
// never written again.
func TestLinkOfTheOperatorIsKept(t *testing.T) {
	b := newBench(t, strings.Replace(gatewayConf, "data-dir DIR", "data-dir DIR/data", 1)).installed()
	b.openDir()
	data, store := b.dir+"/data", b.dir+"/store"
	for _, user := range []string{"root", "nobody"} {
		require.NoError(t, os.MkdirAll(data, 0o755))
		require.NoError(t, os.MkdirAll(store, 0o755))
		if user == "nobody" {
			require.NoError(t, os.Chown(data, nobody, nobody))
			require.NoError(t, os.Chown(store, nobody, nobody))
		}
		require.NoError(t, os.Symlink("../store/leases", data+"/dynamic.map"))
		p := b.launch("-u", user)
		b.connect()
		b.lease(p)
		require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
		b.eventually(func() bool {
			text, _ := os.ReadFile(store + "/leases")
			return strings.Contains(string(text), "\t2001:db8:1::1\t")
		}, p.Output)
		require.NoError(t, os.Chmod(store+"/leases", 0o600))
		require.NoError(t, p.Stop(patience))
		assert.NotContains(t, p.Output(), "Unable")
		p = b.launch("-u", user)
		b.await(p, "Loaded 1 dynamic map from ")
		require.NoError(t, p.Stop(patience))
		to, err := os.Readlink(data + "/dynamic.map")
		require.NoError(t, err)
		assert.Equal(t, "../store/leases", to)
		fi, err := os.Stat(store + "/leases")
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o600), fi.Mode())
		require.NoError(t, os.RemoveAll(data))
		require.NoError(t, os.RemoveAll(store))
	}
}

// Two data-dirs whose dynamic.map leads to one file are as bad as one data-dir: the
// lock was beside the links, and each daemon replaced the leases of the other.
func TestLinkedLeasesInUse(t *testing.T) {
	for _, args := range [][]string{nil, {"-u", "nobody"}} {
		b := newBench(t, strings.Replace(gatewayConf, "data-dir DIR", "data-dir DIR/one", 1)).installed()
		b.openDir()
		store := b.dir + "/store"
		require.NoError(t, os.Mkdir(store, 0o755))
		for _, dir := range []string{"one", "two"} {
			require.NoError(t, os.Mkdir(b.dir+"/"+dir, 0o755))
			require.NoError(t, os.Symlink("../store/dynamic.map", b.dir+"/"+dir+"/dynamic.map"))
		}
		if args != nil {
			for _, dir := range []string{"one", "two", "store"} {
				require.NoError(t, os.Chown(b.dir+"/"+dir, nobody, nobody))
			}
		}
		p := b.launch(args...)
		second := b.dir + "/second.conf"
		for _, dir := range []string{"two", "store"} {
			text := strings.ReplaceAll(strings.Replace(otherDevice, "DIR", "DIR/"+dir, 1), "DIR", b.dir)
			require.NoError(t, os.WriteFile(second, []byte(text), 0o644))
			out, _, status := b.tayga(append([]string{"-d", "-c", second}, args...)...)
			assert.Equal(t, 1, status)
			assert.Contains(t, out, fmt.Sprintf("is in use by another tayga: process %d, device \"nat64\"\n", p.Pid()))
		}
		require.NoError(t, p.Stop(patience))
		assert.NoFileExists(t, store+"/dynamic.map.lock")
	}
}

// A link of the operator to a file that cannot be read stays, too: what it leads to
// is set aside.
func TestTargetIsSetAside(t *testing.T) {
	l, r := newLeases(t, time.Now())
	require.NoError(t, os.Mkdir("store", 0o755))
	require.NoError(t, syscall.Mkfifo("store/leases", 0o600))
	require.NoError(t, os.Symlink("store/leases", leaseFile))
	l.load(unleasable(t, confOf(t, poolConf)))
	l.log.flush()
	assert.Contains(t, strings.Join(r.all(), "\n"), "It is now store/leases.damaged")
	l.save(time.Now())
	to, err := os.Readlink(leaseFile)
	require.NoError(t, err)
	assert.Equal(t, "store/leases", to)
	assert.FileExists(t, "store/leases")
}

// A file that was closed to others and was set aside, or removed, came back open.
func TestNewFileIsNoWider(t *testing.T) {
	mode := func() fs.FileMode {
		t.Helper()
		fi, err := os.Stat(leaseFile)
		require.NoError(t, err)
		return fi.Mode()
	}
	l, _ := newLeases(t, time.Now())
	require.NoError(t, syscall.Mkfifo(leaseFile, 0o600))
	l.load(unleasable(t, confOf(t, poolConf)))
	l.save(time.Now())
	assert.Equal(t, fs.FileMode(0o600), mode())

	require.NoError(t, os.Chmod(leaseFile, 0o640))
	l.save(time.Now())
	require.NoError(t, os.Remove(leaseFile))
	l.save(time.Now())
	assert.Equal(t, fs.FileMode(0o640), mode())
}

// With umask 0 data-dir and what is in it could be written by every user, and with
// any umask a dynamic.map that was closed to others was open after a save.
func TestModes(t *testing.T) {
	conf := strings.Replace(gatewayConf, "data-dir DIR", "data-dir DIR/data\nstatus-socket DIR/run/sock", 1)
	for umask, mask := range map[string]fs.FileMode{"000": 0o022, "022": 0o022, "027": 0o027, "077": 0o077} {
		t.Run(umask, func(t *testing.T) {
			b := newBench(t, conf).installed()
			require.NoError(t, os.Mkdir(b.dir+"/run", 0o755))
			start := func() *netlab.Process {
				p, err := b.host.Launch("/bin/sh", "-c", fmt.Sprintf("umask %s; exec %s -d -c %s -p %s/run/pid", umask, b.self, b.conf, b.dir))
				require.NoError(t, err)
				b.await(p, "Workers: ")
				return p
			}
			mode := func(name string) fs.FileMode {
				t.Helper()
				fi, err := os.Lstat(b.dir + name)
				require.NoError(t, err)
				return fi.Mode()
			}
			p := start()
			assert.Equal(t, fs.ModeDir|0o755&^mask, mode("/data"))
			assert.Equal(t, 0o644&^mask, mode("/run/pid"))
			assert.Equal(t, fs.FileMode(0o600), mode("/run/pid.lock"))
			assert.Equal(t, fs.FileMode(0o600), mode("/data/dynamic.map.lock"))
			assert.Equal(t, fs.ModeSocket|0o660, mode("/run/sock"))
			require.NoError(t, p.Stop(patience))
			assert.Equal(t, 0o644&^mask, mode("/data/dynamic.map"))
			for _, perm := range []fs.FileMode{0o600, 0o640, 0o664} {
				require.NoError(t, os.Chmod(b.dir+"/data/dynamic.map", perm))
				p = start()
				require.NoError(t, p.Stop(patience))
				assert.Equal(t, perm, mode("/data/dynamic.map"))
			}
			left, err := os.ReadDir(b.dir + "/data")
			require.NoError(t, err)
			assert.Len(t, left, 1, "no lock is left")
		})
	}
}
