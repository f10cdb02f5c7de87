package translate_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// Conversations through a session.Table: 198.51.100.70 is shared by all IPv6 hosts, and
// port 8080 of it belongs to port 80 of the second host.

var (
	pool     = netip.MustParseAddr("198.51.100.70")
	poolIn6  = netip.MustParseAddr("2001:db8:64::198.51.100.70")
	host1    = netip.MustParseAddr("2001:db8:a::1")
	host2    = netip.MustParseAddr("2001:db8:a::2")
	otherP   = netip.MustParsePrefix("2001:db8:65::/96")
	router6  = netip.MustParseAddr("2001:db8:a::fffe")
	leased   = netip.MustParseAddr("2001:db8:77::1")
	leasedV4 = netip.MustParseAddr("203.0.113.65")
)

const (
	flagFIN = 1
	flagSYN = 2
	flagRST = 4
	flagACK = 16
)

// A sharing is a translator with a session table.
type sharing struct {
	t     *testing.T
	w     *translate.Worker
	tr    *translate.Translator
	table *session.Table
	now   time.Duration
}

type sharingConfig struct {
	translate.Config
	translate.TableConfig
	session session.Config
}

func newSharing(t *testing.T, edit func(*sharingConfig)) *sharing {
	t.Helper()
	c := sharingConfig{Config: pt.Config(), TableConfig: pt.TableConfig()}
	c.Prefixes = append(c.Prefixes, otherP)
	c.Shared = []netip.Prefix{netip.PrefixFrom(pool, 32)}
	c.session.Pools = []session.Pool{{Prefix: netip.PrefixFrom(pool, 32)}}
	c.session.Static = []session.Static{
		{Proto: 6, Addr: netip.AddrPortFrom(pool, 8080), Host: netip.AddrPortFrom(host2, 80), Pref64: 1},
		{Proto: 17, Addr: netip.AddrPortFrom(pool, 8080), Host: netip.AddrPortFrom(host2, 80), Pref64: 1},
	}
	if edit != nil {
		edit(&c)
	}
	table, err := session.New(c.session)
	if err != nil {
		t.Fatal(err)
	}
	c.Sessions = table
	tab, err := translate.NewTable(c.TableConfig)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := translate.New(c.Config, tab)
	if err != nil {
		t.Fatal(err)
	}
	return &sharing{t, tr.NewWorker(), tr, table, time.Second}
}

// becomes translates a packet that has to be forwarded for a reason.
func (x *sharing) becomes(in []byte, why translate.Reason) []byte {
	x.t.Helper()
	p := pt.Buffer(in)
	if res := x.w.Translate(x.now, &p); res != (translate.Result{Verdict: translate.Forward, Reason: why}) {
		x.t.Fatalf("%v (%v), want a packet that is %v\nin %x", res.Verdict, res.Reason, why, in)
	}
	pt.CheckGuards(x.t, &p, in)
	if err := pt.Check(p.Bytes()); err != nil {
		x.t.Errorf("%v\nin  %x\nout %x", err, in, p.Bytes())
	}
	return p.Bytes()
}

// golden checks that a packet becomes another.
func (x *sharing) golden(in, want []byte) {
	x.t.Helper()
	samePacket(x.t, x.becomes(in, translate.Translated), want)
}

// hairpins does the same for a packet that goes back into IPv6.
func (x *sharing) hairpins(in, want []byte) {
	x.t.Helper()
	samePacket(x.t, x.becomes(in, translate.Hairpinned), want)
}

// is checks a packet that is not translated.
func (x *sharing) is(in []byte, v translate.Verdict, why translate.Reason) {
	x.t.Helper()
	p := pt.Buffer(in)
	if res := x.w.Translate(x.now, &p); res != (translate.Result{Verdict: v, Reason: why}) {
		x.t.Errorf("%v (%v), want %v (%v)\nin %x", res.Verdict, res.Reason, v, why, in)
	}
}

// port is the source port, or Echo identifier, of an IPv4 packet.
func port(b []byte) uint16 {
	if b[9] == 1 {
		return binary.BigEndian.Uint16(b[24:])
	}
	return binary.BigEndian.Uint16(b[20:])
}

