package main

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/gateway"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/translate"
)

const damagedFile = leaseFile + damaged

const poolConf = `tun-device nat64
ipv4-addr 172.16.2.1
prefix 2001:db8:64::/96
dynamic-pool 172.16.2.0/24
map 172.16.2.5 2001:db8:5::5
`

func confOf(t *testing.T, text string) *taygaconf.Config {
	t.Helper()
	c, problems := taygaconf.Read(strings.NewReader(text), "tayga.conf", nil)
	require.False(t, problems.Failed(), problems)
	return c
}

// newLeases makes a pool in an empty data-dir, which becomes the working
// directory.
func newLeases(t *testing.T, now time.Time) (*leases, *recorder) {
	t.Helper()
	t.Chdir(t.TempDir())
	r := &recorder{}
	g := installed(t, confOf(t, poolConf), now)
	return leasesOf(g, newLogger(r)), r
}

// leasesOf returns the leases of a gateway with one pool.
func leasesOf(g *gateway.Gateway, log *logger) *leases {
	return &leases{pool: g.Pools()[0].Pool, savedFile: savedFile{file: leaseFile, dir: "/data", log: log}}
}

// installed makes a gateway without leases.
func installed(t *testing.T, c *taygaconf.Config, now time.Time) *gateway.Gateway {
	t.Helper()
	g, err := gateway.Install(gateway.Config{Conf: c, Now: now})
	require.NoError(t, err)
	return g
}

// pass is what the daemon does with leases once a second.
func (l *leases) pass(now time.Time) {
	l.pool.Tick(now)
	l.upkeep(now)
}

func host(s string) [16]byte { return netip.MustParseAddr(s).As16() }

// leaseLines returns the lines of the file that hold leases.
func leaseLines(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(leaseFile)
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	var lines []string
	for l := range strings.Lines(string(b)) {
		if l = strings.TrimSpace(l); l != "" && l[0] != '#' {
			lines = append(lines, l)
		}
	}
	return lines
}

func TestLeasesAreSaved(t *testing.T) {
	now := time.Now()
	l, _ := newLeases(t, now)
	l.load(func(netip.Addr) bool { return false })
	at := func(d time.Duration) time.Time { return now.Add(d) }

	l.pass(at(time.Second))
	assert.FileExists(t, leaseFile, "the first pass writes the file")
	assert.Empty(t, leaseLines(t))

	// The first lease after a quiet time is saved at once.
	l.pass(at(100 * time.Second))
	l.pool.Assign(host("2001:db8:77::1"))
	l.pass(at(101 * time.Second))
	require.Len(t, leaseLines(t), 1)
	assert.Equal(t, "172.16.2.95\t2001:db8:77::1\t"+strconv.FormatInt(at(100*time.Second).Unix(), 10), leaseLines(t)[0])

	// The next has to wait until 45 s after that.
	l.pool.Assign(host("2001:db8:77::2"))
	l.pass(at(145 * time.Second))
	assert.Len(t, leaseLines(t), 1)
	l.pass(at(146 * time.Second))
	assert.Len(t, leaseLines(t), 2)

	// Nothing changed: the file stays until its times are stale.
	require.NoError(t, os.Remove(leaseFile))
	l.pass(at(1000 * time.Second))
	assert.NoFileExists(t, leaseFile)
	l.pass(at(146*time.Second + rewriteInterval))
	assert.Len(t, leaseLines(t), 2)
}

// A lease given out in the first seconds is not lost, and has a time.
func TestEarlyLeaseIsSaved(t *testing.T) {
	now := time.Now()
	l, _ := newLeases(t, now)
	l.load(func(netip.Addr) bool { return false })
	l.pool.Assign(host("2001:db8:77::1"))
	l.save(now)
	require.Len(t, leaseLines(t), 1)
	fields := strings.Fields(leaseLines(t)[0])
	assert.Equal(t, strconv.FormatInt(now.Unix(), 10), fields[2])
}

func TestLeasesAreLoaded(t *testing.T) {
	now := time.Now()
	l, r := newLeases(t, now)
	stamp := strconv.FormatInt(now.Unix()-10, 10)
	text := "### comment\n\n172.16.2.12\t2001:db8:1::12\t" + stamp + "\n172.16.2.255 2001:db8:1::ff " + stamp + " # kept\n"
	require.NoError(t, os.WriteFile(leaseFile, []byte(text), 0o644))
	l.load(unleasable(t, confOf(t, poolConf)))
	l.log.flush()
	assert.Equal(t, []string{"6 Loaded 2 dynamic maps from /data/dynamic.map"}, r.all())
	assert.NoFileExists(t, damagedFile)
	a, ok := l.pool.Assign(host("2001:db8:1::ff"))
	assert.True(t, ok)
	assert.Equal(t, [4]byte{172, 16, 2, 255}, a)
}

