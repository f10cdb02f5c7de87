package rfc

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// The requirements of RFC 4787, 5382, 5508, 6888, 7857 and 6056 that RFC 6146 builds on.

// mapsByPort expects that a port of a host has one address and port for all destinations,
// and that no other one has it.
func mapsByPort(t *testing.T, proto uint8) {
	t.Helper()
	g := newNAT64(t)
	seen := map[netip.AddrPort]string{}
	for _, host := range []string{hostA1, hostA2, hostB, hostC} {
		f := g.flow(proto, host, 5000, server, 80).open()
		is(t, "address and port for another server", f.to(other, 81).open().at, f.at)
		if who := seen[f.at]; who != "" {
			t.Errorf("%s and %s have %s", who, host, f.at)
		}
		seen[f.at] = host
	}
}

// filters expects both kinds of filtering, the open one by default.
func filters(t *testing.T, proto uint8) {
	t.Helper()
	f := newNAT64(t).flow(proto, hostA1, 5000, server, 80).open()
	f.to(other, 81).in(pt.FlagSYN)
	g := newNAT64(t, filtering)
	f = g.flow(proto, hostA1, 5000, server, 80).open()
	g.refused(f.to(other, 81).packet4(pt.FlagACK), translate.Filtered)
	f.to(server, 81).in(pt.FlagACK)
}

func TestRFC4787(t *testing.T) {
	row(t, "4787-4.1-01", func(t *testing.T) { mapsByPort(t, protoUDP) })
	row(t, "4787-4.1-02", func(t *testing.T) {
		g := newNAT64(t, pools(session.Pool{Prefix: mustPrefix("203.0.113.64/28")}))
		for _, host := range []string{hostA1, hostA2, hostB, hostC} {
			at := g.flow(protoUDP, host, 5000, server, 80).open().at
			for port := range uint16(16) {
				is(t, "address", g.flow(protoUDP, host, 6000+port, server, 80).open().at.Addr(), at.Addr())
			}
		}
	})
	row(t, "4787-4.2.1-01", func(t *testing.T) {
		// Two hosts that send from the same port to different servers could share one.
		g := newNAT64(t, ports(2000, 2000))
		g.flow(protoUDP, hostA1, 2000, server, 80).open()
		g.err6(g.flow(protoUDP, hostB, 2000, other, 80).packet6(0), 1, 3)
	})
	row(t, "4787-4.2.2-01", func(t *testing.T) {
		g := newNAT64(t, ports(1, 65535))
		for _, port := range []uint16{1, 53, 500, 1023, 1024, 5000, 65535} {
			is(t, "well-known port", g.flow(protoUDP, hostA1, port, server, 80).open().at.Port() < 1024, port < 1024)
		}
	})
	row(t, "4787-4.2.2-02", func(t *testing.T) {
		g := newNAT64(t)
		for port := range uint16(64) {
			is(t, "parity", g.flow(protoUDP, hostA1, 5000+port, server, 80).open().at.Port()%2, port%2)
		}
	})
	row(t, "4787-4.3-01", func(t *testing.T) {
		lives(t, protoUDP, "6", 5*time.Minute)
		lives(t, protoUDP, "6", 2*time.Minute, timeouts(session.Timeouts{UDP: 2 * time.Minute}))
		refusesConfig(t, "119 seconds", timeouts(session.Timeouts{UDP: 119 * time.Second}))
	})
	row(t, "4787-4.3-02", func(t *testing.T) {
		g := newNAT64(t, timeouts(session.Timeouts{DNS: 10 * time.Second}))
		dns, other := g.flow(protoUDP, hostA1, 5000, server, 53).open(), g.flow(protoUDP, hostA2, 5000, server, 54).open()
		g.wait(10 * time.Second)
		dns.in(0)
		g.wait(13 * time.Second)
		g.err4(dns.packet4(0), 3, 3)
		other.in(0)
	})
	row(t, "4787-4.3-03", func(t *testing.T) { lives(t, protoUDP, "6 +4m 6 +4m 6", 5*time.Minute) })
	row(t, "4787-4.3-04", func(t *testing.T) { lives(t, protoUDP, "6 +4m 4 +4m 4", 5*time.Minute) })
	row(t, "4787-5-01", func(t *testing.T) { filters(t, protoUDP) })
	row(t, "4787-6-01", func(t *testing.T) {
		g := newNAT64(t)
		hairpins(t, g, protoUDP, 6000, g.flow(protoUDP, hostB, 6000, server, 80).open().at.Port())
	})
	row(t, "4787-8-01", func(t *testing.T) {
		// With no port left the mapping and the filter of what exists stay, and none is shared.
		g := newNAT64(t, ports(2000, 2001), filtering)
		a, b := g.flow(protoUDP, hostA1, 2000, server, 80).open(), g.flow(protoUDP, hostB, 2000, server, 80).open()
		for range 3 {
			g.err6(g.flow(protoUDP, hostC, 2000, server, 80).packet6(0), 1, 3)
			is(t, "address and port", a.to(other, 80).open().at, a.at)
			g.err4(b.to(other, 80).packet4(0), 3, 13)
			b.in(0)
		}
	})
	row(t, "4787-9-01", func(t *testing.T) {
		g := newNAT64(t)
		f := g.flow(protoUDP, hostA1, 5000, server, 80).open()
		g.becomes(f.error4(3, 3, 1, 4, 8))
		g.becomes(f.error6(addr(hostA1), 1, 4, 3, 3, 8))
		f.in(0).out(0)
	})
	row(t, "4787-9-02", func(t *testing.T) {
		// From a router of which no session knows, with address-dependent filtering too.
		g := newNAT64(t, filtering)
		f := g.flow(protoUDP, hostA1, 5000, server, 80).open()
		g.becomes(f.error4(3, 1, 1, 0, 8))
		g.becomes(f.error4(3, 3, 1, 4, 84))
	})
	row(t, "4787-10-01", func(t *testing.T) {
		g := newNAT64(t, func(s *settings, _ *session.Config) { s.MTU4 = 1300 })
		is(t, "MTU", be32(g.err6(pt.IP(between(hostA1, inside+server), pt.UDP(5000, 80, make([]byte, 1400))), 2, 0), 4), 1320)
	})
}

