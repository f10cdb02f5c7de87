package session_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// saved returns what Save writes.
func (b *bed) saved() []byte {
	b.Helper()
	var w bytes.Buffer
	require.NoError(b, b.Save(&w, b.moment()))
	return w.Bytes()
}

// clock is what the wall clock shows when that of a bed shows an hour.
var clock = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// moment is the time of a bed by all clocks.
func (b *bed) moment() session.Moment {
	return session.Moment{Now: b.now, Wall: clock.Add(b.now - time.Hour)}
}

// read loads a file.
func (b *bed) read(file []byte, at session.Moment) session.Loaded {
	b.Helper()
	l, err := b.Load(bytes.NewReader(file), int64(len(file)), at)
	require.NoError(b, err)
	return l
}

// load reads a file into a new table whose clock began later, when the last block of it was
// written.
func load(t testing.TB, file []byte, edit ...func(*session.Config)) (*bed, session.Loaded) {
	t.Helper()
	return loadAfter(t, 0, file, edit...)
}

// loadAfter is load some time later.
func loadAfter(t testing.TB, d time.Duration, file []byte, edit ...func(*session.Config)) (*bed, session.Loaded) {
	t.Helper()
	b := newBed(t, edit...)
	b.now = 10 * time.Second
	at := session.Moment{Now: b.now, Wall: clock.Add(d)}
	if len(file) >= blockSize {
		written := binary.BigEndian.Uint64(file[len(file)/blockSize*blockSize-blockSize+8:])
		at.Wall = time.Unix(int64(written), 0).Add(d)
	}
	return b, b.read(file, at)
}

// Sizes of the file.
const (
	blockSize = 4096
	blockHead = 24
	recordLen = 44
	perBlock  = 92
)

// traffic opens sessions of all kinds.
func traffic(b *bed, n int) {
	for i := range n {
		f := from6([]uint8{tcp, udp, icmp}[i%3], uint16(1000+i/7))
		f.Host, f.Remote = host6(uint64(i%7)), server+uint32(i)
		back := b.open(f)
		if i%2 == 0 {
			b.in(back, syn)
		}
		if i%4 == 0 {
			b.in(back, fin)
			b.now += time.Second
		}
		back.RemotePort++
		b.in(back, syn)
	}
}

// TestSaveLoad: sessions go on with address, port, state and the time that was left.
func TestSaveLoad(t *testing.T) {
	for _, block := range []int{0, 64} {
		edit := func(c *session.Config) { c.PortBlock = block; c.Pools[0].Prefix = prefix("192.0.2.0/28") }
		b := newBed(t, edit)
		traffic(b, 300)
		b.expire()
		want := b.all()
		stats := b.Stats()
		after, l := load(t, b.saved(), edit)
		require.Equal(t, session.Loaded{Sessions: len(want)}, l)
		require.ElementsMatch(t, want, after.all())
		got := after.Stats()
		require.Equal(t, uint64(len(want)), got.Loaded)
		for _, st := range []*session.Stats{&got, &stats} {
			st.Made, st.Loaded, st.Ended, st.Memory = 0, 0, 0, 0
			st.MadeByProto, st.EndedIn = nil, nil
		}
		require.Equal(t, stats, got)
		ports := func(u []session.AddressUse) (n int) {
			for _, a := range u {
				n += a.TCP + a.UDP + a.ICMP
			}
			return n
		}
		require.Equal(t, ports(b.Addresses()), ports(after.Addresses()))
		require.Equal(t, b.Subscribers(1), after.Subscribers(1))

		after.now += 3 * time.Hour
		after.expire()
		st := after.Stats()
		require.Zero(t, st.Sessions+st.Hosts+st.HalfOpen+st.Inbound, "%+v", st)
	}
}

// TestSaveTrans: a session whose established time is over is saved as what it is.
func TestSaveTrans(t *testing.T) {
	b := newBed(t)
	b.in(b.open(from6(tcp, 1)), syn)
	b.now += est + time.Minute
	after, l := load(t, b.saved())
	require.Equal(t, 1, l.Sessions)
	require.Equal(t, "trans", after.all()[0].State)
	require.Equal(t, 3*time.Minute, after.all()[0].Expires)
	b.now += trans
	require.Len(t, b.saved(), blockSize, "dead sessions are not saved")
}

