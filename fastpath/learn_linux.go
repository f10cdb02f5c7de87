package fastpath

import (
	"encoding/binary"
	"net/netip"

	"github.com/steppe-nat64/steppe/translate"
)

// LearnBytes is how many bytes of a packet Learn looks at, at most.
const LearnBytes = 40 + 20

// Learn notes what the translation of a plain packet says about its host or session. was are
// the first bytes of the packet as it came, LearnBytes or all; is is the packet that the
// translator has made of it, with the verdict Forward and the reason Translated. shared says
// that hosts share the IPv4 address, so that it was Sessions that mapped the packet. Of other
// packets than those that the program would translate, nothing is noted.
//
// generation is what Generation returned before the batch of the packet was translated.
func (c *Cache) Learn(generation uint32, was, is []byte, shared bool) error {
	r := c.rulesOf(generation)
	if r == nil {
		return nil
	}
	t6, t4, ok := r.flow(was, is)
	switch {
	case !ok:
		return nil
	case shared && t6.Proto == 6 && controls(was):
		return nil // it begins or ends the session
	case shared:
		return c.PutSession(generation, &t6, &t4)
	case was[0]>>4 == 4:
		return c.PutHost4(generation, array4(t4.Local), array16(t6.Host), t6.Pref64)
	}
	return c.PutHost6(generation, array16(t6.Host), t6.Pref64, array4(t4.Local))
}

// Flow returns the flow of a plain packet as either family sees it, before and after its
// translation: see Learn. It reports false for packets that the program leaves to the
// translator, and if the generation has ended.
func (c *Cache) Flow(generation uint32, was, is []byte) (t6 translate.Tuple6, t4 translate.Tuple4, ok bool) {
	r := c.rulesOf(generation)
	if r == nil {
		return t6, t4, false
	}
	return r.flow(was, is)
}

// controls reports whether a TCP packet without IP options has the flag SYN, FIN or RST.
func controls(pkt []byte) bool {
	at := 20 + 13
	if pkt[0]>>4 == 6 {
		at += 20
	}
	return len(pkt) <= at || pkt[at]&7 != 0
}

// flow returns the flow of a packet as either family sees it.
func (r *Rules) flow(was, is []byte) (t6 translate.Tuple6, t4 translate.Tuple4, ok bool) {
	if len(was) < 20 || len(is) < 20 || was[0]>>4 == is[0]>>4 {
		return t6, t4, false
	}
	p4, p6 := was, is
	from4 := was[0]>>4 == 4
	if !from4 {
		p4, p6 = is, was
	}
	if len(p6) < 40 || p4[0] != 0x45 || p4[6]&0x3f|p4[7] != 0 {
		return t6, t4, false
	}
	if p4[9] == protoUDP && r.data.flags&leaveUDP != 0 {
		return t6, t4, false
	}
	src6, dst6 := [16]byte(p6[8:]), [16]byte(p6[24:])
	src4, dst4 := [4]byte(p4[12:]), [4]byte(p4[16:])
	t6.Proto, t4.Proto = p6[6], p4[9]
	host, peer, local, remote := src6, dst6, src4, dst4
	if from4 {
		host, peer, local, remote = dst6, src6, dst4, src4
	}
	if !r.isPeer(remote) {
		return t6, t4, false
	}
	index := r.of(netip.AddrFrom16(peer))
	if index < 0 {
		return t6, t4, false
	}
	t6.Host.Hi, t6.Host.Lo = halves(host)
	t6.Pref64 = r.prefixes[index].number
	t6.Remote, t4.Remote = binary.BigEndian.Uint32(remote[:]), binary.BigEndian.Uint32(remote[:])
	t4.Local = binary.BigEndian.Uint32(local[:])

	src, dst, ok6 := ports(p6[6], p6[40:])
	t6.HostPort, t6.RemotePort = src, dst
	src, dst, ok4 := ports(p4[9], p4[20:])
	t4.LocalPort, t4.RemotePort = src, dst
	if from4 {
		t6.HostPort, t6.RemotePort = t6.RemotePort, t6.HostPort
		t4.LocalPort, t4.RemotePort = t4.RemotePort, t4.LocalPort
	}
	return t6, t4, ok6 && ok4
}

// ports returns the ports of a transport header; of an ICMP Echo message both are the
// identifier. It reports false for packets that the program leaves to the translator.
func ports(proto uint8, data []byte) (src, dst uint16, ok bool) {
	switch proto {
	case 6, 17:
		if len(data) < 4 {
			return 0, 0, false
		}
		return binary.BigEndian.Uint16(data), binary.BigEndian.Uint16(data[2:]), true
	case protoICMP4, protoICMP6:
		if len(data) < 6 || data[0] != 0 && data[0] != 8 && data[0] != 128 && data[0] != 129 {
			return 0, 0, false
		}
		id := binary.BigEndian.Uint16(data[4:])
		return id, id, true
	}
	return 0, 0, true
}

func array16(a translate.Addr6) (b [16]byte) {
	binary.BigEndian.PutUint64(b[:], a.Hi)
	binary.BigEndian.PutUint64(b[8:], a.Lo)
	return b
}
