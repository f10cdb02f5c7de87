package gateway

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/fastpath"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

const fastConf = `tun-device nat64
ipv4-addr 192.0.2.1
ipv6-addr 2001:db8::1
prefix 2001:db8:64::/96
map 10.1.0.7 2001:db8:7::7
dynamic-pool 10.2.0.0/24
dynamic-pool-clients 2001:db8:77::/64
stateful-pool 203.0.113.1
`

// A fastBed is a gateway with a fast path that no device has: what the kernel knows and has
// used is for the test to say. The time stands still unless the test moves it.
type fastBed struct {
	*testing.T
	*Gateway
	cache *fastpath.Cache
	maps  []int // descriptors, in the order of the Cache
	now   time.Duration

	onEvent func(pool.Event) // may be nil
}

var wallStart = time.Unix(1_800_000_000, 0)

func newFastBed(t *testing.T, conf string, sizes fastpath.Sizes) *fastBed {
	t.Helper()
	path, err := fastpath.Load(sizes)
	if err != nil {
		if os.Getenv("STEPPE_REQUIRE_NETNS") == "1" {
			t.Fatal(err)
		}
		t.Skipf("needs a program in the kernel: %v", err)
	}
	t.Cleanup(func() { path.Close() })
	b := &fastBed{T: t, cache: path.Cache, now: time.Hour}
	b.Gateway, err = Install(Config{Conf: read(t, conf), Now: wallStart.Add(b.now), OnEvent: func(e pool.Event) {
		if b.onEvent != nil {
			b.onEvent(e)
		}
	}})
	require.NoError(t, err)
	require.NoError(t, b.SetFastPath(FastPath{Cache: path.Cache, Now: func() time.Duration { return b.now }}))
	require.NoError(t, b.StartFastPath())
	b.maps = path.Descriptors()
	return b
}

func read(t *testing.T, conf string) *taygaconf.Config {
	t.Helper()
	c, problems := taygaconf.Read(strings.NewReader(conf), "tayga.conf", nil)
	require.False(t, problems.Failed(), problems)
	return c
}

// Maps of the cache, by their place among its descriptors.
const hosts6, hosts4, sessions6, sessions4 = 5, 6, 7, 8

// layouts are the sizes of their keys and values, and where these have the time of the last
// use.
var layouts = map[int]struct{ key, value, used int }{hosts6: {20, 12, 8}, hosts4: {4, 28, 20}, sessions6: {28, 16, 8}, sessions4: {16, 28, 20}}

// bpf is an operation on a map: bpf(2).
func bpf(cmd uintptr, fd int, key, value *byte) error {
	attr := struct {
		fd         uint32
		_          uint32
		key, value *byte
		flags      uint64
	}{fd: uint32(fd), key: key, value: value}
	if _, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr)); errno != 0 {
		return errno
	}
	return nil
}

// entries returns how many entries a map has.
func (b *fastBed) entries(which int) (n int) {
	b.Helper()
	b.each(which, func(_, _ []byte) { n++ })
	return n
}

// each calls f for all entries of a map, which f may change.
func (b *fastBed) each(which int, f func(key, value []byte)) {
	b.Helper()
	var keys [][]byte
	var last *byte
	for {
		key := make([]byte, layouts[which].key)
		err := bpf(unix.BPF_MAP_GET_NEXT_KEY, b.maps[which], last, &key[0])
		if err == unix.ENOENT {
			break
		}
		require.NoError(b, err)
		keys, last = append(keys, key), &key[0]
	}
	for _, key := range keys {
		value := make([]byte, layouts[which].value)
		require.NoError(b, bpf(unix.BPF_MAP_LOOKUP_ELEM, b.maps[which], &key[0], &value[0]))
		f(key, value)
	}
}

// stamp has the kernel see a packet of an entry now.
func (b *fastBed) stamp(which int, key, value []byte) {
	b.Helper()
	*(*uint32)(unsafe.Pointer(&value[layouts[which].used])) = uint32(b.now >> 30)
	require.NoError(b, bpf(unix.BPF_MAP_UPDATE_ELEM, b.maps[which], &key[0], &value[0]))
}

// use has the kernel see a packet of each entry of a map now.
func (b *fastBed) use(which int) {
	b.Helper()
	b.each(which, func(key, value []byte) { b.stamp(which, key, value) })
}

