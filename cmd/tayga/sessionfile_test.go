package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

const sharingConf = `tun-device nat64
ipv4-addr 192.0.2.1
prefix 2001:db8:96::/96
prefix 2001:db8:64::/96
stateful-pool 192.0.2.1
`

// newSessions makes a gateway with a file in the working directory, and loads that.
func newSessions(t *testing.T, conf string) (*sessionFile, *recorder) {
	t.Helper()
	r := &recorder{}
	c := confOf(t, conf)
	c.DataDir = "/data"
	s := newSessionFile(c, installed(t, c, time.Now()).Sessions(), newLogger(r))
	s.load()
	s.log.flush()
	return s, r
}

// open makes UDP sessions of a host, and returns the ports that they have.
func (s *sessionFile) open(t *testing.T, ports ...uint16) (got []uint16) {
	t.Helper()
	for _, port := range ports {
		f := translate.Tuple6{
			Host: translate.Addr6{Hi: 0x20010db8_00000000, Lo: 1}, HostPort: port,
			Remote: 0xcb007105, RemotePort: 443, Proto: 17, Pref64: 2,
		}
		var to translate.Tuple4
		require.Equal(t, translate.FlowMapped, s.table.Outbound(time.Since(started), &f, 0, &to))
		got = append(got, to.LocalPort)
	}
	return got
}

// logged returns what the log has.
func (s *sessionFile) logged(r *recorder) string {
	s.log.flush()
	return strings.Join(r.all(), "\n")
}

// TestSessionsAreSaved: sessions go on after a clean end, in a file that only its owner can
// read, also if it was open to others.
func TestSessionsAreSaved(t *testing.T) {
	t.Chdir(t.TempDir())
	s, r := newSessions(t, sharingConf)
	assert.Empty(t, s.logged(r))
	want := s.open(t, 1000, 2000)
	s.close()
	s.open(t, 3000)
	s.step()
	require.NoError(t, os.Chmod(sessionFileName, 0o644))

	s, r = newSessions(t, sharingConf)
	assert.Equal(t, "6 Loaded 2 sessions from /data/sessions.bin", s.logged(r))
	assert.Equal(t, want, s.open(t, 1000, 2000))
	list, _ := s.table.Sessions(nil, time.Since(started), session.Filter{}, 0, 10)
	assert.EqualValues(t, 2, list[0].Pref64)
	s.step()
	fi, err := os.Stat(sessionFileName)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), fi.Mode().Perm())
}

// TestSessionsAfterKill: what was there at the last step goes on after an end without close,
// and after the next one too.
func TestSessionsAfterKill(t *testing.T) {
	t.Chdir(t.TempDir())
	s, _ := newSessions(t, sharingConf)
	s.step()
	want := s.open(t, 1000)
	s.step()
	want = append(want, s.open(t, 2000)...)
	s.step()
	s.open(t, 3000)
	for range 3 {
		var r *recorder
		s, r = newSessions(t, sharingConf)
		assert.Contains(t, s.logged(r), "Loaded 2 sessions")
		assert.Equal(t, want, s.open(t, 1000, 2000))
		s.step()
	}
}

// TestSessionFileExchanged: a file that was removed or exchanged meanwhile is written anew.
func TestSessionFileExchanged(t *testing.T) {
	t.Chdir(t.TempDir())
	s, r := newSessions(t, sharingConf)
	s.step()
	for i, exchange := range []func(){
		func() { require.NoError(t, os.Remove(sessionFileName)) },
		func() { require.NoError(t, os.WriteFile(sessionFileName, []byte("x"), 0o600)) },
		func() { require.NoError(t, os.Truncate(sessionFileName, 10)) },
	} {
		exchange()
		s.open(t, uint16(1000+i))
		s.step()
		after, _ := newSessions(t, sharingConf)
		assert.Equal(t, i+1, after.table.Stats().Sessions)
	}
	assert.Empty(t, s.logged(r))
}

// TestSessionFileDamaged: a damaged block costs only itself, and the file is kept.
func TestSessionFileDamaged(t *testing.T) {
	t.Chdir(t.TempDir())
	s, _ := newSessions(t, sharingConf)
	s.step()
	s.open(t, 1000)
	s.step()
	s.open(t, 2000)
	s.step()
	file, err := os.ReadFile(sessionFileName)
	require.NoError(t, err)
	file[len(file)-100] ^= 1
	file = append(file, "half a block"...)
	require.NoError(t, os.WriteFile(sessionFileName, file, 0o640))

	s, r := newSessions(t, sharingConf)
	log := s.logged(r)
	assert.Contains(t, log, "/data/sessions.bin: 2 of its 6 blocks are damaged")
	assert.Contains(t, log, "A copy of it is kept in /data/sessions.bin.damaged")
	assert.Contains(t, log, "Loaded 1 session from")
	s.step()
	kept, err := os.ReadFile(sessionFileName + damaged)
	require.NoError(t, err)
	assert.Equal(t, file, kept)
	fi, err := os.Stat(sessionFileName + damaged)
	require.NoError(t, err)
	assert.Zero(t, fi.Mode().Perm()&0o007)
}

