package peer

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
)

// leaseConf is a configuration with a pool; DIR stands for its data-dir.
const leaseConf = common + `prefix 2001:db8:64::/96
map 172.16.2.5 2001:db8:5::5
dynamic-pool 172.16.2.0/24
data-dir DIR
`

// allocator is a program with a pool.
type allocator struct{ *port }

func newAllocator(t *testing.T, prog *program, host *netlab.Host, dir string) allocator {
	t.Helper()
	return allocator{newPort(t, prog, host, strings.Replace(leaseConf, "DIR", dir, 1))}
}

// client is the n-th host that asks for an address.
func client(n int) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("2001:db8:77:%x::%x", n%7, n))
}

// lease has a host speak, and returns the IPv4 address that it gets.
func (l allocator) lease(host netip.Addr) netip.Addr {
	l.t.Helper()
	out := l.exchange(ip6from(pt.Header{Src: host}, udp()))
	require.Len(l.t, out, 1)
	require.EqualValues(l.t, 4, out[0][0]>>4, "%v gets no address: %s", host, describeAll(out))
	return netip.AddrFrom4([4]byte(out[0][12:]))
}

// holder returns the host that a packet to an IPv4 address reaches. No valid
// address means that the sender was told of host unreachable.
func (l allocator) holder(leased netip.Addr) netip.Addr {
	l.t.Helper()
	out := l.exchange(ip4from(pt.Header{Dst: leased}, udp()))
	require.Len(l.t, out, 1)
	if out[0][0]>>4 == 6 {
		return netip.AddrFrom16([16]byte(out[0][24:]))
	}
	require.Contains(l.t, describe(mask(out[0])), "X4>H4 ttl=64 icmp=3/1 ")
	return netip.Addr{}
}

// record is a line of dynamic.map.
type record struct {
	addr, host netip.Addr
	used       time.Time
}

// readLeases returns the lines of a data-dir's dynamic.map that hold leases.
func readLeases(t *testing.T, dir string) (all []record) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "dynamic.map"))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if line == "\n" || line[0] == '#' {
			continue
		}
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		require.Len(t, f, 3, line)
		var sec int64
		_, err := fmt.Sscan(f[2], &sec)
		require.NoError(t, err, line)
		all = append(all, record{netip.MustParseAddr(f[0]), netip.MustParseAddr(f[1]), time.Unix(sec, 0)})
	}
	return all
}