// translate translates a batch of packets, and returns those that were forwarded.
func (b *fastBed) translate(ps ...[]byte) (out [][]byte) {
	batch := make([]translate.Packet, len(ps))
	for i, p := range ps {
		buf := make([]byte, translate.Headroom+len(p)+translate.Tailroom)
		copy(buf[translate.Headroom:], p)
		batch[i] = translate.Packet{Buf: buf, Off: translate.Headroom, Len: len(p)}
	}
	b.Worker(0).TranslateBatch(b.now, batch)
	for i := range batch {
		if batch[i].Result.Verdict == translate.Forward {
			out = append(out, batch[i].Bytes())
		}
	}
	return out
}

// pass is translate for packets that have to pass, and tells the fast path.
func (b *fastBed) pass(ps ...[]byte) [][]byte {
	b.Helper()
	out := b.translate(ps...)
	require.Len(b, out, len(ps))
	b.Worker(0).Sent(false)
	return out
}

func (b *fastBed) lessons() int { return len(b.Worker(0).learner.lessons) }

var (
	server6 = netip.MustParseAddr("2001:db8:64::198.51.100.1")
	server4 = netip.MustParseAddr("198.51.100.1")
	mapped  = netip.MustParseAddr("2001:db8:7::7")
	leasing = netip.MustParseAddr("2001:db8:77::7")
	sharing = netip.MustParseAddr("2001:db8:78::7")
)

func datagram(src, dst netip.Addr, sport, dport, id uint16) []byte {
	return packettest.IP(packettest.Header{Src: src, Dst: dst, ID: id, DF: true}, packettest.UDP(sport, dport, []byte{byte(id), byte(id >> 8)}))
}

// portOf returns the source port of a packet that was translated to IPv4.
func portOf(p []byte) uint16 { return uint16(p[20])<<8 | uint16(p[21]) }

// TestLearn: the kernel is told of a map, a lease and a session by the packets of each
// direction that show it, and of a session at once of both.
func TestLearn(t *testing.T) {
	b := newFastBed(t, fastConf, fastpath.Sizes{})
	count := func() [4]int {
		return [4]int{b.entries(hosts6), b.entries(hosts4), b.entries(sessions6), b.entries(sessions4)}
	}
	b.pass(datagram(mapped, server6, 1, 2, 0))
	assert.Equal(t, [4]int{1, 0, 0, 0}, count())
	b.pass(datagram(server4, netip.MustParseAddr("10.1.0.7"), 2, 1, 0))
	assert.Equal(t, [4]int{1, 1, 0, 0}, count())
	out := b.pass(datagram(leasing, server6, 1, 2, 0))
	assert.Equal(t, [4]int{2, 1, 0, 0}, count())
	b.pass(datagram(server4, netip.AddrFrom4([4]byte(out[0][12:])), 2, 1, 0))
	assert.Equal(t, [4]int{2, 2, 0, 0}, count())
	b.pass(datagram(sharing, server6, 1, 2, 0))
	assert.Equal(t, [4]int{2, 2, 1, 1}, count())

	require.Equal(t, 1, b.Pools()[0].Remove(func(pool.Lease) bool { return true }))
	assert.Equal(t, [4]int{1, 1, 1, 1}, count(), "forgotten with the lease")

	// What is dropped or answered says nothing.
	b.translate(datagram(server4, netip.MustParseAddr("203.0.113.1"), 9, 9, 0),
		packettest.IP(packettest.Header{Src: mapped, Dst: server6, TTL: 1}, packettest.UDP(3, 4, nil)))
	assert.Zero(t, b.lessons())
}