// TestSessionFileStrange: what is no file of sessions is set aside, whatever it is.
func TestSessionFileStrange(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T)
		want string
	}{
		{"empty", func(t *testing.T) { require.NoError(t, os.WriteFile(sessionFileName, nil, 0o600)) }, "damaged from its begin"},
		{"text", func(t *testing.T) {
			require.NoError(t, os.WriteFile(sessionFileName, []byte(strings.Repeat("hello\n", 2000)), 0o600))
		}, "another version"},
		{"huge", func(t *testing.T) {
			require.NoError(t, os.WriteFile(sessionFileName, nil, 0o600))
			require.NoError(t, os.Truncate(sessionFileName, 1<<40))
		}, "/data/sessions.bin: 1099511627776 bytes are more than tayga writes"},
		{"pipe", func(t *testing.T) { require.NoError(t, syscall.Mkfifo(sessionFileName, 0o600)) }, "Unable to open /data/sessions.bin"},
		{"directory", func(t *testing.T) { require.NoError(t, os.Mkdir(sessionFileName, 0o700)) }, "Unable to open /data/sessions.bin"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			c.make(t)
			before, err := os.Stat(sessionFileName)
			require.NoError(t, err)
			s, r := newSessions(t, sharingConf)
			assert.Contains(t, s.logged(r), c.want)
			assert.Contains(t, s.logged(r), "It is now /data/sessions.bin.damaged")
			kept, err := os.Stat(sessionFileName + damaged)
			require.NoError(t, err)
			assert.True(t, os.SameFile(before, kept))

			want := s.open(t, 1000)
			s.close()
			s, _ = newSessions(t, sharingConf)
			assert.Equal(t, want, s.open(t, 1000))
		})
	}
}

// TestSessionFileOfOther: sessions that another configuration does not allow are left out, and
// kept in a copy that has them with the first one.
func TestSessionFileOfOther(t *testing.T) {
	t.Chdir(t.TempDir())
	s, _ := newSessions(t, sharingConf)
	want := s.open(t, 1000, 2000)
	s.close()
	for _, c := range []struct{ name, conf string }{
		{"pool", strings.Replace(sharingConf, "stateful-pool 192.0.2.1", "stateful-pool 192.0.2.2", 1)},
		{"prefix", strings.Replace(sharingConf, "prefix 2001:db8:64::/96\n", "", 1)},
		{"limit", sharingConf + "stateful-max-sessions 1\n"},
	} {
		file, err := os.ReadFile(sessionFileName)
		require.NoError(t, err)
		s, r := newSessions(t, c.conf)
		log := s.logged(r)
		assert.Contains(t, log, " sessions left out: they no longer fit the configuration", c.name)
		assert.Contains(t, log, "run mv /data/sessions.bin.old /data/sessions.bin, and start it", c.name)
		assert.Contains(t, log, "A copy of it is kept in /data/sessions.bin.old", c.name)
		s.close()
		kept, err := os.ReadFile(sessionFileName + old)
		require.NoError(t, err)
		assert.Equal(t, file, kept)
		require.NoError(t, os.Rename(sessionFileName+old, sessionFileName))
	}
	// Prefixes that have other numbers are no reason.
	s, r := newSessions(t, strings.Replace(sharingConf, "prefix 2001:db8:96::/96\n", "", 1)+"prefix 2001:db8:96::/96\n")
	assert.Equal(t, "6 Loaded 2 sessions from /data/sessions.bin", s.logged(r))
	list, _ := s.table.Sessions(nil, time.Since(started), session.Filter{}, 0, 10)
	assert.EqualValues(t, 1, list[0].Pref64)
	assert.ElementsMatch(t, want, []uint16{list[0].Addr.Port(), list[1].Addr.Port()})
}

// TestSessionFileFails: a file that cannot be written is logged once, tried again, and
// complete when it can.
func TestSessionFileFails(t *testing.T) {
	t.Chdir(t.TempDir())
	s, r := newSessions(t, sharingConf)
	s.step()
	s.open(t, 1000)
	require.NoError(t, os.Remove(sessionFileName))
	require.NoError(t, os.MkdirAll(sessionFileName+"~~/in-the-way", 0o700))
	s.step()
	s.step()
	lines := strings.Split(s.logged(r), "\n")
	require.Len(t, lines, 1, lines)
	assert.Contains(t, lines[0], "4 Unable to write /data/sessions.bin: directory not empty: trying again in 45s")
	s.open(t, 2000)
	require.NoError(t, os.RemoveAll(sessionFileName+"~~"))
	s.step()
	assert.Contains(t, s.logged(r), "5 /data/sessions.bin is written again")
	after, _ := newSessions(t, sharingConf)
	assert.Equal(t, 2, after.table.Stats().Sessions)
}

// TestSessionsNotKept: nothing is written without a data-dir, or without a stateful-pool.
func TestSessionsNotKept(t *testing.T) {
	t.Chdir(t.TempDir())
	c := confOf(t, sharingConf)
	s := newSessionFile(c, installed(t, c, time.Now()).Sessions(), newLogger(&recorder{}))
	c = confOf(t, strings.Replace(sharingConf, "stateful-pool", "#", 1))
	c.DataDir = "/data"
	for _, s := range []*sessionFile{s, newSessionFile(c, installed(t, c, time.Now()).Sessions(), nil)} {
		s.load()
		s.step()
		s.soon()
		s.close()
	}
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	assert.Empty(t, entries)
}

// TestMoment: the clocks that a restart is measured by.
func TestMoment(t *testing.T) {
	s, _ := newSessions(t, sharingConf)
	a, b := s.moment(), s.moment()
	assert.Equal(t, a.Boot, b.Boot)
	assert.GreaterOrEqual(t, b.Uptime, a.Uptime)
	if _, err := os.Stat("/proc/sys/kernel/random/boot_id"); err == nil {
		assert.NotZero(t, a.Boot)
		assert.NotZero(t, a.Uptime)
	}
}