// segment is TCP with flags.
func segment(sport, dport uint16, flags byte, data []byte) pt.Payload {
	return func(src, dst netip.Addr) (uint8, []byte) {
		_, b := pt.TCP(sport, dport, data)(src, dst)
		b[13] = flags
		b[16], b[17] = 0, 0
		binary.BigEndian.PutUint16(b[16:], ^pt.Sum(pt.Pseudo(src, dst, 6, len(b)), b))
		return 6, b
	}
}

func h6(src, dst netip.Addr, ttl uint8) pt.Header { return pt.Header{Src: src, Dst: dst, TTL: ttl} }
func h4(src, dst netip.Addr, ttl uint8) pt.Header {
	return pt.Header{Src: src, Dst: dst, TTL: ttl, DF: true}
}

// TestConversationUDP: a host has one port for all servers, its answers come from inside
// the prefix that it sent to last, and two hosts with one port have two.
func TestConversationUDP(t *testing.T) {
	x := newSharing(t, nil)
	data := pt.Bytes(2000, 3)[:1240] // large enough for DF
	ask := pt.IP(h6(host1, pt.H4in6, 64), pt.UDP(1001, 53, data))
	p := port(x.becomes(ask, translate.Translated))
	if p < 1024 || p == 1001 {
		t.Errorf("port %d", p)
	}
	x.golden(ask, pt.IP(h4(pool, pt.H4, 63), pt.UDP(p, 53, data)))
	x.golden(pt.IP(h4(pt.H4, pool, 64), pt.UDP(53, p, data)), pt.IP(h6(pt.H4in6, host1, 63), pt.UDP(53, 1001, data)))
	x.golden(pt.IP(h6(host1, pt.R4in6, 64), pt.UDP(1001, 99, data)), pt.IP(h4(pool, pt.R4, 63), pt.UDP(p, 99, data)))
	x.golden(pt.IP(h4(pt.R4, pool, 64), pt.UDP(99, p, data)), pt.IP(h6(pt.R4in6, host1, 63), pt.UDP(99, 1001, data)))
	if q := port(x.becomes(pt.IP(h6(host2, pt.H4in6, 64), pt.UDP(1001, 53, data)), translate.Translated)); q == p {
		t.Errorf("two hosts have port %d", q)
	}
	other, _ := translate.Embed(otherP, pt.H4)
	x.golden(pt.IP(h6(host1, other, 64), pt.UDP(1001, 53, data)), pt.IP(h4(pool, pt.H4, 63), pt.UDP(p, 53, data)))
	x.golden(pt.IP(h4(pt.H4, pool, 64), pt.UDP(53, p, data)), pt.IP(h6(other, host1, 63), pt.UDP(53, 1001, data)))
	x.is(pt.IP(h4(pt.H4, pool, 64), pt.UDP(53, p^1, data)), translate.Reply, translate.NoBinding)
	x.now += time.Hour
	for x.table.Expire(x.now) { // sessions have ended, and nothing remembers their addresses
	}
	x.is(pt.IP(h4(pt.H4, pool, 64), pt.UDP(53, p, data)), translate.Reply, translate.NoBinding)
}

