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

// fragmentsOf returns UDP datagrams of 2,000 bytes of the host of sharedBy and to it, in two
// fragments each, and where their identification is.
func fragmentsOf(t testing.TB, x *translate.Translator) (pairs [2][][]byte, at [2]int) {
	t.Helper()
	data := packettest.Bytes(2000, 1)
	out := packettest.IP(packettest.Header{Src: other6, Dst: packettest.H4in6}, packettest.UDP(5000, 6000, data))
	small := packettest.Buffer(packettest.IP(packettest.Header{Src: other6, Dst: packettest.H4in6}, packettest.UDP(5000, 6000, nil)))
	if res := x.NewWorker().Translate(0, &small); res.Verdict != translate.Forward {
		t.Fatal(res)
	}
	port := uint16(small.Bytes()[20])<<8 | uint16(small.Bytes()[21])
	in := packettest.IP(packettest.Header{Src: packettest.H4, Dst: other4}, packettest.UDP(6000, port, data))
	return [2][][]byte{packettest.Fragments(out, 1280, 0), packettest.Fragments(in, 1260, 0)}, [2]int{44, 4}
}

// BenchmarkSharedFragments is the cost of a fragment of a host that shares an address: in
// order, and with the second one first, which waits and leaves by Emit.
func BenchmarkSharedFragments(b *testing.B) {
	x, _ := sharedBy(b)
	pairs, at := fragmentsOf(b, x)
	for i, dir := range []string{"6to4", "4to6"} {
		for _, order := range []string{"forward", "reversed"} {
			b.Run(fmt.Sprintf("dir=%s/order=%s", dir, order), func(b *testing.B) {
				w, id := x.NewWorker(), uint16(0)
				ps, late := translate.NewPackets(2, 1500), translate.NewPackets(2, 1500)
				b.ReportAllocs()
				for b.Loop() {
					if id++; id == 0 {
						id = 1
					}
					for j, f := range pairs[i] {
						if order == "reversed" {
							j = 1 - j
						}
						f[at[i]], f[at[i]+1] = byte(id>>8), byte(id)
						if i == 1 {
							setHeaderSum(f)
						}
						ps[j].Set(f)
					}
					w.TranslateBatch(0, ps)
					if _, next := w.Emit(0, late); next != translate.Never {
						b.Fatal("a fragment waits")
					}
				}
			})
		}
	}
}

// setHeaderSum sets the checksum of an IPv4 header of 20 bytes.
func setHeaderSum(b []byte) {
	b[10], b[11] = 0, 0
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	sum = sum&0xffff + sum>>16
	sum = sum&0xffff + sum>>16
	b[10], b[11] = byte(^sum>>8), byte(^sum)
}
