package bench

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// sharedBy returns a translator with a host that shares 192.0.2.7 and has a session of
// each protocol, and packets of these.
func sharedBy(t testing.TB) (x *translate.Translator, all []shape) {
	t.Helper()
	table, err := session.New(session.Config{Pools: []session.Pool{{Prefix: netip.PrefixFrom(other4, 32)}}})
	if err != nil {
		t.Fatal(err)
	}
	tc := packettest.TableConfig()
	tc.Shared, tc.Sessions = []netip.Prefix{netip.PrefixFrom(other4, 32)}, table
	x = newTranslator(t, tc)
	host := other6.As16()
	f := translate.Tuple6{Remote: 0xc6336404, HostPort: 5000, RemotePort: 6000, Pref64: 1}
	for i := range 8 {
		f.Host.Hi, f.Host.Lo = f.Host.Hi<<8|uint64(host[i]), f.Host.Lo<<8|uint64(host[8+i])
	}
	const syn, ack = 2, 16
	for _, p := range []struct {
		name  string
		proto uint8
		l4    func(src, dst uint16, data []byte) packettest.Payload
	}{
		{"tcp", 6, packettest.TCP}, {"udp", 17, packettest.UDP},
		{"icmp", 1, func(src, dst uint16, data []byte) packettest.Payload {
			return packettest.EchoRequest(min(src, dst), 1, data)
		}},
	} {
		f.Proto = p.proto
		if p.proto == 1 {
			f.RemotePort = f.HostPort
		}
		var to translate.Tuple4
		r := table.Outbound(0, &f, syn, &to)
		if r != translate.FlowMapped {
			t.Fatal(r)
		}
		table.Inbound(0, &to, syn|ack, new(translate.Tuple6))
		table.Outbound(0, &f, ack, &to)
		peer := to.RemotePort
		if p.proto == 1 {
			peer = 0xffff // of both numbers the identifier
		}
		add := func(dir string, size int, pkt []byte) {
			all = append(all, shape{
				fmt.Sprintf("dir=%s/proto=%s/size=%d", dir, p.name, size),
				traffic{pkt: pkt, restore: min(size, headers)}, translate.Forward,
			})
		}
		for _, size := range []int{64, 1400} {
			add("6to4", size, padded(packettest.Header{Src: other6, Dst: packettest.H4in6}, size,
				func(data []byte) packettest.Payload { return p.l4(f.HostPort, peer, data) }))
			add("4to6", size, padded(packettest.Header{Src: packettest.H4, Dst: other4, DF: true}, size,
				func(data []byte) packettest.Payload { return p.l4(peer, to.LocalPort, data) }))
		}
	}
	return x, all
}

// BenchmarkSessions is the cost of a packet of a host that shares an address; that of
// Translate with the same size is what it is compared with.
func BenchmarkSessions(b *testing.B) {
	x, all := sharedBy(b)
	for _, s := range all {
		b.Run(s.name, func(b *testing.B) { measure(b, x, &s.traffic, s.want, 1) })
	}
}

// TestSessions: the packets of BenchmarkSessions are forwarded, without allocation.
func TestSessions(t *testing.T) {
	x, all := sharedBy(t)
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			p := newPump(x, &s.traffic)
			if n := testing.AllocsPerRun(5, func() { p.run(batch) }); n != 0 {
				t.Errorf("%v allocations a batch", n)
			}
			p.check(t, s.want)
		})
	}
}
