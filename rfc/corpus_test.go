package rfc

import (
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
)

// A specimen is a well-formed packet of some kind.
type specimen struct {
	name string
	pkt  []byte
}

// corpus returns packets of every kind that the translator treats in a way of its
// own, the golden packets among them. All are well formed; most are translated.
func corpus(t *testing.T) []specimen {
	t.Helper()
	goldens, err := pt.Goldens()
	if err != nil {
		t.Fatal(err)
	}
	var all []specimen
	for _, g := range goldens {
		all = append(all, specimen{g.Name, g.In})
	}
	from4, from6 := pt.From4(), pt.From6()
	noDF := with(from4, func(h *pt.Header) { h.DF = false })
	first := with(noDF, func(h *pt.Header) { h.MF, h.ID = true, 0xbeef })
	last := with(noDF, func(h *pt.Header) { h.Off8, h.ID = 5, 0xbeef })
	options := with(from4, func(h *pt.Header) { h.Options = []byte{7, 7, 4, 0, 0, 0, 0, 0} })
	routed := with(from4, func(h *pt.Header) { h.Options = []byte{0x83, 7, 4, 10, 0, 0, 1, 0} })
	data := pt.Bytes(64, 1)
	quote4, quote6 := pt.IP(sent4, udp(64)), pt.IP(sent6, udp(64))
	frag4 := with(sent4, func(h *pt.Header) { h.MF, h.ID = true, 0xbeef })
	options4 := with(sent4, func(h *pt.Header) { h.Options = []byte{1, 1, 1, 0} })

	for _, p := range []struct {
		name string
		pt.Payload
	}{
		{"udp", udp(64)},
		{"tcp", pt.TCP(5000, 6001, data)},
		{"udp-lite", pt.UDPLite(5000, 6001, 8, data)},
		{"dccp", pt.DCCP(5000, 6001, data)},
		{"sctp", pt.Raw(132, data)},
		{"esp", pt.Raw(50, data)},
		{"request", pt.EchoRequest(1, 2, data)},
		{"reply", pt.EchoReply(1, 2, data)},
	} {
		all = append(all,
			specimen{p.name + "-4to6", pt.IP(from4, p.Payload)},
			specimen{p.name + "-6to4", pt.IP(from6, p.Payload)},
			specimen{p.name + "-4to6-options", pt.IP(options, p.Payload)},
			specimen{p.name + "-6to4-extension-headers", pt.IP(from6, pt.HopByHop(8, pt.DestOpts(24, pt.Routing(0, p.Payload))))},
			specimen{p.name + "-6to4-atomic", pt.IP(from6, pt.Fragment(0x12345, 0, false, p.Payload))},
		)
	}
	return append(all,
		specimen{"first-fragment-4to6", pt.IP(first, udp(64))},
		specimen{"last-fragment-4to6", pt.IP(last, pt.Raw(17, data))},
		specimen{"first-fragment-6to4", pt.IP(from6, pt.Fragment(0xbeef, 0, true, udp(64)))},
		specimen{"last-fragment-6to4", pt.IP(from6, pt.DestOpts(8, pt.Fragment(0xbeef, 5, false, pt.Raw(6, data))))},
		specimen{"cut-4to6", pt.IP(noDF, udp(2000))},
		specimen{"source-route-4to6", pt.IP(routed, udp(64))},
		specimen{"routing-header-6to4", pt.IP(from6, pt.Routing(1, udp(64)))},
		specimen{"error-4to6", error4(3, 3, 0, quote4)},
		specimen{"error-4to6-quoting-fragment", error4(11, 1, 0, pt.IP(frag4, udp(64)))},
		specimen{"error-4to6-quoting-options", error4(12, 0, 8<<24, pt.IP(options4, pt.TCP(1, 2, data)))},
		specimen{"error-6to4", error6(1, 4, 0, quote6)},
		specimen{"error-6to4-quoting-fragment", error6(3, 1, 0, pt.IP(sent6, pt.Fragment(0xbeef, 0, true, udp(64))))},
		specimen{"error-6to4-quoting-extension-headers", error6(4, 0, 6, pt.IP(sent6, pt.HopByHop(8, pt.EchoRequest(1, 2, data))))},
		specimen{"own-echo-4", pt.IP(pt.Header{Src: pt.H4, Dst: pt.X4}, pt.EchoRequest(1, 2, data))},
		specimen{"own-echo-6", pt.IP(pt.Header{Src: pt.M6, Dst: pt.X6}, pt.EchoRequest(1, 2, data))},
		specimen{"igmp", pt.IP(from4, pt.Raw(2, data))},
		specimen{"neighbour-solicitation", pt.IP(from6, pt.ICMP(135, 0, 0, data))},
	)
}