// TestConversationTCP: the flags of a connection reach the table: what opens none has no
// session, and after FINs and their time there is none left.
func TestConversationTCP(t *testing.T) {
	x := newSharing(t, nil)
	data := pt.Bytes(1240, 3)
	out := func(flags byte) []byte { return pt.IP(h6(host1, pt.H4in6, 64), segment(1001, 80, flags, data)) }
	x.is(out(flagACK), translate.Drop, translate.NoSession)
	p := port(x.becomes(out(flagSYN), translate.Translated))
	in := func(flags byte) []byte { return pt.IP(h4(pt.H4, pool, 64), segment(80, p, flags, data)) }
	there := func(flags byte) {
		t.Helper()
		x.golden(out(flags), pt.IP(h4(pool, pt.H4, 63), segment(p, 80, flags, data)))
	}
	back := func(flags byte) {
		t.Helper()
		x.golden(in(flags), pt.IP(h6(pt.H4in6, host1, 63), segment(80, 1001, flags, data)))
	}
	back(flagSYN | flagACK)
	there(flagACK)
	if s := x.table.Stats().ByState["established"]; s != 1 {
		t.Errorf("%d connections are established", s)
	}
	x.now += time.Hour
	there(flagACK)
	back(flagACK)
	there(flagFIN | flagACK)
	back(flagFIN | flagACK)
	there(flagACK)
	x.now += 5 * time.Minute
	x.is(in(flagACK), translate.Drop, translate.NoSession)
	x.is(out(flagACK), translate.Drop, translate.NoSession)
	x.is(in(flagSYN), translate.Drop, translate.UnsolicitedSYN)
	// To a static binding, connections come from outside.
	x.golden(pt.IP(h4(pt.H4, pool, 64), segment(999, 8080, flagSYN, data)), pt.IP(h6(pt.H4in6, host2, 63), segment(999, 80, flagSYN, data)))
	x.golden(pt.IP(h6(host2, pt.H4in6, 64), segment(80, 999, flagSYN|flagACK, data)), pt.IP(h4(pool, pt.H4, 63), segment(8080, 999, flagSYN|flagACK, data)))
}

// TestConversationEcho: two hosts with one identifier have two.
func TestConversationEcho(t *testing.T) {
	x := newSharing(t, nil)
	data := pt.Bytes(1300, 3)
	ping := func(host netip.Addr) []byte { return pt.IP(h6(host, pt.H4in6, 64), pt.EchoRequest(7, 1, data)) }
	p, q := port(x.becomes(ping(host1), translate.Translated)), port(x.becomes(ping(host2), translate.Translated))
	if p == q {
		t.Errorf("both identifiers are %d", p)
	}
	x.golden(ping(host1), pt.IP(h4(pool, pt.H4, 63), pt.EchoRequest(p, 1, data)))
	for id, host := range map[uint16]netip.Addr{p: host1, q: host2} {
		x.golden(pt.IP(h4(pt.H4, pool, 64), pt.EchoReply(id, 1, data)), pt.IP(h6(pt.H4in6, host, 63), pt.EchoReply(7, 1, data)))
	}
}

