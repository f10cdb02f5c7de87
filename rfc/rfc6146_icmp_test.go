package rfc

import (
	"testing"
	"time"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

func TestRFC6146Errors(t *testing.T) {
	row(t, "6146-3.4-01", func(t *testing.T) {
		// Eight bytes of the packet are enough; more of them are translated too.
		for _, proto := range protocols {
			for _, n := range []int{8, 9, 12, 20, 24, 84} {
				g := newNAT64(t)
				f := g.flow(proto, hostA1, 5000, server, 80).open().in(pt.FlagACK)
				g.becomes(f.error4(3, 3, 1, 4, n))
				g.becomes(f.error6(addr(hostA1), 1, 4, 3, 3, n))
			}
		}
	})
	row(t, "6146-3.4-02", func(t *testing.T) {
		g := newNAT64(t)
		f := g.flow(protoUDP, hostA1, 5000, server, 80).open()
		for n := range 8 {
			in, _ := f.error4(3, 3, 1, 4, n)
			g.drop(in, translate.NoSession)
			in, _ = f.error6(addr(hostA1), 1, 4, 3, 3, n)
			g.drop(in, translate.NoSession)
		}
		in4, _ := f.error4(3, 3, 1, 4, 64)
		g.drop(pt.IP(pt.Header{Src: pt.R4, Dst: addr(shared)}, pt.ICMP(3, 3, 0, in4)), translate.ICMPQuotedError)
		in6, _ := f.error6(addr(hostA1), 1, 4, 3, 3, 64)
		g.drop(pt.IP(between(hostA1, inside+server), pt.ICMP(1, 4, 0, in6)), translate.ICMPQuotedError)
	})
	row(t, "6146-3.5-03", func(t *testing.T) {
		for _, proto := range protocols {
			d := map[uint8]time.Duration{protoTCP: tcpEstablished, protoUDP: 5 * time.Minute, protoICMP: time.Minute}[proto]
			g := newNAT64(t)
			f := g.flow(proto, hostA1, 5000, server, 80).open().in(pt.FlagSYN)
			errors := func(f *flow) {
				for code := range uint8(4) {
					g.checked(first(f.error4(3, code, 1, 0, 8)))
					g.checked(first(f.error4(11, 0, 3, 0, 8)))
					g.checked(first(f.error6(addr(hostA1), 1, code, 3, 0, 8)))
					g.checked(first(f.error6(pt.R6, 3, 0, 11, 0, 8)))
				}
			}
			errors(f) // they do not end it
			f.in(pt.FlagACK)
			g.wait(d - 2*time.Second)
			errors(f) // nor refresh it
			g.wait(5 * time.Second)
			is(t, "sessions", g.table.Stats().Sessions, 0)
			errors(f) // nor make one
			is(t, "sessions", g.table.Stats().Sessions, 0)
		}
	})
	row(t, "6146-3.6-02", func(t *testing.T) {
		// traceroute of an IPv6 host: each router is seen inside the prefix.
		g := newNAT64(t)
		for _, proto := range protocols {
			f := g.flow(proto, hostA1, 33434, server, 33434).open()
			for _, n := range []int{8, 84} {
				g.becomes(f.error4(11, 0, 3, 0, n))
				g.becomes(f.error4(3, 1, 1, 0, n))
			}
		}
	})
	row(t, "6146-3.6-03", func(t *testing.T) {
		// An error of the host comes from its shared address, one of a router from the pool
		// for these. So Packet Too Big of a tunnel arrives.
		g := newNAT64(t)
		for _, proto := range protocols {
			f := g.flow(proto, hostA1, 5000, server, 80).open().in(pt.FlagACK)
			g.becomes(f.error6(addr(hostA1), 1, 4, 3, 3, 84))
			g.becomes(f.error6(pt.R6, 3, 0, 11, 0, 84))
			q6 := quoteOf(inside+server, hostA1, f.payload(f.remotePort(), 5000, pt.FlagACK, false), 64)
			got := g.forward(pt.IP(pt.Header{Src: pt.R6, Dst: addr(inside + server)}, pt.ICMP(2, 0, 1400, q6)))
			wantBytes(t, "type, code", got[20:22], []byte{3, 4})
			is(t, "MTU", be16(got, 26), 1380)
			wantEnds(t, got, pt.X4.String()+" > "+server)
			wantEnds(t, got[28:], server+" > "+shared)
		}
		// A translator without a pool for these uses the address of the session.
		g = newNAT64(t, func(s *settings, _ *session.Config) { s.IPv4, s.ICMPPool4 = pt.X4, nil })
		f := g.flow(protoUDP, hostA1, 5000, server, 80).open()
		in, _ := f.error6(pt.R6, 3, 0, 11, 0, 84)
		g.forward(in)
	})
}

func first[A, B any](a A, _ B) A { return a }

func TestRFC6146Echo(t *testing.T) {
	row(t, "6146-3.5.3-01", func(t *testing.T) {
		g := newNAT64(t, pools(session.Pool{Prefix: mustPrefix("203.0.113.64/28")}))
		a, b := g.flow(protoICMP, hostA1, 7, server, 0).open(), g.flow(protoICMP, hostB, 7, server, 0).open()
		if a.at == b.at {
			t.Errorf("two hosts have %s", a.at)
		}
		a.in(0)
		b.in(0)
		is(t, "address of UDP", g.flow(protoUDP, hostA1, 5000, server, 80).open().at.Addr(), a.at.Addr())
		lives(t, protoICMP, "6", time.Minute)
		lives(t, protoICMP, "6 +50s 6", time.Minute)
		lives(t, protoICMP, "6 +50s 4", time.Minute)
		lives(t, protoICMP, "6", time.Hour, timeouts(session.Timeouts{ICMP: time.Hour}))
		refusesConfig(t, "59 seconds", timeouts(session.Timeouts{ICMP: 59 * time.Second}))
	})
	row(t, "6146-3.5.3-02", func(t *testing.T) {
		g := newNAT64(t, filtering)
		ping := func(id uint16, from string) []byte { return pt.IP(between(from, shared), pt.EchoRequest(id, 1, nil)) }
		g.err4(ping(7, server), 3, 1)
		f := g.flow(protoICMP, hostA1, 7, server, 0).open()
		f.in(0)
		g.forward(ping(f.at.Port(), server)) // a query from a known address passes
		g.err4(ping(f.at.Port(), other), 3, 13)
		is(t, "sessions", g.table.Stats().Sessions, 1)
	})
}

func TestRFC6146Packets(t *testing.T) {
	row(t, "6146-3.6-01", func(t *testing.T) {
		// The server's address is mapped by the prefix even where it is shared itself: B
		// sees A at the prefix and A's shared address, not at A's own.
		g := newNAT64(t)
		b := g.flow(protoUDP, hostB, 6000, server, 80).open()
		a := g.flow(protoUDP, hostA1, 5000, server, 80).open()
		got := g.forward(pt.IP(between(hostA1, inside+shared), pt.UDP(5000, b.at.Port(), nil)))
		h := pt.Header{Src: addr(inside + shared), Dst: addr(hostB), TTL: 63}
		wantPacket(t, got, pt.IP(h, pt.UDP(a.at.Port(), 6000, nil)))
	})
	row(t, "6146-3.7-01", func(t *testing.T) {
		// Ports or identifier, checksums and the swapped roles of a quote, byte by byte.
		g := newNAT64(t)
		for _, proto := range protocols {
			for port := range uint16(50) {
				f := g.flow(proto, hostA1, 5000+port, server, 80).open().in(pt.FlagSYN | pt.FlagACK)
				g.becomes(f.error4(3, 3, 1, 4, 84))
				g.becomes(f.error6(addr(hostA1), 1, 4, 3, 3, 84))
			}
		}
	})
	row(t, "6146-3.7-02", func(t *testing.T) {
		g := newNAT64(t, func(s *settings, _ *session.Config) { s.MTU4, s.MTU6 = 1280, 1400 })
		f := g.flow(protoUDP, hostA1, 5000, server, 80).open()
		big := func(h pt.Header, n int) []byte {
			if h.Src.Is4() {
				return pt.IP(h, pt.UDP(80, f.at.Port(), make([]byte, n)))
			}
			return pt.IP(h, pt.UDP(5000, 80, make([]byte, n)))
		}
		h := between(server, shared)
		is(t, "MTU for IPv4", be16(g.err4(big(h, 1400), 3, 4), 6), 1380)
		h.DF = false
		is(t, "IPv6 fragments", len(g.pieces(big(h, 1300))), 2)
		is(t, "MTU for IPv6", be32(g.err6(big(between(hostA1, inside+server), 1300), 2, 0), 4), 1300)
		is(t, "size", len(g.forward(big(between(hostA1, inside+server), 1230))), 1258)
	})
	row(t, "6146-3.8-01", func(t *testing.T) {
		g := newNAT64(t, static(protoTCP, shared+":443", "["+hostB+"]:8443"))
		for _, proto := range []uint8{protoTCP, protoUDP} {
			b := g.flow(proto, hostB, 6000, server, 80).open()
			hairpins(t, g, proto, 6000, b.at.Port())
		}
		hairpins(t, g, protoTCP, 8443, 443)
		// An Echo has one identifier for both sides, so that of a host leads back to itself.
		ping := func(src, dst string, ttl uint8) []byte {
			h := between(src, dst)
			h.TTL = ttl
			return pt.IP(h, pt.EchoRequest(7, 1, nil))
		}
		g.becomes(ping(hostA1, inside+shared, 64), ping(inside+shared, hostA1, 63))
	})
	row(t, "6146-5.2-01", func(t *testing.T) {
		g := newNAT64(t)
		for _, proto := range protocols {
			f := g.flow(proto, hostA1, 5000, server, 80).open()
			for port := range uint16(20) {
				is(t, "address and port", g.flow(proto, hostA1, 5000, other, 1+port).open().at, f.at)
			}
			if p := g.flow(proto, hostA1, 5001, server, 80).open(); p.at == f.at {
				t.Errorf("another port has %s, too", p.at)
			}
		}
	})
}

// hairpins lets host A talk to B's port, which IPv4 knows as bAt: a packet, an answer, and
// errors about the packet. Each host sees the other at its external address and port.
func hairpins(t *testing.T, g *nat64, proto uint8, bPort, bAt uint16) {
	t.Helper()
	f := &flow{proto: proto}
	packet := func(src, dst string, ttl uint8, sport, dport uint16, flags uint8) []byte {
		h := between(src, dst)
		h.TTL = ttl
		return pt.IP(h, f.payload(sport, dport, flags, true))
	}
	got := g.forward(packet(hostA1, inside+shared, 64, 5000, bAt, pt.FlagSYN))
	aAt := be16(got, 40)
	wantPacket(t, got, packet(inside+shared, hostB, 63, aAt, bPort, pt.FlagSYN))

	got = g.forward(packet(hostB, inside+shared, 64, bPort, aAt, pt.FlagSYN|pt.FlagACK))
	wantPacket(t, got, packet(inside+shared, hostA1, 63, bAt, 5000, pt.FlagSYN|pt.FlagACK))

	// RFC 5508 REQ-7: from B, and from a router before it.
	seen := quoteOf(inside+shared, hostB, f.payload(aAt, bPort, pt.FlagSYN, true), 84)
	sent := quoteOf(hostA1, inside+shared, f.payload(5000, bAt, pt.FlagSYN, true), 84)
	for from, as := range map[string]string{hostB: inside + shared, pt.R6.String(): inside + pt.X4.String()} {
		got := g.forward(pt.IP(between(from, inside+shared), pt.ICMP(1, 4, 0, seen)))
		h := between(as, hostA1)
		h.TTL = 63
		wantPacket(t, got, pt.IP(h, pt.ICMP(1, 4, 0, sent)))
	}
}
