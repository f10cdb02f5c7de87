package translate_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// mapped returns a worker with the tables of packettest and a portMapper.
func mapped(t *testing.T, edit func(*translate.Config)) *translate.Worker {
	t.Helper()
	cfg := pt.Config()
	if edit != nil {
		edit(&cfg)
	}
	tr := build(t, cfg, translate.ShareWith(pt.TableConfig(), translate.PortMapper))
	return tr.NewWorker()
}

// become translates a packet that has to be forwarded, and checks that it is well
// formed and that its checksums are right.
func become(t *testing.T, w *translate.Worker, in []byte) []byte {
	t.Helper()
	p := pt.Buffer(in)
	if res := w.Translate(0, &p); res.Verdict != translate.Forward {
		t.Fatalf("%v (%v), want a translated packet\nin %x", res.Verdict, res.Reason, in)
	}
	if err := pt.Check(p.Bytes()); err != nil {
		t.Errorf("%v\nin  %x\nout %x", err, in, p.Bytes())
	}
	return p.Bytes()
}

// samePacket compares packets, but for identification and header checksum of IPv4.
func samePacket(t *testing.T, got, want []byte) {
	t.Helper()
	blank := func(b []byte) []byte {
		if b[0]>>4 == 4 {
			return pt.Edit(b, func(b []byte) { clear(b[4:6]); clear(b[10:12]) })
		}
		return b
	}
	if d := pt.Equal(blank(want), blank(got)); d != "" {
		t.Error(d)
	}
}

