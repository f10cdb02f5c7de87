package rfc

import (
	"testing"
	"time"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

func TestRFC6146Limits(t *testing.T) {
	row(t, "6146-5.3-01", func(t *testing.T) {
		for name, c := range map[string]struct {
			session.Limits
			script  string // of each connection
			inbound bool
		}{
			"total":            {session.Limits{Sessions: 8, PerPrefix: 8, HalfOpen: 8, HalfOpenPerPrefix: 8}, "6S 4SA", false},
			"half-open":        {session.Limits{HalfOpen: 8}, "6S", false},
			"prefix":           {session.Limits{PerPrefix: 8}, "6S 4SA", false},
			"prefix-half-open": {session.Limits{HalfOpenPerPrefix: 8}, "6S", false},
			"inbound":          {session.Limits{Inbound: 8, PerPrefix: 16}, "", true},
		} {
			t.Run(name, func(t *testing.T) {
				g := newNAT64(t, limits(c.Limits), static(protoTCP, shared+":80", "["+hostA1+"]:80"))
				var flows []*flow
				for i := range uint16(8) {
					f := g.flow(protoTCP, hostA1, 5000+i, server, 80)
					if c.inbound {
						f = g.flow(protoTCP, hostA1, 80, server, 5000+i)
						f.at = addrPort(shared + ":80")
						f.in(pt.FlagSYN)
					} else {
						f.play(c.script)
					}
					flows = append(flows, f)
				}
				if c.inbound {
					f := g.flow(protoTCP, hostA1, 80, server, 6000)
					f.at = addrPort(shared + ":80")
					f.inDropped(pt.FlagSYN, translate.SessionLimit)
					g.flow(protoTCP, hostA1, 5000, server, 80).open() // those of hosts are apart
				} else {
					g.err6(g.flow(protoTCP, hostA2, 6000, server, 80).packet6(pt.FlagSYN), 1, 3)
				}
				for _, f := range flows { // what there is goes on
					f.out(pt.FlagSYN | pt.FlagACK)
				}
			})
		}
		// One prefix at its limit takes nothing from another.
		g := newNAT64(t, limits(session.Limits{PerPrefix: 1}))
		g.flow(protoUDP, hostA1, 5000, server, 80).open()
		g.err6(g.flow(protoUDP, hostA2, 5000, server, 80).packet6(0), 1, 3)
		g.flow(protoUDP, hostB, 5000, server, 80).open()
	})
	row(t, "6146-3.5.2-03", func(t *testing.T) {
		// A flood of SYNs from IPv4 makes no session, and takes none from hosts.
		g := newNAT64(t, limits(session.Limits{Sessions: 16, PerPrefix: 16, Inbound: 16, HalfOpen: 16, HalfOpenPerPrefix: 16}))
		for i := range 2000 {
			h := between(server, shared)
			g.send(pt.IP(h, pt.Segment(uint16(i), uint16(2*i), pt.FlagSYN, nil)))
		}
		is(t, "sessions", g.table.Stats().Sessions, 0)
		f := g.flow(protoTCP, hostA1, 5000, server, 80).play("6S 4SA 6A")
		// One from IPv6 takes what a limit gives, until its time is over; connections go on.
		for i := range uint16(100) {
			g.send(g.flow(protoTCP, hostB, 1000+i, server, 80).packet6(pt.FlagSYN))
		}
		is(t, "sessions", g.table.Stats().Sessions, 16)
		f.out(pt.FlagACK).in(pt.FlagACK)
		g.wait(5 * time.Minute)
		is(t, "sessions", g.table.Stats().Sessions, 1)
		g.flow(protoTCP, hostC, 5000, server, 80).open()
	})
}
