package rfc

import (
	"testing"
	"time"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// These tests are attackers: no host's packets reach the session of another, and no
// stranger's a host that did not let it in. Each leaves the victim's session as it was.

// guess calls f for ports or identifiers all over the range, and the one to be guessed.
func guess(right uint16, f func(port uint16)) {
	for port := 0; port < 1<<16; port += 16 {
		f(uint16(port) | right&15)
	}
}

// TestAttackerScans: a stranger guesses ports of a shared address, with SYNs, segments,
// datagrams and pings. With address-dependent filtering it reaches no host, otherwise those
// ports alone that have a binding. It makes no binding.
func TestAttackerScans(t *testing.T) {
	for _, filtered := range []bool{true, false} {
		g := newNAT64(t, func(_ *settings, c *session.Config) {
			if filtered {
				c.Filtering = session.AddressDependent
			}
		})
		victims := map[uint8]*flow{}
		for _, proto := range protocols {
			victims[proto] = g.flow(proto, hostA1, 5000, server, 80).open().in(pt.FlagSYN)
		}
		for proto, victim := range victims {
			reached := 0
			guess(victim.at.Port(), func(port uint16) {
				stranger := victim.to(other, 80)
				stranger.fromServer = true
				for _, flags := range []uint8{pt.FlagSYN, pt.FlagACK, pt.FlagRST} {
					in := pt.IP(between(other, shared), stranger.payload(stranger.remotePort(), port, flags, false))
					if proto != protoTCP && flags != pt.FlagSYN {
						continue
					}
					if _, res := g.send(in); res.Verdict == translate.Forward {
						reached++
						is(t, "port that was reached", port, victim.at.Port())
					}
				}
			})
			want := map[bool]int{true: 0, false: 1}[filtered]
			if proto == protoTCP {
				want *= 3
			}
			is(t, "packets that reached a host", reached, want)
			victim.in(pt.FlagACK).out(pt.FlagACK)
		}
		is(t, "bindings", g.table.Stats().Hosts, 1)
	}
}

// TestAttackerResets: segments with RST, FIN or SYN from ports of the server but the
// right one, and from another address, leave a connection established.
func TestAttackerResets(t *testing.T) {
	g := newNAT64(t, filtering)
	victim := g.flow(protoTCP, hostA1, 5000, server, 80).play("6S 4SA 6A")
	guess(80, func(port uint16) {
		for _, flags := range []uint8{pt.FlagRST, pt.FlagFIN | pt.FlagACK} {
			if port != 80 {
				g.send(victim.to(server, port).packet4(flags))
			}
			g.refused(victim.to(other, port).packet4(flags), translate.Filtered)
		}
	})
	is(t, "sessions", g.table.Stats().Sessions, 1)
	g.wait(tcpEstablished)
	victim.in(pt.FlagACK)
}

// TestAttackerForgesErrors: errors from IPv4 about packets that the victim did not send, or
// that are addressed to another one, reach no host. Neither do errors of an IPv6 host about
// the victim's packets come from the victim's address.
func TestAttackerForgesErrors(t *testing.T) {
	g := newNAT64(t, pools(session.Pool{Prefix: mustPrefix("203.0.113.70/31")}))
	for _, proto := range protocols {
		victim := g.flow(proto, hostA1, 5000, server, 80).open().in(pt.FlagSYN)
		before := g.table.Stats().Sessions
		guess(victim.at.Port(), func(port uint16) {
			if port == victim.at.Port() {
				return
			}
			q := quoteOf(victim.at.Addr().String(), server, victim.payload(port, victim.remotePort(), pt.FlagSYN, true), 8)
			g.drop(pt.IP(pt.Header{Src: pt.R4, Dst: victim.at.Addr()}, pt.ICMP(3, 3, 0, q)), translate.NoSession)
		})
		in, _ := victim.error4(3, 3, 1, 4, 8)
		elsewhere := victim.at.Addr().Next() // the other shared address
		if elsewhere == addr("203.0.113.72") {
			elsewhere = victim.at.Addr().Prev()
		}
		g.drop(pt.IP(pt.Header{Src: pt.R4, Dst: elsewhere}, pt.ICMP(3, 3, 0, in[28:])), translate.NoSession)
		in, _ = victim.to(other, 80).error4(3, 3, 1, 4, 8)
		g.drop(in, translate.NoSession)

		// A host that sends errors about another's packets is a router to the translator.
		in, out := victim.error6(addr(hostB), 1, 4, 3, 3, 8)
		g.becomes(in, out)
		wantEnds(t, out, pt.X4.String()+" > "+server)
		// It has no session of its own to quote.
		mine := *victim
		mine.host = hostB
		in, _ = mine.error6(addr(hostB), 1, 4, 3, 3, 8)
		g.drop(in, translate.NoSession)
		is(t, "sessions", g.table.Stats().Sessions, before)
		victim.in(pt.FlagACK).out(pt.FlagACK)
	}
}

// TestAttackerTakesPorts: a host that opens as many flows as it can gets neither the port of
// another host nor one of a static binding, and the victim can still open flows.
func TestAttackerTakesPorts(t *testing.T) {
	g := newNAT64(t, ports(2000, 3999), static(protoUDP, shared+":2000", "["+hostC+"]:53"))
	victim := g.flow(protoUDP, hostA1, 5000, server, 80).open()
	refused := 0
	guess(0, func(port uint16) {
		f := g.flow(protoUDP, hostB, port, server, 80)
		out, res := g.send(f.packet6(0))
		switch {
		case res.Verdict != translate.Forward:
			refused++
		case sourceOf(out[0]) == victim.at || sourceOf(out[0]).Port() == 2000:
			t.Fatalf("port %d of another host", sourceOf(out[0]).Port())
		}
	})
	if refused == 0 {
		t.Error("one host took all ports")
	}
	victim.in(0)
	g.flow(protoUDP, hostA1, 5001, server, 80).open()
	f := g.flow(protoUDP, hostC, 53, server, 80)
	f.at = addrPort(shared + ":2000")
	f.in(0)
}

// TestAttackerWaitsForPort: after the end of a session, what its server still sends reaches
// no host that opens flows as fast as it can, for two minutes.
func TestAttackerWaitsForPort(t *testing.T) {
	for _, proto := range []uint8{protoUDP, protoICMP} {
		g := newNAT64(t, ports(2000, 2063))
		var old []*flow
		for port := range uint16(16) {
			old = append(old, g.flow(proto, hostA1, 5000+port, server, 80).open())
		}
		g.wait(5*time.Minute + 2*time.Second)
		is(t, "sessions", g.table.Stats().Sessions, 0)
		for i := range uint16(12) {
			for port := range uint16(16) {
				g.send(g.flow(proto, hostB, 6000+16*i+port, server, 80).packet6(0))
			}
			for _, f := range old {
				g.err4(f.packet4(0), 3, map[uint8]uint8{protoUDP: 3, protoICMP: 1}[proto])
			}
			g.wait(10 * time.Second)
		}
	}
}

// TestAttackerInHairpin: a host reaches another by its shared address as a stranger does,
// and no further: with address-dependent filtering not before that has sent to it.
func TestAttackerInHairpin(t *testing.T) {
	g := newNAT64(t, filtering)
	for _, proto := range []uint8{protoTCP, protoUDP} {
		victim := g.flow(proto, hostA1, 5000, server, 80).open().in(pt.FlagSYN)
		attacker := &flow{proto: proto}
		guess(victim.at.Port(), func(port uint16) {
			in := pt.IP(between(hostB, inside+shared), attacker.payload(6000, port, pt.FlagSYN, true))
			out, res := g.send(in)
			if res.Verdict == translate.Forward && addr16(out[0][24:]) != hostB { // it reaches itself
				t.Fatalf("port %d: %s", port, ends(out[0]))
			}
		})
		victim.in(pt.FlagACK).out(pt.FlagACK)
	}
}