// TestConversationErrors: errors go by the session of the packet that they quote, both
// ways, and make none.
func TestConversationErrors(t *testing.T) {
	x := newSharing(t, nil)
	data := pt.Bytes(64, 3)
	for name, c := range map[string]func(port, peer uint16) pt.Payload{
		"udp":  func(port, peer uint16) pt.Payload { return pt.UDP(port, peer, data) },
		"tcp":  func(port, peer uint16) pt.Payload { return segment(port, peer, flagSYN, data) },
		"echo": func(port, _ uint16) pt.Payload { return pt.EchoRequest(port, 1, data) },
	} {
		t.Run(name, func(t *testing.T) {
			y := *x
			y.t = t
			p := port(y.becomes(pt.IP(h6(host1, pt.H4in6, 64), c(1001, 80)), translate.Translated))
			plain := func(src, dst netip.Addr) pt.Header { return pt.Header{Src: src, Dst: dst, TTL: 5} }
			about := func(dst netip.Addr, port uint16) []byte {
				return pt.IP(h4(pt.R4, dst, 64), pt.ICMP(3, 1, 0, pt.IP(plain(pool, pt.H4), c(port, 80))))
			}
			in := y.becomes(about(pool, p), translate.Translated)
			samePacket(t, in, pt.IP(h6(pt.R4in6, host1, 63), pt.ICMP(1, 0, 0, pt.IP(plain(host1, pt.H4in6), c(1001, 80)))))
			y.is(about(pool, p^1), translate.Drop, translate.NoSession)
			y.is(about(pt.M4, p), translate.Forward, translate.Translated) // of the tables: no host's port is named
			y.is(pt.IP(h4(pt.R4, pool, 64), pt.ICMP(3, 1, 0, pt.IP(plain(pt.M4, pt.H4), c(p, 80)))), translate.Drop, translate.NoSession)
			y.is(pt.IP(h4(pt.R4, pool, 64), pt.ICMP(3, 1, 0, pt.IP(plain(pool, pt.H4), c(p, 80))[:24])), translate.Drop, translate.NoSession)
			y.is(pt.IP(h4(pt.R4, pool, 64), pt.ICMP(3, 1, 0, nil)), translate.Drop, translate.ICMPQuote)
		})
	}
	p := port(x.becomes(pt.IP(h6(host1, pt.H4in6, 64), pt.UDP(1001, 80, data)), translate.Translated))
	quote6, quote4 := pt.IP(h6(pt.H4in6, host1, 5), pt.UDP(80, 1001, data)), pt.IP(pt.Header{Src: pt.H4, Dst: pool, TTL: 5}, pt.UDP(80, p, data))
	for src, from := range map[netip.Addr]netip.Addr{host1: pool, router6: pt.X4} {
		x.golden(pt.IP(h6(src, pt.H4in6, 64), pt.ICMP(1, 4, 0, quote6)), pt.IP(pt.Header{Src: from, Dst: pt.H4, TTL: 63}, pt.ICMP(3, 3, 0, quote4)))
	}
	x.golden(pt.IP(h6(router6, pt.H4in6, 64), pt.ICMP(2, 0, 1280, quote6)), pt.IP(pt.Header{Src: pt.X4, Dst: pt.H4, TTL: 63}, pt.ICMP(3, 4, 1260, quote4)))
	x.is(pt.IP(h6(host1, pt.H4in6, 64), pt.ICMP(1, 4, 0, pt.IP(h6(pt.H4in6, host1, 5), pt.UDP(80, 1002, data)))), translate.Drop, translate.NoSession)
	late := pt.IP(h6(pt.H4in6, host1, 5), pt.Fragment(1, 8, false, pt.UDP(80, 1001, data)))
	x.is(pt.IP(h6(host1, pt.H4in6, 64), pt.ICMP(1, 4, 0, late)), translate.Drop, translate.NoSession)
	if n := x.table.Stats().Sessions; n != 3 {
		t.Errorf("%d sessions, want 3", n)
	}

	bare := newSharing(t, func(c *sharingConfig) { c.IPv4, c.ICMPPool4 = netip.Addr{}, nil })
	p = port(bare.becomes(pt.IP(h6(host1, pt.H4in6, 64), pt.UDP(1001, 80, data)), translate.Translated))
	bare.golden(pt.IP(h6(router6, pt.H4in6, 64), pt.ICMP(1, 4, 0, quote6)),
		pt.IP(pt.Header{Src: pool, Dst: pt.H4, TTL: 63}, pt.ICMP(3, 3, 0, pt.IP(pt.Header{Src: pt.H4, Dst: pool, TTL: 5}, pt.UDP(80, p, data)))))
}