func TestRFC5382(t *testing.T) {
	row(t, "5382-4.1-01", func(t *testing.T) { mapsByPort(t, protoTCP) })
	row(t, "5382-4.2-01", func(t *testing.T) {
		// A handshake, a simultaneous open, and an opening from outside.
		for _, script := range []string{"6S 4SA 6A", "6S 4S 6SA 4SA 6A", "6S 4S 4SA 6A"} {
			lives(t, protoTCP, script, tcpEstablished)
		}
		g := newNAT64(t)
		f := g.flow(protoTCP, hostA1, 5000, server, 80).withBinding().play("4S 6SA 4A")
		g.wait(tcpEstablished)
		f.in(pt.FlagACK)
	})
	row(t, "5382-4.3-01", func(t *testing.T) { filters(t, protoTCP) })
	row(t, "5382-5-01", func(t *testing.T) {
		lives(t, protoTCP, "6S 4SA", tcpEstablished)
		lives(t, protoTCP, "6S 4SA 6FA 4FA", tcpTransitory)
		lives(t, protoTCP, "6S 4SA", 10*time.Hour, timeouts(session.Timeouts{TCP: 10 * time.Hour}))
		refusesConfig(t, "2 h 3 min 59 s", timeouts(session.Timeouts{TCP: tcpEstablished - time.Second}))
		refusesConfig(t, "3 min 59 s", timeouts(session.Timeouts{TCPTransitory: tcpTransitory - time.Second}))
	})
	row(t, "5382-7.1-01", func(t *testing.T) {
		g := newNAT64(t, ports(2000, 2000))
		g.flow(protoTCP, hostA1, 2000, server, 80).open()
		g.err6(g.flow(protoTCP, hostB, 2000, other, 80).packet6(pt.FlagSYN), 1, 3)
	})
	row(t, "5382-7.2-01", func(t *testing.T) {
		g := newNAT64(t)
		hairpins(t, g, protoTCP, 6000, g.flow(protoTCP, hostB, 6000, server, 80).open().at.Port())
	})
	row(t, "5382-7.3-01", func(t *testing.T) {
		g := newNAT64(t)
		f := g.flow(protoTCP, hostA1, 5000, server, 80).play("6S 4SA")
		for code, code6 := range map[uint8]uint8{0: 0, 1: 0, 3: 4, 13: 1} {
			g.becomes(f.error4(3, code, 1, code6, 8))
		}
	})
	row(t, "5382-7.4-01", func(t *testing.T) {
		g := newNAT64(t)
		f := g.flow(protoTCP, hostA1, 5000, server, 80).play("6S 4SA")
		g.becomes(f.error4(3, 3, 1, 4, 8))
		g.becomes(f.error6(addr(hostA1), 1, 4, 3, 3, 8))
		g.wait(tcpEstablished)
		f.in(pt.FlagACK)
	})
}