// TestMapperPorts: Sessions that rewrite ports work with every writer as it is.
// Packets built with the ports that they should have are the golden ones.
func TestMapperPorts(t *testing.T) {
	h1, h2 := netip.MustParseAddr("2001:db8:a::1"), netip.MustParseAddr("2001:db8:a::2")
	embedded := func(a netip.Addr) netip.Addr {
		e, err := translate.Embed(pt.P, a)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	data := pt.Bytes(64, 3)
	from6 := pt.Header{Src: h1, Dst: pt.H4in6, TTL: 64}
	to4 := pt.Header{Src: translate.Shared, Dst: pt.H4, TTL: 63}
	from4 := pt.Header{Src: pt.H4, Dst: translate.Shared, TTL: 64, DF: true}
	to6 := pt.Header{Src: pt.H4in6, Dst: h1, TTL: 63}
	hair6 := pt.Header{Src: h1, Dst: embedded(translate.Shared), TTL: 64}
	hairTo := pt.Header{Src: embedded(translate.Shared), Dst: h2, TTL: 63}
	for _, c := range []struct {
		name     string
		in, want []byte
	}{
		{"tcp-6to4", pt.IP(from6, pt.TCP(1001, 80, data)), pt.IP(to4, pt.TCP(40001, 80, data))},
		{"tcp-4to6", pt.IP(from4, pt.TCP(80, 40001, data)), pt.IP(to6, pt.TCP(80, 1001, data))},
		{"udp-6to4", pt.IP(from6, pt.UDP(1001, 53, data)), pt.IP(to4, pt.UDP(40001, 53, data))},
		{"udp-4to6", pt.IP(from4, pt.UDP(53, 40001, data)), pt.IP(to6, pt.UDP(53, 1001, data))},
		{"echo-6to4", pt.IP(from6, pt.EchoRequest(11, 7, data)), pt.IP(to4, pt.EchoRequest(41, 7, data))},
		{"echo-4to6", pt.IP(from4, pt.EchoReply(41, 7, data)), pt.IP(to6, pt.EchoReply(11, 7, data))},
		{"tcp-hairpin", pt.IP(hair6, pt.TCP(1001, 40002, data)), pt.IP(hairTo, pt.TCP(40001, 1002, data))},
		{"udp-hairpin", pt.IP(hair6, pt.UDP(1001, 40002, data)), pt.IP(hairTo, pt.UDP(40001, 1002, data))},
		{"error-4to6", // a router in IPv4 about a packet of the first host
			pt.IP(pt.Header{Src: pt.R4, Dst: translate.Shared, TTL: 64}, pt.ICMP(3, 1, 0, pt.IP(pt.Header{Src: translate.Shared, Dst: pt.H4, TTL: 5}, pt.UDP(40001, 53, data)))),
			pt.IP(pt.Header{Src: embedded(pt.R4), Dst: h1, TTL: 63}, pt.ICMP(1, 0, 0, pt.IP(pt.Header{Src: h1, Dst: pt.H4in6, TTL: 5}, pt.UDP(1001, 53, data))))},
		{"error-4to6-echo",
			pt.IP(pt.Header{Src: pt.R4, Dst: translate.Shared, TTL: 64}, pt.ICMP(11, 0, 0, pt.IP(pt.Header{Src: translate.Shared, Dst: pt.H4, TTL: 1}, pt.EchoRequest(41, 7, data)))),
			pt.IP(pt.Header{Src: embedded(pt.R4), Dst: h1, TTL: 63}, pt.ICMP(3, 0, 0, pt.IP(pt.Header{Src: h1, Dst: pt.H4in6, TTL: 1}, pt.EchoRequest(11, 7, data))))},
		{"error-6to4", // the host itself about a packet to it
			pt.IP(pt.Header{Src: h1, Dst: pt.H4in6, TTL: 64}, pt.ICMP(1, 4, 0, pt.IP(pt.Header{Src: pt.H4in6, Dst: h1, TTL: 5}, pt.UDP(53, 1001, data)))),
			pt.IP(pt.Header{Src: translate.Shared, Dst: pt.H4, TTL: 63}, pt.ICMP(3, 3, 0, pt.IP(pt.Header{Src: pt.H4, Dst: translate.Shared, TTL: 5}, pt.UDP(53, 40001, data))))},
		{"error-6to4-of-router", // a router, which has no mapping, about a packet to the host
			pt.IP(pt.Header{Src: pt.R6, Dst: pt.H4in6, TTL: 64}, pt.ICMP(3, 0, 0, pt.IP(pt.Header{Src: pt.H4in6, Dst: h1, TTL: 1}, pt.UDP(53, 1001, data)))),
			pt.IP(pt.Header{Src: pt.X4, Dst: pt.H4, TTL: 63}, pt.ICMP(11, 0, 0, pt.IP(pt.Header{Src: pt.H4, Dst: translate.Shared, TTL: 1}, pt.UDP(53, 40001, data))))},
		{"error-hairpin", // the second host about a packet of the first
			pt.IP(pt.Header{Src: h2, Dst: embedded(translate.Shared), TTL: 64}, pt.ICMP(1, 4, 0, pt.IP(pt.Header{Src: embedded(translate.Shared), Dst: h2, TTL: 5}, pt.UDP(40001, 1002, data)))),
			pt.IP(pt.Header{Src: embedded(translate.Shared), Dst: h1, TTL: 63}, pt.ICMP(1, 4, 0, pt.IP(pt.Header{Src: h1, Dst: embedded(translate.Shared), TTL: 5}, pt.UDP(1001, 40002, data))))},
	} {
		t.Run(c.name, func(t *testing.T) {
			samePacket(t, become(t, mapped(t, nil), c.in), c.want)
		})
	}
}

// TestMapperOffload: the same for partial checksums, which cover no ports, and for
// super-packets, which stay whole.
func TestMapperOffload(t *testing.T) {
	h1 := netip.MustParseAddr("2001:db8:a::1")
	for _, c := range []struct {
		name string
		in   []byte
		port int // where the rewritten port is, after the IP header
		want uint16
	}{
		{"6to4", pt.IP(pt.Header{Src: h1, Dst: pt.H4in6}, pt.TCP(1001, 80, pt.Bytes(4000, 1))), 0, 40001},
		{"4to6", pt.IP(pt.Header{Src: pt.H4, Dst: translate.Shared, DF: true}, pt.TCP(80, 40001, pt.Bytes(4000, 1))), 2, 1001},
	} {
		for _, gso := range []int{0, 1000} {
			w := mapped(t, func(c *translate.Config) { c.MTU4, c.MTU6 = 9000, 9000 })
			p := pt.Buffer(c.in)
			p.Offload = pt.Partial(p.Bytes(), gso)
			if res := w.Translate(0, &p); res.Verdict != translate.Forward {
				t.Fatalf("%s: %v", c.name, res)
			}
			out, o := p.Bytes(), p.Offload
			if int(o.GSOSize) != gso || o.Flags != translate.OffloadNeedsCsum {
				t.Errorf("%s: %+v", c.name, o)
			}
			if got := binary.BigEndian.Uint16(out[int(o.CsumStart)+c.port:]); got != c.want {
				t.Errorf("%s: port %d, want %d", c.name, got, c.want)
			}
			// Completed as the device would, the checksum is right.
			l4 := out[o.CsumStart:]
			binary.BigEndian.PutUint16(l4[o.CsumOffset:], ^onesSum(l4))
			if err := pt.Check(out); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
}

// TestMapperAsked: flows are not remembered by addresses alone, and what Sessions
// do not know goes by the tables.
func TestMapperAsked(t *testing.T) {
	w := mapped(t, nil)
	h1 := netip.MustParseAddr("2001:db8:a::1")
	for range 2 {
		for _, port := range []uint16{1001, 7} {
			p := pt.Buffer(pt.IP(pt.Header{Src: h1, Dst: pt.H4in6}, pt.UDP(port, 53, nil)))
			want := translate.Result{Verdict: translate.Forward, Reason: translate.Translated}
			if port == 7 {
				want = translate.Result{Verdict: translate.Reply, Reason: translate.NoSource}
			}
			if res := w.Translate(0, &p); res != want {
				t.Errorf("port %d: %v, want %v", port, res, want)
			}
		}
	}
	samePacket(t, become(t, w, pt.IP(pt.From4(), pt.UDP(1, 2, nil))), become(t, mapped(t, nil), pt.IP(pt.From4(), pt.UDP(1, 2, nil))))
}

// onesSum is the one's complement sum of b.
func onesSum(b []byte) uint16 {
	s := uint32(0)
	for i := range b {
		s += uint32(b[i]) << (8 * (1 - i%2))
		s = s&0xffff + s>>16
	}
	return uint16(s)
}
