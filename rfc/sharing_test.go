package rfc

import (
	"net/netip"
	"time"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// sharer is Sessions that say the same of each flow to or from a shared address, but that
// let a host send to another: the first half of a hairpin.
type sharer struct{ outbound, inbound translate.FlowResult }

func (s sharer) Outbound(_ time.Duration, f *translate.Tuple6, _ uint8, to *translate.Tuple4) translate.FlowResult {
	*to = translate.Tuple4{Local: 0xcb007146, Remote: f.Remote, LocalPort: 4000, RemotePort: f.RemotePort, Proto: f.Proto}
	return s.outbound
}

func (s sharer) Inbound(_ time.Duration, f *translate.Tuple4, _ uint8, to *translate.Tuple6) translate.FlowResult {
	*to = translate.Tuple6{Host: translate.Addr6{Hi: 0x20010db8000a0000, Lo: 1}, Remote: f.Remote, HostPort: 1000, RemotePort: f.RemotePort, Proto: f.Proto}
	return s.inbound
}

func (s sharer) OutboundError(time.Duration, *translate.Tuple6, *translate.Tuple4) translate.FlowResult {
	return translate.FlowDrop
}

func (s sharer) InboundError(time.Duration, *translate.Tuple4, *translate.Tuple6) translate.FlowResult {
	return translate.FlowDrop
}

// sharing makes 203.0.113.70 a shared address whose Sessions refuse flows for a reason.
func sharing(why string) func(s *settings) {
	by := map[string]sharer{
		"no-session":      {translate.FlowDrop, translate.FlowDrop},
		"unsolicited-syn": {translate.FlowMapped, translate.FlowHold},
		"session-limit":   {translate.FlowLimit, translate.FlowLimit},
		"filtered":        {translate.FlowMapped, translate.FlowFiltered},
		"no-binding":      {translate.FlowMapped, translate.FlowNoBinding},
		"no-port":         {outbound: translate.FlowNoPort},
	}[why]
	return func(s *settings) {
		s.Shared, s.Sessions = []netip.Prefix{mustPrefix("203.0.113.70/32")}, by
	}
}

// unshared has packets for each reason for which Sessions refuse one, by the reason and
// what is special about them.
func unshared() map[string][][]byte {
	const host, server, shared = "2001:db8:a::1", "2001:db8:64::198.51.100.4", "203.0.113.70"
	var (
		data = pt.Bytes(64, 0)
		udp  = pt.UDP(1000, 53, data)
		tcp  = pt.TCP(1000, 80, data)
		echo = pt.EchoRequest(7, 1, data)
		sctp = pt.Raw(132, data)
		in   = func(p pt.Payload) []byte { return pt.IP(between("198.51.100.4", shared), p) }
		out  = func(p pt.Payload) []byte { return pt.IP(between(host, server), p) }
		hair = func(p pt.Payload) []byte { return pt.IP(between(host, "2001:db8:64::"+shared), p) }
	)
	return map[string][][]byte{
		"no-session/": {in(tcp), out(tcp), hair(tcp),
			in(pt.ICMP(3, 3, 0, pt.IP(between(shared, "198.51.100.4"), udp))),
			out(pt.ICMP(1, 4, 0, pt.IP(between(server, host), udp)))},
		"unsolicited-syn/": {in(tcp), hair(tcp)},
		"session-limit/":   {in(udp), out(udp), in(tcp), out(tcp), in(echo), out(echo)},
		"filtered/":        {in(udp), hair(udp), in(tcp), hair(tcp)},
		"filtered/Echo":    {in(echo), hair(echo)},
		"no-binding/UDP":   {in(udp), hair(udp)},
		"no-binding/Echo":  {in(echo), hair(echo)},
		"no-port/":         {out(udp), out(tcp), out(echo)},
		"other-protocol/":  {in(sctp), out(sctp), hair(sctp), in(pt.DCCP(1, 2, data)), out(pt.UDPLite(1, 2, 0, data))},
	}
}

// fragments has packets that are dropped for what came before them: fragments of shared
// addresses, for which there is no room, or which overlap.
func fragments() map[string][]refusal {
	const host, server, shared = "2001:db8:a::1", "2001:db8:64::198.51.100.4", "203.0.113.70"
	all := map[string][]refusal{}
	edit := func(s *settings) {
		sharing("no-session")(s)
		s.FragmentBytes = 128 << 10
	}
	for _, proto := range []uint8{6, 17, 1} {
		in := func(id uint32, off8 uint16, n int) []byte {
			h := between("198.51.100.4", shared)
			h.Off8, h.MF, h.DF, h.ID = off8, true, false, uint16(id)
			return pt.IP(h, pt.Raw(proto, pt.Bytes(n, 0)))
		}
		out := func(id uint32, off8 uint16, n int) []byte {
			next := proto
			if proto == 1 {
				next = 58
			}
			return pt.IP(between(host, server), pt.Fragment(id, off8, true, pt.Raw(next, pt.Bytes(n, 0))))
		}
		for family, frag := range map[string]func(id uint32, off8 uint16, n int) []byte{"IPv4": in, "IPv6": out} {
			add := func(why string, before, pkt []byte) {
				key := why + "//" + family
				all[key] = append(all[key], refusal{pkt: pkt, edit: edit, before: before})
			}
			add("fragment-room", frag(1, 8, 60000), frag(2, 8, 60000))
			add("fragment-overlap", frag(1, 8, 64), frag(1, 9, 64))
			add("fragment-overlap", frag(1, 8, 64), frag(1, 2, 64))
			add("fragment-overlap", frag(1, 8, 64), frag(1, 8, 64))
		}
	}
	return all
}

// reasonOf returns the reason with a name.
func reasonOf(name string) translate.Reason {
	for r := range translate.NumReasons {
		if translate.Reason(r).String() == name {
			return translate.Reason(r)
		}
	}
	return translate.NotChecked
}
