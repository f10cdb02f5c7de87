package bench

import (
	"fmt"
	"testing"

	"github.com/steppe-nat64/steppe/internal/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// newWorker makes a worker with a prefix and a host map.
func newWorker(b *testing.B) *translate.Worker {
	b.Helper()
	tab, err := translate.NewTable(packettest.TableConfig())
	if err != nil {
		b.Fatal(err)
	}
	t, err := translate.New(packettest.Config(), tab, nil)
	if err != nil {
		b.Fatal(err)
	}
	return t.NewWorker()
}

// padded returns l4 filled up so that the IP packet with header h has size octets.
func padded(h packettest.Header, size int, l4 func(payload []byte) packettest.Payload) []byte {
	empty := len(packettest.IP(h, l4(nil)))
	return packettest.IP(h, l4(packettest.Bytes(max(0, size-empty), 0)))
}

func tcp(p []byte) packettest.Payload  { return packettest.TCP(1000, 2000, p) }
func udp(p []byte) packettest.Payload  { return packettest.UDP(1000, 2000, p) }
func echo(p []byte) packettest.Payload { return packettest.EchoRequest(1, 2, p) }

// BenchmarkTranslate is the cost of a packet that is restored before every run:
// its headers are copied back, since translation happens in place.
func BenchmarkTranslate(b *testing.B) {
	for _, dir := range []string{"4to6", "6to4"} {
		h := packettest.From4()
		if dir == "6to4" {
			h = packettest.From6()
		}
		for _, proto := range []struct {
			name string
			l4   func([]byte) packettest.Payload
		}{{"tcp", tcp}, {"udp", udp}, {"icmp", echo}} {
			for _, size := range []int{64, 576, 1400} {
				pkt := padded(h, size, proto.l4)
				b.Run(fmt.Sprintf("dir=%s/proto=%s/size=%d", dir, proto.name, size), func(b *testing.B) {
					run(b, pkt, translate.Offload{}, translate.Forward)
				})
			}
		}
		super := padded(h, 65000, tcp)
		o := packettest.Partial(super, 1440)
		b.Run(fmt.Sprintf("dir=%s/proto=tcp/size=64KiB/gso=1440", dir), func(b *testing.B) {
			run(b, super, o, translate.Forward)
		})

		frag := h
		frag.MF, frag.DF = true, false
		first := packettest.IP(frag, packettest.Part(udp(packettest.Bytes(1192, 0)), 0, 1200))
		if dir == "6to4" {
			first = packettest.IP(h, packettest.Fragment(7, 0, true, packettest.Part(udp(packettest.Bytes(1192, 0)), 0, 1200)))
		}
		b.Run(fmt.Sprintf("dir=%s/kind=fragment/size=1200", dir), func(b *testing.B) {
			run(b, first, translate.Offload{}, translate.Forward)
		})
		dying := h
		dying.TTL = 1
		b.Run(fmt.Sprintf("dir=%s/kind=hop-limit/size=64", dir), func(b *testing.B) {
			run(b, padded(dying, 64, udp), translate.Offload{}, translate.Reply)
		})
		back := packettest.Header{Src: h.Dst, Dst: h.Src, DF: true}
		quote := padded(back, 128, udp)
		typ := uint8(3)
		if dir == "6to4" {
			typ = 1
		}
		b.Run(fmt.Sprintf("dir=%s/kind=icmp-error/size=%d", dir, 28+len(quote)), func(b *testing.B) {
			run(b, packettest.IP(h, packettest.ICMP(typ, typ/3*2+1, 0, quote)), translate.Offload{}, translate.Forward)
		})
	}
}

// run translates pkt again and again, in batches as a daemon would.
func run(b *testing.B, pkt []byte, o translate.Offload, want translate.Verdict) {
	const batch = 32
	w := newWorker(b)
	ps := make([]translate.Packet, batch)
	for i := range ps {
		ps[i].Buf = make([]byte, translate.Headroom+len(pkt)+translate.Tailroom)
		copy(ps[i].Buf[translate.Headroom:], pkt)
	}
	head := min(len(pkt), 256) // all that translation changes
	b.SetBytes(int64(len(pkt)))
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += batch {
		for j := range ps {
			p := &ps[j]
			p.Off, p.Len, p.Offload = translate.Headroom, len(pkt), o
			copy(p.Buf[translate.Headroom:], pkt[:head])
		}
		w.TranslateBatch(ps)
	}
	b.StopTimer()
	if ps[0].Result.Verdict != want {
		b.Fatalf("%v (%v)", ps[0].Result.Verdict, ps[0].Result.Reason)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
}
