package rfc

import (
	"testing"
	"time"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// How long a connection lasts by its state, if no packet comes: states are seen by that. A
// half-open one has a time of its own here, which tells it from the others.
const (
	tcpHalfOpen    = 20 * time.Second
	tcpEstablished = 2*time.Hour + 4*time.Minute // as TRANS in the end
	tcpOneFIN      = 2 * time.Hour
	tcpTransitory  = 4 * time.Minute
)

func halfOpen(_ *settings, c *session.Config) { c.Timeouts.TCPOpening = tcpHalfOpen }

// lasts expects connections to last for d after each of the scripts.
func lasts(t *testing.T, d time.Duration, scripts ...string) {
	t.Helper()
	for _, script := range scripts {
		t.Run(script, func(t *testing.T) { lives(t, protoTCP, script, d, halfOpen) })
	}
}

// withBinding makes the flow's port have a binding, by a connection to elsewhere.
func (f *flow) withBinding() *flow {
	f.g.t.Helper()
	f.at = f.to(other, 99).play("6S 4SA").at
	return f
}

// TestRFC6146States is the state machine, a row a line.
func TestRFC6146States(t *testing.T) {
	row(t, "6146-3.5.2.2-01", func(t *testing.T) { lasts(t, tcpHalfOpen, "6S", "6SA") })
	row(t, "6146-3.5.2.2-04", func(t *testing.T) {
		// The binding of another connection lets it in; it is half-open.
		g := newNAT64(t, halfOpen)
		f := g.flow(protoTCP, hostA1, 5000, server, 80).withBinding()
		f.in(pt.FlagSYN)
		is(t, "sessions", g.table.Stats().Sessions, 2)
		g.wait(tcpHalfOpen + 3*time.Second)
		is(t, "sessions", g.table.Stats().Sessions, 1)
	})
	row(t, "6146-3.5.2.2-05", func(t *testing.T) {
		for _, flags := range []uint8{pt.FlagACK, pt.FlagFIN | pt.FlagACK, pt.FlagRST, pt.FlagSYN | pt.FlagRST, 0} {
			g := newNAT64(t)
			f := g.flow(protoTCP, hostA1, 5000, server, 80)
			f.at = g.flow(protoTCP, hostB, 5000, server, 80).open().at
			f.outDropped(flags, translate.NoSession)
			f.to(other, 80).outDropped(flags, translate.NoSession)
			other := g.flow(protoTCP, hostA2, 5000, server, 80).withBinding()
			other.out(flags)
			other.in(flags)
			is(t, "sessions", g.table.Stats().Sessions, 2) // those of the bindings
			none := g.flow(protoTCP, hostA1, 5000, server, 80)
			none.at = f.at
			g.wait(5 * time.Hour)
			none.inDropped(flags, translate.NoSession)
		}
		// With address-dependent filtering a stranger's is refused.
		g := newNAT64(t, filtering)
		f := g.flow(protoTCP, hostA1, 5000, server, 80).withBinding()
		g.err4(f.packet4(pt.FlagACK), 3, 13)
		f.to(other, 98).in(pt.FlagACK)
	})
	row(t, "6146-3.5.2.2-06", func(t *testing.T) {
		g := newNAT64(t, halfOpen)
		f := g.flow(protoTCP, hostA1, 5000, server, 80).withBinding()
		f.play("4S 6SA")
		g.wait(tcpEstablished)
		f.in(pt.FlagACK)
	})
	row(t, "6146-3.5.2.2-08", func(t *testing.T) {
		g := newNAT64(t, halfOpen)
		f := g.flow(protoTCP, hostA1, 5000, server, 80).withBinding()
		f.play("4S +10s 4S 4A 4F 4R 6A 6F 6R +13s") // none of these starts the timer again
		is(t, "sessions", g.table.Stats().Sessions, 1)
	})
	row(t, "6146-3.5.2.2-09", func(t *testing.T) { lasts(t, tcpEstablished, "6S 4SA", "6S 4S") })
	row(t, "6146-3.5.2.2-10", func(t *testing.T) {
		lasts(t, tcpHalfOpen, "6S +15s 6S")
		lasts(t, tcpHalfOpen-10*time.Second, "6S +10s 6A", "6S +10s 4A", "6S +10s 4R", "6S +10s 6R", "6S +10s 4F", "6S +10s 6F")
	})
	row(t, "6146-3.5.2.2-11", func(t *testing.T) { lasts(t, tcpHalfOpen, "6S") })
	row(t, "6146-3.5.2.2-12", func(t *testing.T) { lasts(t, tcpOneFIN, "6S 4SA 4FA", "6S 4SA 6FA") })
	row(t, "6146-3.5.2.2-13", func(t *testing.T) {
		lasts(t, tcpTransitory, "6S 4SA 4R", "6S 4SA 6R", "6S 4SA 4RA", "6S 4SA 6RA")
	})
	row(t, "6146-3.5.2.2-14", func(t *testing.T) {
		lasts(t, tcpEstablished, "6S 4SA +1h 6A", "6S 4SA +1h 4A", "6S 4SA +1h 6SA", "6S 4SA +1h 4S")
	})
	row(t, "6146-3.5.2.2-16", func(t *testing.T) { lasts(t, tcpTransitory, "6S 4SA 4FA +1h 6FA", "6S 4SA 6FA +1h 4FA") })
	row(t, "6146-3.5.2.2-17", func(t *testing.T) {
		lasts(t, tcpOneFIN, "6S 4SA 4FA +1h 4A", "6S 4SA 4FA +1h 6A", "6S 4SA 6FA +1h 6A", "6S 4SA 6FA +1h 4A",
			"6S 4SA 4FA +1h 4FA", "6S 4SA 6FA +1h 6FA", "6S 4SA 4FA +1h 6R", "6S 4SA 6FA +1h 4R")
	})
	row(t, "6146-3.5.2.2-18", func(t *testing.T) { lasts(t, tcpOneFIN, "6S 4SA 4FA", "6S 4SA 6FA") })
	row(t, "6146-3.5.2.2-19", func(t *testing.T) {
		for _, p := range []string{"4A", "6A", "4FA", "6FA", "4R", "6R", "4S", "6S"} {
			lasts(t, tcpTransitory-time.Minute, "6S 4SA 6FA 4FA +1m "+p)
		}
	})
	row(t, "6146-3.5.2.2-20", func(t *testing.T) { lasts(t, tcpTransitory, "6S 4SA 6FA 4FA", "6S 4SA 4FA 6FA") })
	row(t, "6146-3.5.2.2-21", func(t *testing.T) {
		lasts(t, tcpEstablished, "6S 4SA 4R +1m 4A", "6S 4SA 4R +1m 6A", "6S 4SA 6R +1m 6FA", "6S 4SA 6R +1m 4SA")
		lasts(t, tcpEstablished, "6S 4SA +2h3m 6A", "6S 4SA +2h3m 4A") // TRANS by time
	})
	row(t, "6146-3.5.2.2-22", func(t *testing.T) { lasts(t, tcpTransitory-time.Minute, "6S 4SA 4R +1m 4R", "6S 4SA 6R +1m 4RA") })
	row(t, "6146-3.5.2.2-23", func(t *testing.T) { lasts(t, tcpTransitory, "6S 4SA 4R", "6S 4SA 6R") })
	row(t, "6146-3.5.2-01", func(t *testing.T) {
		// Whole connections, from both sides.
		lasts(t, tcpTransitory, "6S 4SA 6A 6PA 4A 4PA 6A +90m 6PA 4A 6FA 4A 4FA 6A")
		g := newNAT64(t, halfOpen, static(protoTCP, shared+":80", "["+hostB+"]:8080"))
		f := g.flow(protoTCP, hostB, 8080, server, 5000)
		f.at = addrPort(shared + ":80")
		f.play("4S 6SA 4A 4PA 6A +90m 6PA 4A 4FA 6FA 4A")
		is(t, "sessions", g.table.Stats().Sessions, 1)
		g.wait(tcpTransitory + 3*time.Second)
		is(t, "sessions", g.table.Stats().Sessions, 0)
	})
}

func TestRFC6146TCP(t *testing.T) {
	row(t, "6146-3.5.2-02", func(t *testing.T) {
		refusesConfig(t, "2 h 3 min 59 s", timeouts(session.Timeouts{TCP: 2*time.Hour + 239*time.Second}))
		refusesConfig(t, "3 min 59 s", timeouts(session.Timeouts{TCPTransitory: 239 * time.Second}))
		lives(t, protoTCP, "6S 4SA", 24*time.Hour, timeouts(session.Timeouts{TCP: 24 * time.Hour}))
		lives(t, protoTCP, "6S 4SA 4R", time.Hour, timeouts(session.Timeouts{TCPTransitory: time.Hour}))
	})
	row(t, "6146-3.5.2.3-01", func(t *testing.T) {
		g := newNAT64(t, pools(session.Pool{Prefix: mustPrefix("203.0.113.64/28"), Low: 1, High: 65535}))
		at := g.flow(protoUDP, hostA1, 5000, server, 80).open().at.Addr()
		parities := map[bool]bool{}
		for port := range uint16(64) {
			for _, port := range []uint16{2*port + 2, 2*port + 2000} {
				p := g.flow(protoTCP, hostA1, port, server, 80).open().at
				is(t, "address", p.Addr(), at)
				is(t, "well-known port", p.Port() < 1024, port < 1024)
				parities[p.Port()%2 == 0] = true
			}
		}
		is(t, "parities of ports for even ones", len(parities), 2)
	})
}