// TestLoadOther: another configuration takes what it would have made itself.
func TestLoadOther(t *testing.T) {
	b := newBed(t)
	f := from6(udp, 1000)
	back := b.open(f)
	file := b.saved()
	for _, c := range []struct {
		name string
		edit func(*session.Config)
		want session.Loaded
	}{
		{"same", func(*session.Config) {}, session.Loaded{Sessions: 1}},
		{"filtering", filtered, session.Loaded{Sessions: 1}},
		{"shorter", func(c *session.Config) { c.Timeouts.UDP = 2 * time.Minute }, session.Loaded{Sessions: 1}},
		{"pool", func(c *session.Config) { c.Pools[0].Prefix = prefix("192.0.2.2/32") }, session.Loaded{Dropped: 1}},
		{"group", func(c *session.Config) { c.Pools[0].Pref64 = 1 }, session.Loaded{Dropped: 1}},
		{"range", ports(1, 1023), session.Loaded{Dropped: 1}},
		{"clients", func(c *session.Config) { c.Clients = []netip.Prefix{prefix("2001:db8:1::/48")} }, session.Loaded{Dropped: 1}},
		{"static-of-another", func(c *session.Config) {
			c.Static = []session.Static{{Proto: udp, Addr: netip.AddrPortFrom(c.Pools[0].Prefix.Addr(), back.LocalPort), Host: at("[2001:db8::2]:1000")}}
		}, session.Loaded{Dropped: 1}},
		{"static-elsewhere", func(c *session.Config) {
			c.Static = []session.Static{{Proto: udp, Addr: at("192.0.2.1:80"), Host: at("[2001:db8::1]:1000")}}
		}, session.Loaded{Dropped: 1}},
		{"static-same", func(c *session.Config) {
			c.Static = []session.Static{{Proto: udp, Addr: netip.AddrPortFrom(c.Pools[0].Prefix.Addr(), back.LocalPort), Host: at("[2001:db8::1]:1000")}}
		}, session.Loaded{Sessions: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			after, l := load(t, file, c.edit)
			require.Equal(t, c.want, l)
			require.Equal(t, c.want.Sessions, after.Stats().Sessions)
			if l.Sessions == 1 {
				to, r := after.in(back, 0)
				require.Equal(t, translate.FlowMapped, r)
				require.Equal(t, f, to)
			}
			again := after.read(file, b.moment())
			require.Equal(t, session.Loaded{Dropped: 1}, again, "it exists already")
		})
	}
	_, l := load(t, file, func(c *session.Config) { c.Limits.Sessions = 1 })
	require.Equal(t, 1, l.Sessions)
	traffic(b, 30)
	_, l = load(t, b.saved(), func(c *session.Config) { c.Limits.Sessions = 10 })
	require.Equal(t, 10, l.Sessions)
	require.Equal(t, len(b.all())-10, l.Dropped)
}

// TestLoadShare: a prefix gets no more ports by a file than by packets.
func TestLoadShare(t *testing.T) {
	b := newBed(t, ports(5000, 5099))
	for port := range uint16(60) {
		b.open(from6(udp, 1000+port))
	}
	_, l := load(t, b.saved(), ports(5000, 5099), func(c *session.Config) { c.Limits.PerPrefix = 0 })
	require.Equal(t, session.Loaded{Sessions: 50, Dropped: 10}, l)
}

// TestLoadDamaged: a damaged block, and an end that was cut, cost only themselves.
func TestLoadDamaged(t *testing.T) {
	b := newBed(t)
	traffic(b, 400)
	file, all := b.saved(), len(b.all())
	blocks := len(file) / blockSize
	require.Greater(t, blocks, 4)
	last := all - (blocks-2)*perBlock
	_, l := load(t, file[:len(file)-1])
	require.Equal(t, session.Loaded{Sessions: all - last, Damaged: 1}, l)
	for i := 1; i < blocks-1; i++ {
		broken := bytes.Clone(file)
		broken[i*blockSize+100] ^= 1
		_, l = load(t, broken)
		require.Equal(t, session.Loaded{Sessions: all - perBlock, Damaged: 1}, l)
	}
	headless := bytes.Clone(file)
	headless[30] ^= 1
	for _, bad := range [][]byte{nil, file[:15], append([]byte("x"), file...), headless} {
		l, err := b.Load(bytes.NewReader(bad), int64(len(bad)), b.moment())
		require.ErrorIs(t, err, session.ErrFormat)
		require.Zero(t, l)
	}
	_, l = load(t, file[:blockSize])
	require.Equal(t, session.Loaded{}, l)

	_, err := b.Load(failing{}, int64(len(file)), b.moment())
	require.ErrorIs(t, err, errDisk)
	require.ErrorIs(t, b.Save(failing{}, b.moment()), errDisk)
}

// TestLoadShorter: a file that is shorter than was said, or becomes shorter.
func TestLoadShorter(t *testing.T) {
	b := newBed(t)
	traffic(b, 400)
	file := b.saved()
	after := newBed(t)
	l, err := after.Load(bytes.NewReader(file[:3*blockSize+7]), int64(len(file)), b.moment())
	require.NoError(t, err)
	require.Equal(t, session.Loaded{Sessions: 2 * perBlock, Damaged: len(file)/blockSize - 3}, l)
}

// TestLoadHuge: a file that is larger than any that was written is not read.
func TestLoadHuge(t *testing.T) {
	b := newBed(t)
	_, err := b.Load(failing{}, 1<<40, b.moment())
	require.ErrorIs(t, err, session.ErrTooLarge)
}

var errDisk = errors.New("disk full")

type failing struct{}

func (failing) Write([]byte) (int, error)         { return 0, errDisk }
func (failing) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

// sign gives a block the checksum that Load wants.
func sign(block []byte) []byte {
	binary.BigEndian.PutUint32(block, crc32.Checksum(block[4:], crc32.MakeTable(crc32.Castagnoli)))
	return block
}

