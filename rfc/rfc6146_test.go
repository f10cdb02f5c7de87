package rfc

import (
	"net/netip"
	"testing"
	"time"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// protocols are those that share addresses.
var protocols = []uint8{protoTCP, protoUDP, protoICMP}

// opening are the flags of the first packet of a flow.
func opening(proto uint8) uint8 {
	if proto == protoTCP {
		return pt.FlagSYN
	}
	return 0
}

// open sends the first packet of a flow.
func (f *flow) open() *flow {
	f.g.t.Helper()
	return f.out(opening(f.proto))
}

func TestRFC6146General(t *testing.T) {
	row(t, "6146-3-01", func(t *testing.T) {
		refusesConfig(t, "no pool", pools())
		sessions, err := session.New(session.Config{Pools: []session.Pool{{Prefix: mustPrefix("203.0.113.70/32")}}})
		if err != nil {
			t.Fatal(err)
		}
		tc := translate.TableConfig{Shared: prefixes("203.0.113.70/32"), Sessions: sessions}
		if _, err := translate.NewTable(tc); err == nil {
			t.Error("no prefix: allowed")
		}
		for _, p := range []string{"2001:db8::/97", "2001:db8::/128"} {
			if _, err := newTable(p); err == nil {
				t.Error(p, "allowed")
			}
		}
	})
	row(t, "6146-3-02", func(t *testing.T) {
		// One port of one host has three bindings, each with a session of its own.
		g := newNAT64(t)
		flows := map[uint8]*flow{}
		for _, proto := range protocols {
			flows[proto] = g.flow(proto, hostA1, 5000, server, 80).open()
		}
		g.wait(70 * time.Second) // the Echo's is over, the others are not
		flows[protoTCP].in(pt.FlagSYN | pt.FlagACK)
		flows[protoUDP].in(0)
		g.err4(flows[protoICMP].packet4(0), 3, 1)
	})
	row(t, "6146-3.1-01", func(t *testing.T) {
		g := newNAT64(t, ports(2000, 2001))
		// Of each protocol two hosts, with the same port, have all there is.
		for _, proto := range protocols {
			a, b := g.flow(proto, hostA1, 2000, server, 80).open(), g.flow(proto, hostB, 2000, server, 80).open()
			if a.at == b.at {
				t.Errorf("protocol %d: two hosts have %s", proto, a.at)
			}
			again := g.flow(proto, hostA1, 2000, other, 81).open()
			is(t, "address and port of the same host", again.at, a.at)
			a.in(pt.FlagSYN | pt.FlagACK)
			b.in(pt.FlagSYN | pt.FlagACK)
		}
	})
	row(t, "6146-3.1-02", func(t *testing.T) {
		changes := []change{filtering}
		for _, proto := range protocols {
			changes = append(changes, static(proto, shared+":443", "["+hostB+"]:8443"))
		}
		g := newNAT64(t, changes...)
		for range 3 {
			for _, proto := range protocols {
				f := g.flow(proto, hostB, 8443, server, 5000)
				f.at, f.fromServer = addrPort(shared+":443"), true
				f.in(opening(proto))
				f.out(pt.FlagSYN | pt.FlagACK)
			}
			g.wait(1000 * time.Hour)
		}
	})
	row(t, "6146-3.1-03", func(t *testing.T) {
		g := newNAT64(t)
		a := g.flow(protoUDP, hostA1, 5000, server, 4000).open()
		b := a.to(other, 4000)
		g.wait(4 * time.Minute)
		b.open()
		g.wait(4 * time.Minute) // only the second session is left, which keeps the binding
		a.in(0)
		g.wait(6 * time.Minute)
		g.err4(a.packet4(0), 3, 3)
		g.err4(b.packet4(0), 3, 3)
	})
	row(t, "6146-3.2-01", func(t *testing.T) {
		g := newNAT64(t)
		f := g.flow(protoUDP, hostA1, 5000, server, 4000).open()
		got := g.forward(f.to(other, 4001).packet4(0))
		wantEnds(t, got, inside+"c633:6405 > "+hostA1)
		is(t, "source port", be16(got, 40), 4001)
	})
	row(t, "6146-3.5-02", func(t *testing.T) {
		g := newNAT64(t)
		g.prohibited(pt.IP(between(hostA1, "2001:db8:65::1"), udp(64)), translate.NoDestination)
		g.forward(pt.IP(between(server, "203.0.113.71"), udp(64))) // by the prefix, without state
		if s := g.table.Stats(); s.Sessions != 0 {
			t.Errorf("%d sessions", s.Sessions)
		}
	})
	row(t, "6146-3.5.4-01", func(t *testing.T) {
		for _, way := range sixWays {
			g := newNAT64(t, func(s *settings, _ *session.Config) { s.Prefixes = prefixes(way.prefix) })
			got := g.forward(pt.IP(between("3fff::1", way.addr), pt.UDP(5000, 53, nil)))
			is(t, "destination", netip.AddrFrom4([4]byte(got[16:])), addr("192.0.2.33"))
			from := sourceOf(got)
			back := g.forward(pt.IP(between("192.0.2.33", shared), pt.UDP(53, from.Port(), nil)))
			is(t, "source of the answer", netip.AddrFrom16([16]byte(back[8:])), addr(way.addr))
		}
	})
	row(t, "6146-3.4-07", func(t *testing.T) {
		g := newNAT64(t)
		for _, proto := range []uint8{132, 33, 136, 47, 50, 51} {
			data := pt.Raw(proto, pt.Bytes(64, 1))
			g.err6(pt.IP(between(hostA1, inside+server), data), 1, 4)
			g.err4(pt.IP(between(server, shared), data), 3, 2)
		}
	})
	row(t, "6146-1-01", func(t *testing.T) {
		g := newNAT64(t)
		g.err6(pt.IP(between(hostA1, inside+server), pt.Raw(50, pt.Bytes(64, 1))), 1, 4) // ESP
		g.err6(pt.IP(between(hostA1, inside+server), pt.Raw(51, pt.Bytes(64, 1))), 1, 4) // AH
		g.flow(protoUDP, hostA1, 4500, server, 4500).open().in(0)                        // RFC 3948
	})
}

func TestRFC6146UDP(t *testing.T) {
	row(t, "6146-3.5.1-01", func(t *testing.T) {
		g := newNAT64(t)
		f := g.flow(protoUDP, hostA1, 5000, server, 4000).open()
		for range 10 { // each packet starts the timer again
			g.wait(4 * time.Minute)
			f.out(0)
		}
		is(t, "sessions", g.table.Stats().Sessions, 1)
	})
	row(t, "6146-3.5.1-02", func(t *testing.T) {
		lives(t, protoUDP, "6", 5*time.Minute)
		lives(t, protoUDP, "6", 2*time.Minute, timeouts(session.Timeouts{UDP: 2 * time.Minute}))
		lives(t, protoUDP, "6", time.Hour, timeouts(session.Timeouts{UDP: time.Hour}))
		refusesConfig(t, "119 seconds", timeouts(session.Timeouts{UDP: 119 * time.Second}))
	})
	row(t, "6146-3.5.1-03", func(t *testing.T) {
		g := newNAT64(t)
		g.err4(pt.IP(between(server, shared), pt.UDP(4000, 5000, nil)), 3, 3)
		is(t, "sessions", g.table.Stats().Sessions, 0)
	})
	row(t, "6146-3.5.1-04", func(t *testing.T) {
		g := newNAT64(t, filtering)
		f := g.flow(protoUDP, hostA1, 5000, server, 4000).open()
		f.to(server, 9).in(0) // another port of it
		g.err4(f.to(other, 4000).packet4(0), 3, 13)
		f.to(other, 1).open()
		f.to(other, 4000).in(0)
	})
	row(t, "6146-3.5.1-05", func(t *testing.T) {
		g := newNAT64(t)
		f := g.flow(protoUDP, hostA1, 5000, server, 4000).open()
		g.wait(4 * time.Minute)
		b := f.to(other, 9).in(0) // a session of its own, which keeps the binding
		is(t, "sessions", g.table.Stats().Sessions, 2)
		g.wait(4 * time.Minute)
		b.in(0)
		g.wait(4 * time.Minute)
		b.in(0)
	})
	row(t, "6146-3.5.1.1-01", func(t *testing.T) {
		g := newNAT64(t, pools(session.Pool{Prefix: mustPrefix("203.0.113.64/28")}))
		seen := map[netip.Addr]bool{}
		for host := range 64 {
			var at netip.Addr
			for i, proto := range protocols {
				for port := range uint16(4) {
					a := g.flow(proto, pt.NthHost(host).String(), 5000+port, server, 80).open().at.Addr()
					if i+int(port) > 0 && a != at {
						t.Fatalf("a host has %s and %s", at, a)
					}
					at = a
				}
			}
			seen[at] = true
		}
		if len(seen) < 2 {
			t.Error("64 hosts share one address of 16")
		}
	})
	row(t, "6146-3.5.1.1-02", func(t *testing.T) {
		g := newNAT64(t, ports(1, 65535))
		for port := uint16(1); port < 60000; port += port/4 + 1 {
			p := g.flow(protoUDP, hostA1, port, server, 80).open().at.Port()
			if p%2 != port%2 || (p < 1024) != (port < 1024) {
				t.Errorf("port %d becomes %d", port, p)
			}
		}
	})
	row(t, "6146-3.5.1.1-03", func(t *testing.T) {
		g := newNAT64(t, func(_ *settings, c *session.Config) { c.Limits.PerPrefix = 65536 })
		taken := map[uint16]bool{}
		for i := range 65536 - 1024 {
			h := pt.Header{Src: pt.NthHost(i % 8), Dst: addr(inside + server)}
			p := sourceOf(g.forward(pt.IP(h, pt.UDP(uint16(1024+i/8), 80, nil)))).Port()
			if taken[p] {
				t.Fatalf("port %d for two", p)
			}
			taken[p] = true
		}
		g.err6(pt.IP(pt.Header{Src: pt.NthHost(8), Dst: addr(inside + server)}, pt.UDP(5000, 80, nil)), 1, 3)
	})
	row(t, "6146-3.5.1.1-04", func(t *testing.T) {
		g := newNAT64(t, ports(2000, 2001))
		for _, proto := range []uint8{protoTCP, protoUDP} {
			a := g.flow(proto, hostA1, 2000, server, 80).open()
			b := g.flow(proto, hostB, 2000, server, 80).open()
			g.err6(g.flow(proto, hostC, 2000, server, 80).packet6(opening(proto)), 1, 3)
			a.in(pt.FlagSYN | pt.FlagACK)
			b.in(pt.FlagSYN | pt.FlagACK)
			a.to(other, 80).open() // the bindings that there are serve new sessions
		}
	})
}

func TestRFC6146Loops(t *testing.T) {
	row(t, "6146-3.5-01", func(t *testing.T) {
		from := func(src string) []byte { return pt.IP(between(src, inside+server), pt.UDP(5000, 80, nil)) }
		drop := newNAT64(t, func(s *settings, _ *session.Config) { s.DropEmbeddedSource = true })
		drop.drop(from(inside+"192.0.2.1"), translate.EmbeddedSource)
		// A host that is numbered from the prefix may exist, but not at a shared address.
		g := newNAT64(t)
		g.forward(from(inside + "192.0.2.1"))
		victim := g.flow(protoUDP, hostA1, 5000, server, 80).open()
		forged := func(p pt.Payload) []byte { return pt.IP(between(inside+shared, inside+server), p) }
		g.drop(forged(pt.UDP(victim.at.Port(), 80, nil)), translate.EmbeddedSource)
		g.drop(forged(pt.Segment(victim.at.Port(), 80, pt.FlagRST, nil)), translate.EmbeddedSource)
		g.drop(forged(pt.EchoRequest(7, 1, nil)), translate.EmbeddedSource)
		g.drop(forged(pt.Raw(132, pt.Bytes(64, 0))), translate.EmbeddedSource)
		_, about := victim.error4(3, 3, 1, 4, 8)
		g.drop(forged(pt.ICMP(1, 4, 0, about[48:])), translate.EmbeddedSource)
		is(t, "sessions", g.table.Stats().Sessions, 1)
	})
}