// TestLearnOnceASecond: what was told is not told again by each packet, from either side:
// the packets of a session from IPv4 were all told, since their header checksum was taken for
// a part of the flow.
func TestLearnOnceASecond(t *testing.T) {
	b := newFastBed(t, fastConf, fastpath.Sizes{})
	out := b.pass(datagram(sharing, server6, 1, 2, 0))
	shared := netip.MustParseAddr("203.0.113.1")
	lease := netip.AddrFrom4([4]byte(b.pass(datagram(leasing, server6, 1, 2, 0))[0][12:]))
	for name, packet := range map[string]func(id, port uint16) []byte{
		"map from IPv6":     func(id, port uint16) []byte { return datagram(mapped, server6, port, 2, id) },
		"map from IPv4":     func(id, port uint16) []byte { return datagram(server4, netip.MustParseAddr("10.1.0.7"), port, 1, id) },
		"lease from IPv4":   func(id, port uint16) []byte { return datagram(server4, lease, port, 1, id) },
		"session from IPv4": func(id, port uint16) []byte { return datagram(server4, shared, 2, portOf(out[0]), id) },
		"session from IPv6": func(id, port uint16) []byte { return datagram(sharing, server6, 1, 2, id) },
	} {
		b.now += 2 * time.Second
		for id := range uint16(40) {
			b.translate(packet(id, id))
		}
		assert.Equal(t, 1, b.lessons(), name)
		b.now += again - 1
		b.translate(packet(7, 7))
		assert.Equal(t, 1, b.lessons(), name)
		b.now++
		b.translate(packet(7, 7))
		assert.Equal(t, 2, b.lessons(), name)
		b.Worker(0).Sent(false)
		require.Zero(t, b.lessons())
		_, err := b.Update(Changes{MapFile: &taygaconf.MapFile{}, Now: b.now})
		require.NoError(t, err)
		b.translate(packet(7, 7))
		assert.Equal(t, 1, b.lessons(), "%s, by other rules", name)
		b.Worker(0).Sent(false)
	}
	b.now += 2 * again
	b.translate(datagram(sharing, server6, 1, 2, 0), datagram(sharing, server6, 1, 3, 0), datagram(sharing, server6, 4, 2, 0))
	assert.Equal(t, 3, b.lessons(), "other flows of a host")
	for range 2 * maxLessons {
		b.translate(datagram(sharing, server6, 1, uint16(b.lessons())+10, 0))
	}
	assert.Equal(t, maxLessons, b.lessons())
}

// TestSentInAPause: while packets wait, the kernel is told a little later, and not very much
// later.
func TestSentInAPause(t *testing.T) {
	b := newFastBed(t, fastConf, fastpath.Sizes{})
	w := b.Worker(0)
	for range maxBatches - 1 {
		b.translate(datagram(mapped, server6, 1, 2, 0))
		w.Sent(true)
		require.Zero(t, b.entries(hosts6))
	}
	w.Sent(true)
	require.Equal(t, 1, b.entries(hosts6), "after so many batches")
	for i := range uint16(maxLessons/2 - 1) {
		b.translate(datagram(sharing, server6, 1, i, 0))
	}
	w.Sent(true)
	require.Zero(t, b.entries(sessions6))
	b.translate(datagram(sharing, server6, 2, 1, 0))
	w.Sent(true)
	require.Equal(t, maxLessons/2, b.entries(sessions6), "of so many flows")
}

// TestLearnNothingOfThePast: what a worker has seen by a table or a lease that has ended is
// told no more, nor a session of a host that has a map by now: the kernel would go by a mapping
// that is none.
func TestLearnNothingOfThePast(t *testing.T) {
	for _, what := range []string{"nothing", "reload", "lease", "map"} {
		b := newFastBed(t, fastConf, fastpath.Sizes{})
		out := b.translate(datagram(mapped, server6, 1, 2, 0), datagram(leasing, server6, 1, 2, 0), datagram(sharing, server6, 1, 2, 0))
		require.Len(t, out, 3)
		reload := func(maps ...taygaconf.Map) {
			_, err := b.Update(Changes{MapFile: &taygaconf.MapFile{Maps: maps}, Now: b.now})
			require.NoError(t, err)
		}
		want := [2]int{}
		switch what {
		case "nothing":
			want = [2]int{2, 1}
		case "reload":
			old := b.cache.Generation()
			reload()
			// Between two looks at the generation, too.
			f := translate.Tuple6{Remote: 198<<24 | 51<<16 | 100<<8 | 1, HostPort: 1, RemotePort: 2, Proto: 17, Pref64: 1}
			f.Host = translate.Addr6{Hi: 0x20010db8_00780000, Lo: 7}
			require.False(t, b.Sessions().Delegate(&f, old))
			require.True(t, b.Sessions().Delegate(&f, b.cache.Generation()))
			want[1] = 1
		case "lease":
			b.Pools()[0].Remove(func(pool.Lease) bool { return true })
			want = [2]int{0, 1}
		case "map":
			reload(taygaconf.Map{Map: translate.Map{IPv4: netip.MustParsePrefix("10.1.0.8/32"), IPv6: netip.PrefixFrom(sharing, 128)}})
			// The session goes on from IPv4 alone.
			require.Len(t, b.translate(datagram(server4, netip.MustParseAddr("203.0.113.1"), 2, portOf(out[2]), 0)), 1)
			require.Equal(t, 4, b.lessons())
			b.now += again
		}
		b.Worker(0).Sent(false)
		assert.Equal(t, want, [2]int{b.entries(hosts6), b.entries(sessions6)}, what)
	}
}