// A damaged line is named, the rest is used, and the file is kept.
func TestDamagedLeasesArePreserved(t *testing.T) {
	now := time.Now()
	l, r := newLeases(t, now)
	stamp := strconv.FormatInt(now.Unix()-10, 10)
	text := "172.16.2.12 2001:db8:1::12 " + stamp + "\n" +
		"172.16.2.13 2001:db8:1::13\n" +
		"172.16.2.5 2001:db8:1::14 " + stamp + "\n" +
		"172.16.2.15 2001:db8:5::5 " + stamp + "\n" +
		"172.16.2.16 2001:db8:64::1 " + stamp + "\n" +
		"172.16.2.17 fe80::1 " + stamp + "\n" +
		"172.16.2.18 ::ffff:192.0.2.1 " + stamp + "\n" +
		"\x00\x00\x00"
	require.NoError(t, os.WriteFile(leaseFile, []byte(text), 0o644))
	l.load(unleasable(t, confOf(t, poolConf)))
	l.log.flush()
	lines := strings.Join(r.all(), "\n")
	assert.Contains(t, lines, "/data/dynamic.map:2: ignored: ")
	assert.Contains(t, lines, "/data/dynamic.map:3: ignored: address is reserved")
	assert.Contains(t, lines, "/data/dynamic.map:4: ignored: host has a fixed mapping")
	assert.Contains(t, lines, "/data/dynamic.map:5: ignored: host has a fixed mapping")
	assert.Contains(t, lines, "/data/dynamic.map:6: ignored: not the address of a host")
	assert.Contains(t, lines, "/data/dynamic.map:7: ignored: not the address of a host")
	assert.Contains(t, lines, "/data/dynamic.map:8: ignored: ")
	assert.Contains(t, lines, "A copy of it is kept in /data/dynamic.map.damaged")
	assert.Contains(t, lines, "Loaded 1 dynamic map from /data/dynamic.map")
	l.save(now)
	assert.Len(t, leaseLines(t), 1)
	kept, err := os.ReadFile(damagedFile)
	require.NoError(t, err)
	assert.Equal(t, text, string(kept))
}

// A sound file from before a map or the pool changed was called damaged, and took
// the place of one that was.
func TestLeasesThatNoLongerFitArePreserved(t *testing.T) {
	now := time.Now()
	l, r := newLeases(t, now)
	stamp := strconv.FormatInt(now.Unix()-10, 10)
	text := "172.16.2.12 2001:db8:1::12 " + stamp + "\n" +
		"172.16.2.5 2001:db8:1::14 " + stamp + "\n" +
		"172.16.2.15 2001:db8:5::5 " + stamp + "\n" +
		"172.16.3.16 2001:db8:1::16 " + stamp + "\n"
	require.NoError(t, os.WriteFile(leaseFile, []byte(text), 0o644))
	require.NoError(t, os.WriteFile(damagedFile, []byte("earlier"), 0o644))
	l.load(unleasable(t, confOf(t, poolConf)))
	l.log.flush()
	lines := strings.Join(r.all(), "\n")
	assert.Contains(t, lines, "/data/dynamic.map:4: ignored: address is not in the pool")
	assert.Contains(t, lines, "/data/dynamic.map: 3 leases left out: they no longer fit the configuration")
	assert.Contains(t, lines, "A copy of it is kept in /data/dynamic.map.old")
	assert.NotContains(t, lines, "damaged")
	l.save(now)
	assert.Len(t, leaseLines(t), 1)
	kept, err := os.ReadFile(leaseFile + old)
	require.NoError(t, err)
	assert.Equal(t, text, string(kept))
	kept, err = os.ReadFile(damagedFile)
	require.NoError(t, err)
	assert.Equal(t, "earlier", string(kept))
}

// A file that cannot be read, as one that belongs to another user, was replaced
// by the next save, and all leases in it were gone.
func TestUnreadableLeasesAreSetAside(t *testing.T) {
	now := time.Now()
	l, r := newLeases(t, now)
	require.NoError(t, os.Symlink(leaseFile, leaseFile)) // root reads all files, but not this
	l.load(func(netip.Addr) bool { return false })
	l.log.flush()
	lines := strings.Join(r.all(), "\n")
	assert.Contains(t, lines, "Unable to open /data/dynamic.map: too many levels of symbolic links: starting without the leases in it")
	assert.Contains(t, lines, "It is now /data/dynamic.map.damaged")
	l.save(now)
	kept, err := os.Readlink(damagedFile)
	require.NoError(t, err)
	assert.Equal(t, leaseFile, kept)
}