func TestRFC5508(t *testing.T) {
	row(t, "5508-3.1-01", func(t *testing.T) { mapsByPort(t, protoICMP) })
	row(t, "5508-3.2-01", func(t *testing.T) {
		lives(t, protoICMP, "6", time.Minute)
		lives(t, protoICMP, "6", 5*time.Minute, timeouts(session.Timeouts{ICMP: 5 * time.Minute}))
		refusesConfig(t, "59 seconds", timeouts(session.Timeouts{ICMP: 59 * time.Second}))
	})
	g := newNAT64(t)
	f := g.flow(protoUDP, hostA1, 5000, server, 80).open()
	row(t, "5508-3-01", func(t *testing.T) {
		in, out := f.error4(3, 3, 1, 4, 84)
		g.becomes(in, out)
		wrong := pt.Edit(in, func(b []byte) { b[22] ^= 1 })
		g.drop(wrong, translate.ICMPChecksum)
		in6, _ := f.error6(addr(hostA1), 1, 4, 3, 3, 84)
		g.drop(pt.Edit(in6, func(b []byte) { b[42] ^= 1 }), translate.ICMPChecksum)
	})
	row(t, "5508-3-02", func(t *testing.T) { // the transport checksum of the quote is wrong, and stays so
		q := quoteOf(shared, server, pt.UDP(f.at.Port(), 80, pt.Bytes(64, 0)), 84)
		q6 := quoteOf(hostA1, inside+server, pt.UDP(5000, 80, pt.Bytes(64, 0)), 84)
		q[20+20] ^= 0xff // data
		q6[40+20] ^= 0xff
		h := pt.Header{Src: pt.R4in6, Dst: addr(hostA1), TTL: 63}
		g.becomes(pt.IP(pt.Header{Src: pt.R4, Dst: addr(shared)}, pt.ICMP(3, 3, 0, q)), pt.IP(h, pt.ICMP(1, 4, 0, q6)))
	})
	row(t, "5508-3-03", func(t *testing.T) { // IPv4 options in the quote
		h := pt.Header{Src: addr(shared), Dst: addr(server), TTL: 60, Options: []byte{1, 1, 1, 0}}
		q := pt.IP(h, pt.UDP(f.at.Port(), 80, pt.Bytes(64, 0)))
		got := g.forward(pt.IP(pt.Header{Src: pt.R4, Dst: addr(shared)}, pt.ICMP(3, 3, 0, q)))
		wantBytes(t, "quote", got[48:], quoteOf(hostA1, inside+server, pt.UDP(5000, 80, pt.Bytes(64, 0)), 84))
	})
	row(t, "5508-3-04", func(t *testing.T) { // zero padding and an extension, RFC 4884
		q := quoteOf(shared, server, pt.UDP(f.at.Port(), 80, pt.Bytes(64, 0)), 84)
		got := g.forward(pt.IP(pt.Header{Src: pt.R4, Dst: addr(shared)}, pt.ExtendedError(11, 0, 0, q, pt.MPLS())))
		want := quoteOf(hostA1, inside+server, pt.UDP(5000, 80, pt.Bytes(64, 0)), 84)
		wantBytes(t, "quote", got[48:][:len(want)], want)
		wantBytes(t, "extension", got[len(got)-len(pt.MPLS()):], pt.MPLS())
	})
	row(t, "5508-3-05", func(t *testing.T) { // a wrong header checksum in the quote
		in, out := f.error4(3, 3, 1, 4, 84)
		q := in[28:]
		q[10] ^= 0xff
		in = pt.IP(pt.Header{Src: pt.R4, Dst: addr(shared)}, pt.ICMP(3, 3, 0, q))
		g.becomes(in, out)
	})
	row(t, "5508-4-01", func(t *testing.T) {
		none := g.flow(protoUDP, hostA1, 5001, server, 80)
		none.at = netip.AddrPortFrom(addr(shared), f.at.Port()^2)
		in, _ := none.error4(3, 3, 1, 4, 8)
		g.drop(in, translate.NoSession)
		in, _ = none.error6(addr(hostA1), 1, 4, 3, 3, 8)
		g.drop(in, translate.NoSession)
		in, _ = f.to(other, 80).error4(3, 3, 1, 4, 8) // a flow to another server
		g.drop(in, translate.NoSession)
	})
	row(t, "5508-4-02", func(t *testing.T) {
		g.becomes(f.error4(3, 3, 1, 4, 84))
		g.becomes(f.error6(addr(hostA1), 1, 4, 3, 3, 84))
		g.becomes(f.error6(pt.R6, 1, 4, 3, 3, 84))
	})
	row(t, "5508-6-01", func(t *testing.T) {
		g := newNAT64(t)
		f := g.flow(protoICMP, hostA1, 7, server, 0).open()
		g.wait(50 * time.Second)
		g.becomes(f.error4(11, 0, 3, 0, 8))
		f.in(0)
		g.wait(59 * time.Second)
		g.becomes(f.error4(11, 0, 3, 0, 8))
		g.wait(4 * time.Second)
		g.err4(f.packet4(0), 3, 1)
	})
	row(t, "5508-7-01", func(t *testing.T) {
		g := newNAT64(t)
		hairpins(t, g, protoUDP, 6000, g.flow(protoUDP, hostB, 6000, server, 80).open().at.Port())
	})
	row(t, "5508-8-01", func(t *testing.T) {
		g := newNAT64(t, limits(session.Limits{PerPrefix: 1}))
		g.flow(protoUDP, hostA1, 5000, server, 80).open()
		for _, proto := range protocols {
			g.err6(g.flow(proto, hostA2, 5000, server, 80).packet6(opening(proto)), 1, 3)
		}
	})
	row(t, "5508-9-01", func(t *testing.T) {
		g := newNAT64(t, func(s *settings, c *session.Config) { s.ErrorRate = -1; c.Limits.PerPrefix = 1 })
		g.flow(protoUDP, hostA1, 5000, server, 80).open()
		g.flow(protoUDP, hostA2, 5000, server, 80).outDropped(0, translate.SessionLimit)
	})
}

