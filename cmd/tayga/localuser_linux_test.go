package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