// A pipe by that name contains no leases. To open it took for ever.
func TestLeasesInAPipe(t *testing.T) {
	now := time.Now()
	l, r := newLeases(t, now)
	require.NoError(t, syscall.Mkfifo(leaseFile, 0o600))
	l.load(func(netip.Addr) bool { return false })
	l.log.flush()
	lines := strings.Join(r.all(), "\n")
	assert.Contains(t, lines, "Unable to open /data/dynamic.map: is not a regular file: starting without the leases in it")
	assert.Contains(t, lines, "It is now /data/dynamic.map.damaged")
	l.save(now)
	fi, err := os.Lstat(leaseFile)
	require.NoError(t, err)
	assert.True(t, fi.Mode().IsRegular())
}

// A damaged file of which no copy can be made is not replaced either.
func TestDamagedLeasesThatCannotBeCopied(t *testing.T) {
	l, r := newLeases(t, time.Now())
	require.NoError(t, os.WriteFile(leaseFile, []byte("nonsense\n"), 0o644))
	require.NoError(t, os.MkdirAll(damagedFile+"~~/full", 0o755)) // in the way of the copy
	l.load(func(netip.Addr) bool { return false })
	l.log.flush()
	assert.Contains(t, strings.Join(r.all(), "\n"), "Unable to keep a copy of it: ")
	kept, err := os.ReadFile(damagedFile)
	require.NoError(t, err)
	assert.Equal(t, "nonsense\n", string(kept))
}

// A wrong file by that name does not fill the log.
func TestDamageReportsAreBounded(t *testing.T) {
	l, r := newLeases(t, time.Now())
	require.NoError(t, os.WriteFile(leaseFile, []byte(strings.Repeat("nonsense\n", 10_000)), 0o644))
	l.load(func(netip.Addr) bool { return false })
	l.log.flush()
	assert.Len(t, r.all(), damageReports+3)
	assert.Contains(t, r.all()[damageReports], "9980 more lines ignored")
}

// A file that cannot be written is said once an interval, and tried again.
func TestSaveFailureIsRetried(t *testing.T) {
	now := time.Now()
	l, r := newLeases(t, now)
	l.load(func(netip.Addr) bool { return false })
	require.NoError(t, os.Mkdir(leaseFile, 0o755)) // which load would have set aside
	l.log.flush()
	before := len(r.all())
	for i := range 44 {
		l.pass(now.Add(time.Duration(i+1) * time.Second))
	}
	l.log.flush()
	assert.Len(t, r.all(), before+1)
	assert.Contains(t, r.all()[before], "3 Unable to open /data/dynamic.map~~ for writing: ")
	require.NoError(t, os.Remove(leaseFile))
	l.pass(now.Add(46 * time.Second))
	assert.FileExists(t, leaseFile)
}

// Without data-dir or pool there is no file.
func TestNoLeaseFile(t *testing.T) {
	l, _ := newLeases(t, time.Now())
	l.dir = ""
	l.load(func(netip.Addr) bool { return false })
	l.pass(time.Now().Add(time.Hour))
	l.save(time.Now())
	assert.NoFileExists(t, leaseFile)
	var none leaseFiles
	none.load(func(netip.Addr) bool { return false })
	none.upkeep(time.Now())
	none.save(time.Now())
	g := installed(t, confOf(t, "tun-device nat64\nipv4-addr 192.0.2.1\nprefix 2001:db8:64::/96\n"), time.Now())
	g.Upkeep(time.Now())
	ended, err := g.Update(gateway.Changes{MapFile: new(taygaconf.MapFile)})
	assert.NoError(t, err)
	logEnded(l.log, ended)
	assert.Equal(t, "no dynamic pool", poolLine(g.Stats()))
}