func TestRFC6888(t *testing.T) {
	row(t, "6888-2-01", func(t *testing.T) {
		g := newNAT64(t, pools(session.Pool{Prefix: mustPrefix("203.0.113.64/31"), Low: 2000, High: 2003}))
		at := g.flow(protoTCP, hostA1, 2000, server, 80).open().at.Addr()
		for _, proto := range protocols {
			is(t, "address", g.flow(proto, hostA1, 2001, server, 80).open().at.Addr(), at)
		}
		// A host whose address has no port left is refused, though another address has.
		for port := range uint16(16) {
			in := g.flow(protoTCP, hostA1, 3000+port, server, 80).packet6(pt.FlagSYN)
			if out, res := g.checked(in); res.Verdict == translate.Forward {
				is(t, "address", sourceOf(out[0]).Addr(), at)
			} else {
				is(t, "ICMPv6 type and code", be16(out[0], 40), 1<<8|3)
			}
		}
	})
	row(t, "6888-3-01", func(t *testing.T) {
		g := newNAT64(t, pools(session.Pool{Prefix: mustPrefix("203.0.113.64/32")}, session.Pool{Prefix: mustPrefix("192.0.2.128/31"), Low: 5000, High: 5999}))
		seen := map[netip.Addr]bool{}
		for i := range 64 {
			seen[g.flow(protoUDP, pt.NthHost(i).String(), 5000, server, 80).open().at.Addr()] = true
		}
		is(t, "addresses", len(seen), 3)
	})
	row(t, "6888-4-01", func(t *testing.T) {
		g := newNAT64(t, limits(session.Limits{PerPrefix: 4}))
		for port := range uint16(4) {
			g.flow(protoUDP, hostA1, 5000+port, server, 80).open()
		}
		g.err6(g.flow(protoUDP, hostA2, 6000, server, 80).packet6(0), 1, 3)
		g.flow(protoUDP, hostB, 6000, server, 80).open()
		// Without a limit that is configured, half of the ports are left for others.
		g = newNAT64(t, ports(2000, 2003))
		g.flow(protoUDP, hostA1, 2000, server, 80).open()
		g.flow(protoUDP, hostA2, 2000, server, 80).open()
		g.err6(g.flow(protoUDP, hostA1, 2001, server, 80).packet6(0), 1, 3)
		g.flow(protoUDP, hostB, 2001, server, 80).open()
	})
	row(t, "6888-8-01", func(t *testing.T) {
		for _, proto := range []uint8{protoUDP, protoTCP} {
			g := newNAT64(t, ports(2000, 2000))
			f := g.flow(proto, hostA1, 2000, server, 80).open()
			g.wait(5*time.Minute + 2*time.Second) // it has ended
			b := g.flow(proto, hostB, 2000, server, 80)
			if proto == protoTCP { // whose state machine allows it at once
				is(t, "port", b.open().at, f.at)
				continue
			}
			g.err6(b.packet6(0), 1, 3)
			g.wait(119 * time.Second)
			g.err6(b.packet6(0), 1, 3)
			g.wait(3 * time.Minute) // it is reused at last, within twice the time
			is(t, "port", b.open().at, f.at)
		}
		// The time can be configured.
		g := newNAT64(t, ports(2000, 2000), func(_ *settings, c *session.Config) { c.Quarantine = 10 * time.Second })
		g.flow(protoUDP, hostA1, 2000, server, 80).open()
		g.wait(5*time.Minute + 2*time.Second)
		g.err6(g.flow(protoUDP, hostB, 2000, server, 80).packet6(0), 1, 3)
		g.wait(23 * time.Second)
		g.flow(protoUDP, hostB, 2000, server, 80).open()
	})
	row(t, "6888-11-01", func(t *testing.T) {
		g := newNAT64(t, ports(2000, 2000))
		f := g.flow(protoUDP, hostA1, 2000, server, 80).open()
		for range 100 { // refused with 1/3, and what exists stays
			g.err6(g.flow(protoUDP, hostB, 2000, server, 80).packet6(0), 1, 3)
		}
		f.in(0)
		is(t, "denials", g.table.Stats().Sessions, 1)
	})
	row(t, "6888-12-01", func(t *testing.T) {
		var events []session.Event
		g := newNAT64(t, func(_ *settings, c *session.Config) { c.OnEvent = func(e session.Event) { events = append(events, e) } })
		f := g.flow(protoUDP, hostA1, 5000, server, 80).open()
		f.to(other, 80).open() // another destination is no event
		is(t, "events", len(events), 1)
		is(t, "event", events[0], session.Event{Kind: session.BindingMade, Proto: protoUDP, Host: addrPort("[" + hostA1 + "]:5000"), Addr: f.at})
		g.wait(10 * time.Minute)
		is(t, "events", len(events), 2)
		is(t, "event", events[1].Kind, session.BindingEnded)
	})
	row(t, "6888-14-01", func(t *testing.T) {
		// With blocks there is an event for many bindings.
		blocks := 0
		g := newNAT64(t, func(_ *settings, c *session.Config) {
			c.PortBlock = 64
			c.OnEvent = func(e session.Event) {
				if e.Kind == session.BlockTaken {
					blocks++
				}
			}
		})
		for port := range uint16(32) {
			g.flow(protoTCP, hostA1, 5000+port, server, 80).open()
		}
		is(t, "blocks", blocks, 1)
	})
	row(t, "6888-15-01", func(t *testing.T) { unpredictable(t) })
}