// TestOffDuringUpdate: from the begin of an Update until the new table is in force, nothing
// passes by the kernel and nothing is told: a worker may be at work by the old one.
func TestOffDuringUpdate(t *testing.T) {
	b := newFastBed(t, fastConf, fastpath.Sizes{})
	out := b.pass(datagram(leasing, server6, 1, 2, 0))
	lease := netip.PrefixFrom(netip.AddrFrom4([4]byte(out[0][12:])), 32)
	seen := false
	b.onEvent = func(e pool.Event) {
		seen = e.Kind == pool.Removed
		assert.Zero(t, b.cache.Generation())
	}
	// The address of the lease gets a map, which ends the lease before the table changes.
	m := taygaconf.Map{Map: translate.Map{IPv4: lease, IPv6: netip.PrefixFrom(sharing, 128)}}
	_, err := b.Update(Changes{MapFile: &taygaconf.MapFile{Maps: []taygaconf.Map{m}}, Now: b.now})
	require.NoError(t, err)
	assert.True(t, seen)
	assert.NotZero(t, b.cache.Generation())
}

// TestUsedByAnotherPrefix: a host that has a lease of two pools keeps that by whose prefix it
// sends. Both were kept by packets into either prefix.
func TestUsedByAnotherPrefix(t *testing.T) {
	conf := strings.Replace(fastConf, "dynamic-pool 10.2.0.0/24\n", "dynamic-pool 10.2.0.0/24\nprefix 2001:db8:65::/96\ndynamic-pool 10.3.0.0/24 via 2001:db8:65::/96\n", 1)
	b := newFastBed(t, conf, fastpath.Sizes{})
	other := netip.MustParseAddr("2001:db8:65::198.51.100.1")
	b.pass(datagram(leasing, server6, 1, 2, 0), datagram(leasing, other, 1, 2, 0))
	require.Equal(t, 2, b.entries(hosts6))
	held := func() (n []byte) {
		for _, p := range b.Pools() {
			for l := range p.All() {
				if l.Held {
					n = append(n, l.Addr.As4()[1])
				}
			}
		}
		return n
	}
	require.Len(t, held(), 2)
	for range 4 * 60 * 3 {
		b.now += 15 * time.Second
		b.each(hosts6, func(key, value []byte) {
			if value[1] == 3 { // 10.3.0.0/24
				b.stamp(hosts6, key, value)
			}
		})
		b.Upkeep(wallStart.Add(b.now))
		if len(held()) < 2 {
			break
		}
	}
	assert.Equal(t, []byte{3}, held())
}

// TestFullCache: a host or a session that has no room passes all the same, and the idle make
// room for it, but those in use do not.
func TestFullCache(t *testing.T) {
	b := newFastBed(t, fastConf, fastpath.Sizes{Hosts: 2, Sessions: 2})
	host := func(i int) []byte {
		a := leasing.As16()
		a[15] = byte(i)
		return datagram(netip.AddrFrom16(a), server6, 1, 2, 0)
	}
	for i := range 5 {
		b.pass(host(i))
		b.pass(datagram(sharing, server6, 1, uint16(i+1), 0))
	}
	assert.Equal(t, 2, b.entries(hosts6))
	assert.Equal(t, 2, b.entries(sessions6))
	assert.Equal(t, 2, b.entries(sessions4))
	require.True(t, b.fast.full.Load())
	b.use(hosts6)
	b.now += idle / 2
	b.fast.sweep()
	assert.Equal(t, 2, b.entries(hosts6), "not idle for long")
	require.False(t, b.fast.full.Load())
	b.pass(host(4))
	require.True(t, b.fast.full.Load())
	b.now += idle/2 + 2<<30
	b.fast.sweep()
	assert.Zero(t, b.entries(hosts6))
	assert.Equal(t, 2, b.entries(sessions6), "a session ends by itself")
	b.pass(host(4))
	assert.Equal(t, 1, b.entries(hosts6))
	b.use(hosts6)
	b.now += time.Hour
	b.fast.sweep()
	assert.Equal(t, 1, b.entries(hosts6), "nothing has asked for room")
	_, err := b.Update(Changes{MapFile: &taygaconf.MapFile{}, Now: b.now})
	require.NoError(t, err)
	b.pass(host(4))
	b.now += time.Hour
	b.fast.sweep()
	assert.Equal(t, 1, b.entries(hosts6), "what a reload has made void goes, and the idle stay")
}