// TestConversationHairpin: two hosts that share one address talk by it, and errors about
// their packets go back.
func TestConversationHairpin(t *testing.T) {
	x := newSharing(t, nil)
	data := pt.Bytes(64, 3)
	for name, l4 := range map[string]func(src, dst uint16, flags byte) pt.Payload{
		"udp": func(src, dst uint16, _ byte) pt.Payload { return pt.UDP(src, dst, data) },
		"tcp": func(src, dst uint16, flags byte) pt.Payload { return segment(src, dst, flags, data) },
	} {
		t.Run(name, func(t *testing.T) {
			y := *x
			y.t = t
			first := pt.IP(h6(host1, poolIn6, 64), l4(1001, 8080, flagSYN))
			arrived := y.becomes(first, translate.Hairpinned)
			p := binary.BigEndian.Uint16(arrived[40:])
			samePacket(t, arrived, pt.IP(h6(poolIn6, host2, 63), l4(p, 80, flagSYN)))
			y.hairpins(pt.IP(h6(host2, poolIn6, 64), l4(80, p, flagSYN|flagACK)), pt.IP(h6(poolIn6, host1, 63), l4(8080, 1001, flagSYN|flagACK)))
			quote, home := pt.IP(h6(poolIn6, host2, 5), l4(p, 80, 0)), pt.IP(h6(host1, poolIn6, 5), l4(1001, 8080, 0))
			y.hairpins(pt.IP(h6(host2, poolIn6, 64), pt.ICMP(1, 4, 0, quote)), pt.IP(h6(poolIn6, host1, 63), pt.ICMP(1, 4, 0, home)))
			x6 := netip.MustParseAddr("2001:db8:64::192.0.2.254")
			y.hairpins(pt.IP(h6(router6, poolIn6, 64), pt.ICMP(3, 0, 0, quote)), pt.IP(h6(x6, host1, 63), pt.ICMP(3, 0, 0, home)))
			y.is(pt.IP(h6(host2, poolIn6, 64), pt.ICMP(1, 4, 0, pt.IP(h6(poolIn6, host2, 5), l4(p^1, 80, 0)))), translate.Drop, translate.NoSession)
		})
	}
	// With a host that has a map of its own, both ways.
	m := netip.MustParseAddr("2001:db8:64::192.0.2.6")
	p := binary.BigEndian.Uint16(x.becomes(pt.IP(h6(host1, m, 64), pt.UDP(1001, 53, data)), translate.Hairpinned)[40:])
	x.hairpins(pt.IP(h6(pt.M6, poolIn6, 64), pt.UDP(53, p, data)), pt.IP(h6(m, host1, 63), pt.UDP(53, 1001, data)))
	x.is(pt.IP(h6(pt.M6, poolIn6, 64), pt.UDP(53, p^1, data)), translate.Reply, translate.NoBinding)

	// Where the IPv4 network returns such packets, they go there.
	simple := newSharing(t, func(c *sharingConfig) { c.Hairpin = translate.HairpinSimple })
	p = port(simple.becomes(pt.IP(h6(host1, poolIn6, 64), pt.UDP(1001, 8080, data)), translate.Translated))
	simple.golden(pt.IP(pt.Header{Src: pool, Dst: pool, TTL: 63}, pt.UDP(p, 8080, data)), pt.IP(h6(poolIn6, host2, 62), pt.UDP(p, 80, data)))
}

// oneLease is a Dynamic that serves one host.
type oneLease struct{}

func (oneLease) Assign(host [16]byte) ([4]byte, bool) { return oneLease{}.Addr(host) }
func (oneLease) Addr(host [16]byte) ([4]byte, bool) {
	return leasedV4.As4(), host == leased.As16()
}
func (oneLease) Host(addr [4]byte) ([16]byte, bool) { return leased.As16(), addr == leasedV4.As4() }
func (oneLease) Generation() uint64                 { return 0 }

// clientLease is oneLease with one client.
type clientLease struct{ oneLease }

func (clientLease) Serves(host [16]byte) bool { return host == leased.As16() }