func writeLeases(t *testing.T, dir string, all []record) {
	t.Helper()
	var text strings.Builder
	for _, r := range all {
		fmt.Fprintf(&text, "%s\t%s\t%d\n", r.addr, r.host, r.used.Unix())
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dynamic.map"), []byte(text.String()), 0o644))
}

// byHost returns who holds which address.
func byHost(all []record) map[netip.Addr]netip.Addr {
	held := make(map[netip.Addr]netip.Addr)
	for _, r := range all {
		held[r.host] = r.addr
	}
	return held
}

// TestLeasesAreTakenOver lets the programs follow each other on one data-dir,
// Debian's first and last. Hosts keep their addresses, are reached before they
// have said a word, and new ones get what the other program would have given.
func TestLeasesAreTakenOver(t *testing.T) {
	lab := newLab(t)
	host, otherHost := lab.Host("host"), lab.Host("other")
	dir, otherDir := t.TempDir(), t.TempDir()
	held := make(map[netip.Addr]netip.Addr)
	n := 0
	for _, prog := range []*program{debian, steppe, debian, steppe} {
		var other allocator
		if n > 0 { // there is a file for both
			text, err := os.ReadFile(filepath.Join(dir, "dynamic.map"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(otherDir, "dynamic.map"), text, 0o644))
		}
		l := newAllocator(t, prog, host, dir)
		if prog == steppe {
			other = newAllocator(t, debian, otherHost, otherDir)
		} else {
			other = newAllocator(t, steppe, otherHost, otherDir)
		}
		for h, addr := range held {
			require.Equal(t, h, l.holder(addr), "%s: who holds %v", prog.name, addr)
		}
		for h, addr := range held {
			require.Equal(t, addr, l.lease(h), "%s: the address of %v", prog.name, h)
		}
		for range 40 {
			h := client(n)
			held[h] = l.lease(h)
			require.Equal(t, other.lease(h), held[h], "%s: the first address of %v", prog.name, h)
			n++
		}
		stop(t, prog, l.p)
		stop(t, other.prog, other.p)
		assert.Equal(t, held, byHost(readLeases(t, dir)), "%s: what it has saved", prog.name)
		if prog == steppe {
			assert.Contains(t, l.p.Output(), fmt.Sprintf("Loaded %d dynamic maps from %s/dynamic.map\n", n-40, dir))
			assert.NoFileExists(t, filepath.Join(dir, "dynamic.map.damaged"))
		}
	}
	t.Logf("%d leases after four programs", len(held))
}

// TestLeaseFile gives both programs one file in which leases are held, dormant
// and of a time before, beside lines that no program wrote. They agree about
// every address and every host, and about what they save in the end.
func TestLeaseFile(t *testing.T) {
	lab := newLab(t)
	now := time.Now()
	day := 24 * time.Hour
	var file []record
	for n := range 12 {
		age := []time.Duration{time.Minute, 7000 * time.Second, 8000 * time.Second, 13 * day}[n%4]
		file = append(file, record{netip.AddrFrom4([4]byte{172, 16, 2, byte(100 + n)}), client(n), now.Add(-age)})
	}
	dormant := func(n int) bool { return n%4 >= 2 }
	strange := []record{
		{addr("172.16.3.1"), client(20), now},               // not in the pool
		{addr("172.16.2.5"), client(21), now},               // has a map
		{addr("172.16.2.0"), client(22), now},               // the lowest one
		{addr("172.16.2.200"), addr("2001:db8:5::5"), now},  // has a map
		{addr("172.16.2.201"), addr("2001:db8:64::9"), now}, // in the prefix
		{addr("172.16.2.202"), addr("fe80::1"), now},        // not of this world
		{file[0].addr, client(23), now.Add(-time.Hour)},     // taken
	}
	var programs []allocator
	var dirs []string
	for _, prog := range []*program{debian, steppe} {
		dir := t.TempDir()
		writeLeases(t, dir, append(slices.Clone(file), strange...))
		programs = append(programs, newAllocator(t, prog, lab.Host(prog.name), dir))
		dirs = append(dirs, dir)
	}
	for _, l := range programs {
		for n, r := range file {
			want := r.host
			if dormant(n) {
				want = netip.Addr{}
			}
			assert.Equal(t, want, l.holder(r.addr), "%s: who holds %v at first", l.prog.name, r.addr)
		}
		for _, r := range strange[:6] {
			if a := r.addr; a != addr("172.16.3.1") && a != addr("172.16.2.5") {
				assert.Equal(t, netip.Addr{}, l.holder(a), "%s: who holds %v", l.prog.name, a)
			}
		}
		for n, r := range file {
			if n < 8 { // the others stay dormant
				assert.Equal(t, r.addr, l.lease(r.host), "%s: the address of %v", l.prog.name, r.host)
				assert.Equal(t, r.host, l.holder(r.addr), "%s: who holds %v at last", l.prog.name, r.addr)
			}
		}
	}
	for n := 20; n < 60; n++ { // hosts that are not in the file, or only in bad lines
		assert.Equal(t, programs[0].lease(client(n)), programs[1].lease(client(n)), "the address of %v", client(n))
	}
	for _, l := range programs {
		stop(t, l.prog, l.p)
	}
	theirs, ours := readLeases(t, dirs[0]), readLeases(t, dirs[1])
	assert.Equal(t, byHost(theirs), byHost(ours))
	assert.Len(t, ours, 12+40)
	times := make(map[netip.Addr]time.Time)
	for _, r := range theirs {
		times[r.host] = r.used
	}
	for _, r := range ours {
		assert.WithinDuration(t, times[r.host], r.used, patience, "last use by %v", r.host)
	}
	assert.FileExists(t, filepath.Join(dirs[1], "dynamic.map.damaged"), "the file with bad lines")
	assert.Len(t, slices.Collect(maps.Keys(times)), len(ours))
}

// TestFullPool fills a pool of which a part is dormant: the leases that were used
// least recently change hands first, in both programs alike, and then no host
// gets anything.
func TestFullPool(t *testing.T) {
	lab := newLab(t)
	now := time.Now()
	var file []record
	for n := range 13 {
		age := time.Minute
		if n >= 3 {
			age = 8000*time.Second + time.Duration(n*5%11)*time.Minute
		}
		file = append(file, record{netip.AddrFrom4([4]byte{172, 16, 2, byte(1 + n)}), client(n), now.Add(-age)})
	}
	var programs []allocator
	for _, prog := range []*program{debian, steppe} {
		dir := t.TempDir()
		writeLeases(t, dir, file)
		conf := common + "prefix 2001:db8:64::/96\ndynamic-pool 172.16.2.0/28\ndata-dir " + dir + "\n"
		programs = append(programs, allocator{newPort(t, prog, lab.Host(prog.name), conf)})
	}
	seen := make(map[netip.Addr]bool)
	for n := 100; n < 112; n++ { // 15 addresses, of which 3 are held
		theirs, ours := programs[0].lease(client(n)), programs[1].lease(client(n))
		assert.Equal(t, theirs, ours, "the address of host %d", n)
		seen[ours] = true
	}
	assert.Len(t, seen, 12)
	for _, l := range programs {
		out := l.exchange(ip6from(pt.Header{Src: client(112)}, udp()))
		assert.Contains(t, describeAll(out), " icmp6=1/5 ", l.prog.name)
		for n := range 3 {
			assert.Equal(t, file[n].addr, l.lease(client(n)), "%s: held all the time", l.prog.name)
		}
		stop(t, l.prog, l.p)
	}
}