// unpredictable expects ports that say nothing about the next: not that of the host, none
// near the one before, and all of the range.
func unpredictable(t *testing.T) {
	t.Helper()
	g := newNAT64(t, func(_ *settings, c *session.Config) { c.Limits.PerPrefix = 10000 })
	var last uint16
	kept, near, low := 0, 0, 0
	const n = 2000
	for i := range uint16(n) {
		p := g.flow(protoTCP, hostA1, 20000+i, server, 80).open().at.Port()
		if p == 20000+i {
			kept++
		}
		if d := int(p) - int(last); d > -16 && d < 16 {
			near++
		}
		if p < 33000 {
			low++
		}
		last = p
	}
	if kept > 5 || near > 20 || low < n/3 || low > 2*n/3 {
		t.Errorf("of %d ports %d are those of the host, %d near the one before, %d in the lower half", n, kept, near, low)
	}
}

func TestRFC7857(t *testing.T) {
	row(t, "7857-2.1-01", func(t *testing.T) {
		lives(t, protoTCP, "6S", 4*time.Minute)
		lives(t, protoTCP, "6S", 6*time.Second, timeouts(session.Timeouts{TCPOpening: 6 * time.Second}))
		lives(t, protoTCP, "6S 4SA 4FA 6FA", 10*time.Minute, timeouts(session.Timeouts{TCPOpening: 6 * time.Second, TCPTransitory: 10 * time.Minute}))
	})
	row(t, "7857-2.2-01", func(t *testing.T) {
		lives(t, protoTCP, "6S 4SA 4R", tcpTransitory)
		lives(t, protoTCP, "6S 4SA 6R", tcpTransitory)
		// Only one of the addresses and ports of a connection is of it.
		g := newNAT64(t)
		f := g.flow(protoTCP, hostA1, 5000, server, 80).play("6S 4SA")
		f.to(other, 80).in(pt.FlagRST)
		f.to(server, 81).in(pt.FlagRST)
		g.wait(time.Hour)
		f.in(pt.FlagACK)
	})
	row(t, "7857-7-01", func(t *testing.T) {
		for _, proto := range protocols {
			d := map[uint8]time.Duration{protoTCP: tcpEstablished, protoUDP: 5 * time.Minute, protoICMP: time.Minute}[proto]
			g := newNAT64(t, filtering)
			f := g.flow(proto, hostA1, 5000, server, 80).open().in(pt.FlagSYN)
			g.wait(d - time.Second)
			g.refused(f.to(other, 80).packet4(pt.FlagACK), translate.Filtered)
			g.wait(4 * time.Second)
			is(t, "sessions", g.table.Stats().Sessions, 0)
		}
	})
	row(t, "7857-8-01", func(t *testing.T) {
		g := newNAT64(t)
		for port := range uint16(64) {
			is(t, "parity", g.flow(protoUDP, hostA1, 5000+port, server, 80).open().at.Port()%2, port%2)
		}
	})
	row(t, "7857-9-01", func(t *testing.T) { unpredictable(t) })
	row(t, "7857-10-01", func(t *testing.T) {
		// Many hosts at one address: their packets to one server have no identification twice.
		g := newNAT64(t)
		seen := map[uint16]bool{}
		for i := range 3000 {
			h := pt.Header{Src: pt.NthHost(rand.IntN(8)), Dst: addr(inside + server)}
			id := ip4(g.forward(pt.IP(h, pt.UDP(uint16(5000+i%7), 80, nil)))).id()
			if seen[id] {
				t.Fatalf("identification %d twice within %d packets", id, i+1)
			}
			seen[id] = true
		}
	})
	row(t, "7857-11-01", func(t *testing.T) { lives(t, protoICMP, "6", time.Minute) })
}

func TestRFC6056(t *testing.T) {
	row(t, "6056-3.3-01", func(t *testing.T) { unpredictable(t) })
	row(t, "6056-4-01", func(t *testing.T) {
		// A port that the host did choose at random does not become one that can be guessed
		// from those before: the same flow, twice, has another one.
		same := 0
		for range 20 {
			g, h := newNAT64(t), newNAT64(t)
			if g.flow(protoUDP, hostA1, 5000, server, 80).open().at == h.flow(protoUDP, hostA1, 5000, server, 80).open().at {
				same++
			}
		}
		if same > 1 {
			t.Errorf("%d of 20 have the same port again", same)
		}
	})
}