// TestHoursOfKernelTraffic: leases and sessions that the kernel alone sees packets of stay,
// through reloads, sweeps and a full cache, and end when these packets do. A lease with
// outbound refresh is kept by packets from its host alone.
func TestHoursOfKernelTraffic(t *testing.T) {
	for name, c := range map[string]struct {
		conf string
		used []int
		kept bool // the lease
	}{
		"both, from the host":     {"", []int{hosts6, sessions6}, true},
		"both, to the host":       {"", []int{hosts4, sessions4}, true},
		"outbound, from the host": {"dynamic-pool-refresh outbound\n", []int{hosts6, sessions6}, true},
		"outbound, to the host":   {"dynamic-pool-refresh outbound\n", []int{hosts4, sessions4}, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFastBed(t, fastConf+"dynamic-pool-hold 10m\n"+c.conf, fastpath.Sizes{})
			out := b.pass(datagram(leasing, server6, 1, 2, 0), datagram(sharing, server6, 1, 2, 0),
				packettest.IP(packettest.Header{Src: sharing, Dst: server6}, packettest.EchoRequest(7, 1, nil)))
			lease, shared := netip.AddrFrom4([4]byte(out[0][12:])), netip.MustParseAddr("203.0.113.1")
			learn := func() {
				b.pass(datagram(leasing, server6, 1, 2, 0), datagram(sharing, server6, 1, 2, 0), datagram(server4, lease, 2, 1, 0),
					datagram(server4, shared, 2, portOf(out[1]), 0),
					packettest.IP(packettest.Header{Src: sharing, Dst: server6}, packettest.EchoRequest(7, 1, nil)))
			}
			learn()
			require.Equal(t, 2, b.entries(sessions4))
			step := func() {
				b.now += 15 * time.Second
				b.Upkeep(wallStart.Add(b.now))
				b.Expire(b.now)
			}
			held := func() int { return b.Stats().Leases.Held }
			for i := range 4 * 60 * 3 {
				for _, m := range c.used {
					b.use(m)
				}
				step()
				if i%40 == 39 { // all 10 minutes, a reload: what the kernel knew is void
					_, err := b.Update(Changes{MapFile: &taygaconf.MapFile{}, Now: b.now})
					require.NoError(t, err)
					for range 6 {
						step()
					}
					require.Zero(t, b.entries(sessions4), "swept")
					if held() == 1 || c.kept {
						require.Equal(t, 1, held())
					}
					b.now += 2 * time.Second
					learn()
				}
				require.Equal(t, 2, b.Sessions().Stats().Sessions, "after %v", b.now)
				if c.kept {
					require.Equal(t, 1, held(), "after %v", b.now)
				}
			}
			for range 4 * 15 {
				step()
			}
			assert.Zero(t, held())
			assert.Zero(t, b.Sessions().Stats().Sessions)
			assert.Zero(t, b.entries(hosts6), "forgotten with the lease")
			assert.Zero(t, b.entries(sessions6))
		})
	}
}

// TestLearnAllocatesNothing: to take note of packets, also of those that are told, allocates
// nothing.
func TestLearnAllocatesNothing(t *testing.T) {
	b := newFastBed(t, fastConf, fastpath.Sizes{})
	out := b.pass(datagram(sharing, server6, 1, 2, 0))
	packets := [][]byte{datagram(mapped, server6, 1, 2, 0), datagram(leasing, server6, 1, 2, 0), datagram(sharing, server6, 1, 2, 0),
		datagram(server4, netip.MustParseAddr("203.0.113.1"), 2, portOf(out[0]), 7)}
	batch := make([]translate.Packet, len(packets))
	w := b.Worker(0)
	for i := range batch {
		batch[i].Buf = make([]byte, translate.Headroom+100+translate.Tailroom)
	}
	told := 0
	allocs := testing.AllocsPerRun(100, func() {
		for i, p := range packets {
			batch[i].Off, batch[i].Len = translate.Headroom, copy(batch[i].Buf[translate.Headroom:], p)
		}
		b.now += again
		w.TranslateBatch(b.now, batch)
		told += b.lessons()
		w.learner.lessons = w.learner.lessons[:0]
	})
	assert.Zero(t, allocs)
	assert.Equal(t, 101*len(packets), told)
}