// A reload that gives a leased address, or a host that has a lease, a map of
// its own ends that lease and no other.
func TestReserve(t *testing.T) {
	c := confOf(t, poolConf)
	g, r := installed(t, c, time.Now()), &recorder{}
	l := leasesOf(g, newLogger(r))
	for _, h := range []string{"2001:db8:77::1", "2001:db8:77::2", "2001:db8:77::3"} {
		_, ok := l.pool.Assign(host(h)) // .95, .96, .97
		require.True(t, ok)
	}
	more, problems := c.ReadMaps(strings.NewReader("map 172.16.2.95 2001:db8:9::9\nmap 10.9.9.9 2001:db8:77::2\n"), "maps")
	require.Empty(t, problems)
	ended, err := g.Update(gateway.Changes{MapFile: &more})
	require.NoError(t, err)
	logEnded(l.log, ended)
	l.log.flush()
	lines := strings.Join(r.all(), "\n")
	assert.Contains(t, lines, "1 leases ended because their address has a map now")
	assert.Contains(t, lines, "1 leases ended because their host has a map now")
	_, ok := l.pool.Host([4]byte{172, 16, 2, 95})
	assert.False(t, ok)
	_, ok = l.pool.Host([4]byte{172, 16, 2, 96})
	assert.False(t, ok)
	_, ok = l.pool.Host([4]byte{172, 16, 2, 97})
	assert.True(t, ok)
}

func unleasable(t *testing.T, c *taygaconf.Config) func(netip.Addr) bool {
	t.Helper()
	return installed(t, c, time.Now()).Fixed
}

func TestNoLease(t *testing.T) {
	fixed := unleasable(t, confOf(t, "tun-device t\nipv4-addr 192.0.2.1\nipv6-addr 2001:db8::1\nprefix 64:ff9b::/96\nmap 10.0.0.0/24 2001:db8:a::/56\nmap 10.0.1.1 2001:db8:b::1\n"))
	for h, want := range map[string]bool{
		"2001:db8::1": true, "2001:db8::2": false,
		"64:ff9b::8.8.8.8": true, "64:ff9b:1::1": false,
		"2001:db8:a:ff::9": true, "2001:db8:a:100::9": false,
		"2001:db8:b::1": true, "2001:db8:b::2": false,
		"10.0.1.1": false,
	} {
		assert.Equal(t, want, fixed(netip.MustParseAddr(h)), h)
	}
}

// Each binding of pools has a file of its own, named after its first pool.
func TestLeaseFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	c := confOf(t, poolConf+`prefix 2001:db8:b::/96
dynamic-pool 10.1.0.0/24 via 2001:db8:b::/96
dynamic-pool 10.1.1.0/24 via 2001:db8:b::/96
`)
	c.DataDir = "/data"
	now := time.Now()
	start := func() (*gateway.Gateway, leaseFiles) {
		g := installed(t, c, now)
		all := newLeaseFiles(c, g.Pools(), newLogger(&recorder{}))
		all.load(g.Fixed)
		return g, all
	}
	_, all := start()
	require.Len(t, all, 2)
	for _, l := range all {
		_, ok := l.pool.Assign(host("2001:db8:77::1"))
		require.True(t, ok)
	}
	_, ok := all[1].pool.Assign(host("2001:db8:77::2"))
	require.True(t, ok)
	all.save(now)
	assert.FileExists(t, "dynamic.map")
	assert.FileExists(t, "dynamic-10.1.0.0_24.map")
	assert.Len(t, leaseLines(t), 1)

	g, _ := start()
	assert.Equal(t, "dynamic pool: 763 addresses, 3 held, 0 dormant, 0 requests refused", poolLine(g.Stats()))
	assert.Equal(t, 3, poolOf(g.Stats()).Held)
	assert.Len(t, leaseList(g.Pools()).Entries, 3)
	more, problems := c.ReadMaps(strings.NewReader("map 10.9.9.9 2001:db8:77::1\n"), "maps")
	require.Empty(t, problems)
	_, err := g.Update(gateway.Changes{MapFile: &more})
	require.NoError(t, err)
	assert.Equal(t, 1, g.Stats().Leases.Held, "a host with a map holds no lease of any pool")
	g.Upkeep(now.Add(3 * time.Hour))
	assert.Equal(t, 0, g.Stats().Leases.Held)
	assert.Equal(t, 1, g.Stats().Leases.Dormant)
}

// A reload that fails changes nothing.
func TestReserveAllOrNothing(t *testing.T) {
	g := installed(t, confOf(t, poolConf), time.Now())
	p := g.Pools()[0]
	addr, ok := p.Assign(host("2001:db8:77::1"))
	require.True(t, ok)
	v6 := netip.MustParsePrefix("2001:db8:9::9/128")
	_, err := g.Update(gateway.Changes{MapFile: &taygaconf.MapFile{Maps: []taygaconf.Map{
		{Map: translate.Map{IPv4: netip.PrefixFrom(netip.AddrFrom4(addr), 32), IPv6: v6}},
		{Map: translate.Map{IPv4: netip.MustParsePrefix("2001:db8::/32"), IPv6: v6}},
	}}})
	require.Error(t, err)
	_, ok = p.Host(addr)
	assert.True(t, ok)
}