// TestOwnersClients: beside a Dynamic that has clients, all other hosts share an address.
// Both ways, and in errors.
func TestOwnersClients(t *testing.T) {
	out := func(src netip.Addr) []byte { return pt.IP(h6(src, pt.H4in6, 64), pt.UDP(1001, 53, nil)) }
	x := newSharing(t, func(c *sharingConfig) {
		c.Pools = []translate.Pool{{Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.64/26")}, Dynamic: clientLease{}}}
	})
	x.golden(out(leased), pt.IP(pt.Header{Src: leasedV4, Dst: pt.H4, TTL: 63}, pt.UDP(1001, 53, nil)))
	b := x.becomes(out(host1), translate.Translated)
	if netip.AddrFrom4([4]byte(b[12:])) != pool {
		t.Errorf("translated to %v", b[12:16])
	}
	p := port(b)
	x.golden(pt.IP(h4(pt.H4, pool, 64), pt.UDP(53, p, nil)), pt.IP(h6(pt.H4in6, host1, 63), pt.UDP(53, 1001, nil)))
	x.becomes(pt.IP(h6(host1, pt.H4in6, 64), pt.ICMP(1, 4, 0, pt.IP(h6(pt.H4in6, host1, 5), pt.UDP(53, 1001, nil)))), translate.Translated)
}

// TestOwners: a map comes first, then a lease, then a session. A host that is to lease an
// address and gets none is refused. From IPv4 the longest prefix decides.
func TestOwners(t *testing.T) {
	in := func(dst netip.Addr) []byte { return pt.IP(h4(pt.H4, dst, 64), pt.UDP(53, 8080, nil)) }
	out := func(src, prefix netip.Addr) []byte { return pt.IP(h6(src, prefix, 64), pt.UDP(1001, 53, nil)) }
	other, _ := translate.Embed(otherP, pt.H4)
	x := newSharing(t, func(c *sharingConfig) {
		c.Shared = append(c.Shared, netip.MustParsePrefix("192.0.0.0/16")) // around the map
		c.session.Pools[0].Pref64 = 1
		c.Pools = []translate.Pool{{Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.64/26")}, Pref64: otherP, Dynamic: oneLease{}}}
	})
	x.golden(out(pt.M6, pt.H4in6), pt.IP(pt.Header{Src: pt.M4, Dst: pt.H4, TTL: 63}, pt.UDP(1001, 53, nil)))
	x.golden(out(leased, other), pt.IP(pt.Header{Src: leasedV4, Dst: pt.H4, TTL: 63}, pt.UDP(1001, 53, nil)))
	x.is(out(host1, other), translate.Reply, translate.NoSource)
	if b := x.becomes(out(leased, pt.H4in6), translate.Translated); netip.AddrFrom4([4]byte(b[12:])) != pool {
		t.Errorf("translated to %v", b[12:16])
	}
	x.golden(in(pt.M4), pt.IP(h6(pt.H4in6, pt.M6, 63), pt.UDP(53, 8080, nil)))
	x.golden(in(pool), pt.IP(h6(pt.H4in6, host2, 63), pt.UDP(53, 80, nil)))
	x.is(in(netip.MustParseAddr("198.51.100.71")), translate.Reply, translate.NoDestination) // of the pool around it
	x.is(in(netip.MustParseAddr("192.0.3.1")), translate.Reply, translate.NoDestination)     // shared, but not the table's
	x.is(out(netip.MustParseAddr("2001:db8:64::9.9.9.9"), pt.R4in6), translate.Forward, translate.Translated)
	if n := x.table.Stats().Hosts; n != 2 { // the leased one by the first prefix, and that of the port forward
		t.Errorf("%d hosts, want 2", n)
	}
	clients := newSharing(t, func(c *sharingConfig) { c.session.Clients = []netip.Prefix{netip.PrefixFrom(host2, 128)} })
	clients.is(out(host1, pt.H4in6), translate.Reply, translate.NoSource)
	clients.is(pt.IP(h6(host1, pt.H4in6, 64), pt.Raw(132, pt.Bytes(64, 0))), translate.Reply, translate.NoSource)
	clients.is(pt.IP(h6(host1, pt.H4in6, 64), pt.ICMP(1, 4, 0, pt.IP(h6(pt.H4in6, host1, 5), pt.UDP(80, 1001, nil)))), translate.Drop, translate.ICMPQuote)
}

// TestSharedOwnAddress: hosts may share the translator's own address. What belongs to no
// host is the translator's.
func TestSharedOwnAddress(t *testing.T) {
	x := newSharing(t, func(c *sharingConfig) { c.IPv4, c.ICMPPool4 = pool, nil })
	x.golden(pt.IP(h4(pt.H4, pool, 64), pt.UDP(9, 8080, nil)), pt.IP(h6(pt.H4in6, host2, 63), pt.UDP(9, 80, nil)))
	x.is(pt.IP(h4(pt.H4, pool, 64), pt.UDP(9, 8081, nil)), translate.Reply, translate.NoBinding) // of a port, not of UDP
	x.is(pt.IP(h4(pt.H4, pool, 64), pt.Raw(132, pt.Bytes(64, 0))), translate.Reply, translate.SelfProtocol)
	for _, ttl := range []uint8{1, 64} {
		x.is(pt.IP(h4(pt.H4, pool, ttl), pt.EchoRequest(7, 1, nil)), translate.Reply, translate.EchoReply)
	}
	x.is(pt.IP(h4(pt.H4, pool, 1), pt.UDP(9, 8080, nil)), translate.Reply, translate.HopLimit)
	x.is(pt.IP(h4(pt.R4, pool, 1), pt.ICMP(3, 1, 0, pt.IP(h4(pool, pt.H4, 5), pt.UDP(8080, 9, nil)))), translate.Drop, translate.HopLimit)
	// A host that pings it gets the answer of the translator, not its own.
	ping := x.becomes(pt.IP(h6(host1, poolIn6, 64), pt.EchoRequest(7, 1, nil)), translate.Translated)
	x.is(ping, translate.Forward, translate.Translated) // to the host that has the identifier: itself

	// The own IPv6 address that follows from it is that of the hosts, too. Others are not.
	out := func(dst netip.Addr) []byte { return pt.IP(h6(host1, dst, 64), pt.UDP(1001, 8080, nil)) }
	follows := newSharing(t, func(c *sharingConfig) { c.IPv4, c.IPv6, c.ICMPPool4, c.ICMPPool6 = pool, poolIn6, nil, nil })
	sent := follows.becomes(out(poolIn6), translate.Translated)
	follows.golden(sent, pt.IP(h6(poolIn6, host2, 62), pt.UDP(port(sent), 80, nil)))
	for _, own := range []netip.Addr{pt.H4in6, router6} {
		other := newSharing(t, func(c *sharingConfig) { c.IPv4, c.IPv6, c.ICMPPool4, c.ICMPPool6 = pool, own, nil, nil })
		other.is(out(own), translate.Reply, translate.SelfProtocol)
	}
	unshared := newSharing(t, func(c *sharingConfig) { c.IPv4, c.IPv6, c.ICMPPool4, c.ICMPPool6 = pt.H4, pt.H4in6, nil, nil })
	unshared.is(out(pt.H4in6), translate.Reply, translate.SelfProtocol)
}

// TestConversationOffload: a super-packet stays one, and a partial checksum covers no
// ports.
func TestConversationOffload(t *testing.T) {
	x := newSharing(t, func(c *sharingConfig) { c.MTU4, c.MTU6 = 9000, 9000 })
	data := pt.Bytes(4000, 1)
	for _, gso := range []int{0, 1000} {
		for _, in := range [][]byte{pt.IP(h6(host2, pt.H4in6, 64), segment(80, 999, flagSYN, data)), pt.IP(h4(pt.H4, pool, 64), segment(999, 8080, flagSYN, data))} {
			p := pt.Buffer(in)
			p.Offload = pt.Partial(p.Bytes(), gso)
			if res := x.w.Translate(x.now, &p); res.Verdict != translate.Forward || int(p.Offload.GSOSize) != gso {
				t.Fatalf("%v, %+v", res, p.Offload)
			}
			l4 := p.Bytes()[p.Offload.CsumStart:]
			if got := [2]uint16{binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])}; got != [2]uint16{8080, 999} && got != [2]uint16{999, 80} {
				t.Errorf("ports %v", got)
			}
			binary.BigEndian.PutUint16(l4[p.Offload.CsumOffset:], ^onesSum(l4))
			if err := pt.Check(p.Bytes()); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestConversationUpdate: settings with other sessions are asked from the next packet on.
func TestConversationUpdate(t *testing.T) {
	x := newSharing(t, nil)
	in := pt.IP(h4(pt.H4, pool, 64), pt.UDP(9, 8080, nil))
	x.is(in, translate.Forward, translate.Translated)
	next := newSharing(t, func(c *sharingConfig) { c.session.Static = nil })
	if err := x.tr.Update(func(s *translate.Settings) { s.Table = next.tr.Settings().Table }); err != nil {
		t.Fatal(err)
	}
	x.is(in, translate.Reply, translate.NoBinding)
	if s, shared := next.tr.Settings().Table.Sessions(); s != translate.Sessions(next.table) {
		t.Error("the table has other sessions")
	} else {
		for p := range shared {
			if p != netip.PrefixFrom(pool, 32) {
				t.Errorf("%v is shared", p)
			}
		}
	}
	tab, err := translate.NewTable(pt.TableConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := x.tr.Update(func(s *translate.Settings) { s.Table = tab }); err != nil {
		t.Fatal(err)
	}
	x.golden(in, pt.IP(h6(pt.H4in6, poolIn6, 63), pt.UDP(9, 8080, nil)))
	x.is(pt.IP(h6(host1, pt.H4in6, 64), pt.UDP(1001, 53, nil)), translate.Reply, translate.NoSource)
}

// TestConversationAllocs: a packet of a session costs no memory.
func TestConversationAllocs(t *testing.T) {
	x := newSharing(t, nil)
	data := pt.Bytes(64, 3)
	x.becomes(pt.IP(h6(host1, pt.H4in6, 64), pt.UDP(1001, 80, data)), translate.Translated)
	for _, in := range [][]byte{
		pt.IP(h6(host2, pt.H4in6, 64), pt.UDP(80, 9, data)),
		pt.IP(h4(pt.H4, pool, 64), pt.UDP(9, 8080, data)),
		pt.IP(h6(host1, poolIn6, 64), pt.UDP(1001, 8080, data)),
		pt.IP(h6(host1, pt.H4in6, 64), pt.ICMP(1, 4, 0, pt.IP(h6(pt.H4in6, host1, 5), pt.UDP(80, 1001, data)))),
		pt.IP(h4(pt.R4, pool, 64), pt.ICMP(3, 1, 0, pt.IP(h4(pool, pt.H4, 5), pt.UDP(8080, 9, data)))),
	} {
		p := pt.Buffer(in)
		start := p
		packet := append([]byte(nil), p.Buf...)
		if n := testing.AllocsPerRun(100, func() {
			copy(start.Buf, packet)
			p = start
			if res := x.w.Translate(x.now, &p); res.Verdict != translate.Forward {
				t.Fatal(res)
			}
		}); n != 0 {
			t.Errorf("%v allocations\nin %x", n, in)
		}
	}
}

// TestSharedTable: what NewTable refuses.
func TestSharedTable(t *testing.T) {
	for name, edit := range map[string]func(c *translate.TableConfig){
		"no-sessions": func(c *translate.TableConfig) { c.Sessions = nil },
		"no-address":  func(c *translate.TableConfig) { c.Shared = nil },
		"no-prefix":   func(c *translate.TableConfig) { c.Prefixes = nil },
		"ipv6":        func(c *translate.TableConfig) { c.Shared = []netip.Prefix{pt.P} },
		"invalid":     func(c *translate.TableConfig) { c.Shared = []netip.Prefix{{}} },
		"twice":       func(c *translate.TableConfig) { c.Shared = append(c.Shared, c.Shared[0]) },
		"mapped":      func(c *translate.TableConfig) { c.Shared = append(c.Shared, netip.PrefixFrom(pt.M4, 32)) },
		"pool":        func(c *translate.TableConfig) { c.Pools = []translate.Pool{{Prefixes: c.Shared}} },
		"too-many": func(c *translate.TableConfig) {
			for i := range byte(63) {
				c.Prefixes = append(c.Prefixes, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 1, i}), 96))
			}
		},
	} {
		c := translate.ShareWith(pt.TableConfig(), translate.PortMapper)
		edit(&c)
		if _, err := translate.NewTable(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// refusing is a Dynamic that has no address left.
type refusing struct{ pt.Leases }

func (refusing) Assign([16]byte) (addr [4]byte, ok bool) { return addr, false }
func (refusing) Addr([16]byte) (addr [4]byte, ok bool)   { return addr, false }

// TestRefusedLeaseIsNotShared: a host for which a Dynamic has no address left is refused. It
// does not get a shared one, which would change when the Dynamic has one again.
func TestRefusedLeaseIsNotShared(t *testing.T) {
	x := newSharing(t, func(c *sharingConfig) { c.TableConfig.Pools = pt.Pools(refusing{}, "203.0.113.128/26") })
	x.is(pt.IP(h6(host1, pt.H4in6, 64), pt.UDP(1001, 80, nil)), translate.Reply, translate.NoSource)
	x.is(pt.IP(h6(host1, pt.H4in6, 64), segment(1001, 80, flagSYN, nil)), translate.Reply, translate.NoSource)
	if s := x.table.Stats(); s.Sessions != 0 {
		t.Errorf("%d sessions", s.Sessions)
	}
}
