package bench

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// A shape is one line of BenchmarkTranslate.
type shape struct {
	name string
	traffic
	want translate.Verdict
}

// l4 makes a transport header with the given payload.
type l4 func(payload []byte) packettest.Payload

var protos = []struct {
	name string
	l4
}{
	{"tcp", func(p []byte) packettest.Payload { return packettest.TCP(1000, 2000, p) }},
	{"udp", func(p []byte) packettest.Payload { return packettest.UDP(1000, 2000, p) }},
	{"icmp", func(p []byte) packettest.Payload { return packettest.EchoRequest(1, 2, p) }},
}

var sizes = []int{64, 576, 1400}

// padded returns a packet of size bytes.
func padded(h packettest.Header, size int, l4 l4) []byte {
	empty := len(packettest.IP(h, l4(nil)))
	return packettest.IP(h, l4(packettest.Bytes(size-empty, 0)))
}

// directions calls f for each direction, with the header of its plain packet.
func directions(f func(name string, h packettest.Header)) {
	f("4to6", packettest.From4())
	f("6to4", packettest.From6())
}

// shapes lists the packets of a direction: those that are forwarded whole, large
// ones that the kernel has not cut yet, fragments, ICMP errors, and what is
// dropped silently or answered with an ICMP error.
func shapes(h packettest.Header) (all []shape) {
	add := func(proto, kind string, pkt []byte, o translate.Offload, restore int, want translate.Verdict) {
		size := fmt.Sprint(len(pkt))
		if o.GSOSize > 0 {
			size = fmt.Sprintf("64KiB/gso=%d", o.GSOSize)
		}
		name := fmt.Sprintf("proto=%s/kind=%s/size=%s", proto, kind, size)
		all = append(all, shape{name, traffic{pkt: pkt, offload: o, restore: min(restore, len(pkt))}, want})
	}
	for _, p := range protos {
		for _, size := range sizes {
			add(p.name, "plain", padded(h, size, p.l4), translate.Offload{}, headers, translate.Forward)
		}
	}
	for _, p := range protos[:2] { // ICMP has no super-packets
		for _, segment := range []int{536, 1220, 1400} {
			super := padded(h, 65000, p.l4)
			add(p.name, "plain", super, packettest.Partial(super, segment), headers, translate.Forward)
		}
	}
	for _, p := range protos[:2] { // and its fragments are refused: RFC 7915 §1.2
		for _, size := range []int{64, 576, 1200} { // IPv4 fragments above 1252 are cut again: RFC 7915 §4
			add(p.name, "fragment", lastFragment(h, size, p.l4), translate.Offload{}, headers, translate.Forward)
		}
	}
	for _, quote := range []int{100, 540} {
		e := icmpError(h, quote)
		add("icmp", "error", e, translate.Offload{}, len(e), translate.Forward)
	}
	illegal := h
	illegal.Src = netip.MustParseAddr("127.0.0.1")
	if h.Src.Is6() {
		illegal.Src = netip.IPv6Loopback()
	}
	dying := h
	dying.TTL = 1
	for _, size := range sizes {
		add("tcp", "refused", padded(illegal, size, protos[0].l4), translate.Offload{}, headers, translate.Drop)
		add("tcp", "answered", padded(dying, size, protos[0].l4), translate.Offload{}, headers, translate.Reply)
	}
	return all
}

// lastFragment is the end of a packet of which 2,000 bytes went before.
func lastFragment(h packettest.Header, size int, l4 l4) []byte {
	const before = 2000
	h.DF = false
	part := func(p []byte) packettest.Payload {
		whole := l4(packettest.Bytes(before+len(p), 0))
		return packettest.Part(whole, before, before+len(p))
	}
	if h.Src.Is4() {
		h.Off8 = before / 8
		return padded(h, size, part)
	}
	return padded(h, size, func(p []byte) packettest.Payload {
		return packettest.Fragment(7, before/8, false, part(p))
	})
}

// icmpError is a Port Unreachable about a UDP packet of the other direction, of
// which quote bytes are quoted.
func icmpError(h packettest.Header, quote int) []byte {
	about := padded(packettest.Header{Src: h.Dst, Dst: h.Src, DF: true}, quote, protos[1].l4)
	if h.Src.Is4() {
		return packettest.IP(h, packettest.ICMP(3, 3, 0, about))
	}
	return packettest.IP(h, packettest.ICMP(1, 4, 0, about))
}

// BenchmarkTranslate is the cost of a packet, with a prefix and a host map.
func BenchmarkTranslate(b *testing.B) {
	t := newTranslator(b, packettest.TableConfig())
	directions(func(dir string, h packettest.Header) {
		for _, s := range shapes(h) {
			b.Run("dir="+dir+"/"+s.name, func(b *testing.B) { measure(b, t, &s.traffic, s.want, 1) })
		}
	})
}

// TestShapes holds every packet of BenchmarkTranslate to its verdict, and the
// loop that measures them to not allocating.
func TestShapes(t *testing.T) {
	x := newTranslator(t, packettest.TableConfig())
	directions(func(dir string, h packettest.Header) {
		for _, s := range shapes(h) {
			t.Run("dir="+dir+"/"+s.name, func(t *testing.T) {
				p := newPump(x, &s.traffic)
				if n := testing.AllocsPerRun(5, func() { p.run(batch) }); n != 0 {
					t.Errorf("%v allocations a batch", n)
				}
				p.check(t, s.want)
			})
		}
	})
}

// BenchmarkTranslateParallel lets workers loose on one translator. What they
// carry together should grow with their number, as far as there are CPUs.
func BenchmarkTranslateParallel(b *testing.B) {
	t := newTranslator(b, packettest.TableConfig())
	directions(func(dir string, h packettest.Header) {
		tr := traffic{pkt: padded(h, 64, protos[0].l4), restore: headers}
		for _, workers := range []int{1, 2, 4} {
			b.Run(fmt.Sprintf("dir=%s/proto=tcp/kind=plain/size=64/workers=%d", dir, workers), func(b *testing.B) {
				measure(b, t, &tr, translate.Forward, workers)
			})
		}
	})
}

// BenchmarkRestore is what the other benchmarks spend on putting packets back
// into the state in which they came. It is contained in their figures.
func BenchmarkRestore(b *testing.B) {
	t := newTranslator(b, packettest.TableConfig())
	p := newPump(t, &traffic{pkt: padded(packettest.From6(), 64, protos[0].l4), restore: headers})
	b.ReportAllocs()
	measureSingle(b, func() {
		for i := 0; i < b.N; i += batch {
			p.fill()
		}
	})
}