// TestLoadHostile: records that no table would have saved.
func TestLoadHostile(t *testing.T) {
	b := newBed(t)
	b.open(from6(udp, 1000))
	file := b.saved()
	for name, edit := range map[string]func(r []byte){
		"multicast-host":   func(r []byte) { r[0] = 0xff },
		"protocol":         func(r []byte) { r[30] = 7 },
		"state-of-tcp":     func(r []byte) { r[31] = 8 },
		"state-unknown":    func(r []byte) { r[31] = 200 },
		"prefix":           func(r []byte) { r[32] = 64 },
		"side":             func(r []byte) { r[33] = 2 },
		"no-pool":          func(r []byte) { r[20] = 1 },
		"port-out":         func(r []byte) { r[28], r[29] = 0, 80 },
		"icmp-with-a-port": func(r []byte) { r[30], r[31] = 1, 5 },
	} {
		bad := bytes.Clone(file)
		edit(bad[blockSize+blockHead:])
		sign(bad[blockSize:])
		after, l := load(t, bad)
		require.Equal(t, session.Loaded{Dropped: 1}, l, name)
		require.Zero(t, after.Stats().Hosts, name)
	}
	long := bytes.Clone(file)
	copy(long[blockSize+blockHead+36:], "\xff\xff\xff\xff")
	sign(long[blockSize:])
	after, l := load(t, long)
	require.Equal(t, 1, l.Sessions)
	require.Equal(t, 5*time.Minute, after.all()[0].Expires, "no longer than a new one")

	count := bytes.Clone(file)
	binary.BigEndian.PutUint16(count[blockSize+6:], perBlock+1)
	sign(count[blockSize:])
	_, l = load(t, count)
	require.Equal(t, session.Loaded{Damaged: 1}, l)

	for _, n := range []uint32{1<<32 - 1, 1 << 26} { // the first that no table has
		place := bytes.Clone(file)
		binary.BigEndian.PutUint32(place[blockSize+blockHead+40:], n)
		sign(place[blockSize:])
		_, l = load(t, place)
		require.Equal(t, session.Loaded{}, l, "no table has place %d", n)
	}
	last := bytes.Clone(file)
	binary.BigEndian.PutUint32(last[blockSize+blockHead+40:], 1<<26-1)
	sign(last[blockSize:])
	_, l = load(t, last)
	require.Equal(t, session.Loaded{Sessions: 1}, l)

	twice := bytes.Clone(file)
	copy(twice[blockSize+blockHead+recordLen:], twice[blockSize+blockHead:][:recordLen])
	binary.BigEndian.PutUint16(twice[blockSize+6:], 2)
	twice[blockSize+blockHead+31] = 200
	sign(twice[blockSize:])
	_, l = load(t, twice)
	require.Equal(t, session.Loaded{Sessions: 1}, l, "only the last record of a place counts")
}

// FuzzLoad: whatever a file holds, the table stays consistent: what it lists can be used in
// both directions, its figures add up, and all of it ends in its time.
func FuzzLoad(f *testing.F) {
	b := newBed(f)
	traffic(b, 20)
	f.Add(b.saved(), false, int64(0))
	f.Add(bytes.Clone(b.saved()[:blockSize]), true, int64(100))
	var w bytes.Buffer
	j := session.NewJournal(b.Table)
	require.NoError(f, j.Begin(&w, b.moment()))
	b.now += time.Minute
	traffic(b, 30)
	_, err := j.Append(&w, b.moment())
	require.NoError(f, err)
	f.Add(w.Bytes(), true, int64(-200))
	f.Fuzz(func(t *testing.T, file []byte, blocks bool, passed int64) {
		for i := 0; i+blockSize <= len(file); i += blockSize {
			sign(file[i : i+blockSize])
		}
		b := newBed(t, func(c *session.Config) {
			if blocks {
				c.PortBlock = 64
			}
		})
		at := b.moment()
		at.Wall = at.Wall.Add(time.Duration(passed) * time.Second)
		l, err := b.Load(bytes.NewReader(file), int64(len(file)), at)
		if err != nil {
			require.ErrorIs(t, err, session.ErrFormat)
		}
		st, all := b.Stats(), b.all()
		require.Equal(t, l.Sessions, st.Sessions)
		require.Len(t, all, st.Sessions)
		for _, s := range all {
			back := translate.Tuple4{Local: pool, LocalPort: s.Addr.Port(), RemotePort: s.Remote.Port(), Proto: s.Proto}
			a := s.Remote.Addr().As4()
			back.Remote = binary.BigEndian.Uint32(a[:])
			to, r := b.InboundError(b.now, &back)
			require.Equal(t, translate.FlowMapped, r)
			got, r := b.OutboundError(b.now, &to)
			require.Equal(t, translate.FlowMapped, r)
			require.Equal(t, back.LocalPort, got.LocalPort)
		}
		b.now += 3 * time.Hour
		b.expire()
		st = b.Stats()
		require.Zero(t, st.Sessions+st.Hosts+st.HalfOpen+st.Inbound+st.Subscribers+len(st.Bindings))
	})
}
