package translate

import (
	"encoding/binary"

	"github.com/steppe-nat64/steppe/internal/checksum"
)

// Sizes of the ICMP errors that we originate: as much of the packet as fits 576
// bytes (RFC 1812 §4.3.2.3) or 1280 (RFC 4443 §2.4 (c)).
const (
	maxError4  = 576
	maxError6  = minMTU6
	ownTTL     = 64
	errorTOS   = 0xc0 // precedence of network control: RFC 1812 §4.3.2.5
	keepTOS    = 0x1e
	prohibited = 13 // ICMPv4 code: RFC 7915 §4.4
)

// word reads four bytes of an ICMP header.
func word(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// refuse4 answers an IPv4 packet with an ICMPv4 error, or drops it where no
// error may be sent: RFC 1812 §4.3.2.7. The error is put before the packet,
// which is quoted as it came. rest is the second word of the ICMP header.
func (w *Worker) refuse4(p *Packet, h *header, why Reason, typ, code uint8, rest uint32) Result {
	b := p.Bytes()
	src := (*hdr4)(b).src()
	if w.s.own4 == 0 || h.off8 != 0 || class4(src) != unicast ||
		h.proto == protoICMPv4 && !h.isEcho4(b) || !w.spend(why, w.errorHost4(src)) {
		return drop(why)
	}
	h.settle(p)
	n := lenICMP + min(h.hdrLen+h.dataLen, maxError4-len4-lenICMP)
	at := p.Off - lenICMP
	putICMP(p.Buf[at:at+n], typ, code, rest, 0)
	at -= len4
	own := header{
		tos: errorTOS | h.tos&keepTOS, ttl: ownTTL, proto: protoICMPv4,
		id: uint32(w.identFor(w.s.own4, src, protoICMPv4)),
	}
	own.put4(p.Buf[at:], n, 0, w.s.own4, src)
	p.window(at, len4+n)
	return Result{Reply, why}
}

// isEcho4 reports whether the ICMPv4 message of a packet that is whole or a first
// fragment is of Echo, the one kind that errors are sent about.
func (h *header) isEcho4(b []byte) bool {
	return h.dataLen > 0 && (b[h.hdrLen] == icmp4Echo || b[h.hdrLen] == icmp4EchoReply)
}

// refuse6 answers an IPv6 packet with an ICMPv6 error, or drops it where no
// error may be sent: RFC 4443 §2.4 (e). Illegal IPv6 sources and destinations are
// gone when it is called; those that are illegal once they are IPv4 are found here.
func (w *Worker) refuse6(p *Packet, h *header, why Reason, typ, code uint8, rest uint32) Result {
	b := p.Bytes()
	src, dst := (*hdr6)(b).src(), (*hdr6)(b).dst()
	if silent := w.silent6(src, dst); silent != pass {
		return drop(silent)
	}
	if w.s.own6 == (addr6{}) || h.off8 != 0 ||
		h.proto == protoICMPv6 && isError6(b[h.hdrLen]) || !w.spend(why, w.errorHost6(src)) {
		return drop(why)
	}
	h.settle(p)
	n := lenICMP + min(h.hdrLen+h.dataLen, maxError6-len6-lenICMP)
	at := p.Off - lenICMP
	putICMP(p.Buf[at:at+n], typ, code, rest, w.s.own6.sum()+src.sum()+pseudo6(n))
	at -= len6
	own := header{ttl: ownTTL}
	own.put6(p.Buf[at:], protoICMPv6, n, w.s.own6, src)
	p.window(at, len6+n)
	return Result{Reply, why}
}

// prohibit4 answers an IPv4 packet that cannot be translated, for a reason for which
// no RFC names another error: RFC 7915 §4.4. IGMP is dropped silently: §4.2.
func (w *Worker) prohibit4(p *Packet, h *header, why Reason) Result {
	if h.proto == protoIGMP {
		return drop(why)
	}
	return w.refuse4(p, h, why, icmp4Unreachable, prohibited, 0)
}

// prohibit6 is prohibit4 for IPv6: RFC 7915 §5.4, which wants no such error about any
// ICMPv6 message.
func (w *Worker) prohibit6(p *Packet, h *header, why Reason) Result {
	if h.proto == protoICMPv6 {
		return drop(why)
	}
	return w.refuse6(p, h, why, icmp6Unreachable, 1, 0)
}

// broken6 is prohibit6 for a packet b whose extension headers read6 did not take. What
// follows a Fragment Header may hide an ICMPv6 error, about which no error may be sent.
func (w *Worker) broken6(p *Packet, h *header, b []byte, why Reason) Result {
	if why == FragmentChain && !leadsElsewhere(b) {
		return drop(why)
	}
	return w.prohibit6(p, h, why)
}

// putICMP writes the header of the ICMP message that fills msg. pseudo is the
// sum of the pseudo-header, 0 for ICMPv4.
func putICMP(msg []byte, typ, code uint8, rest uint32, pseudo uint64) {
	binary.BigEndian.PutUint64(msg, uint64(typ)<<56|uint64(code)<<48|uint64(rest)) // read as such by Sum
	binary.BigEndian.PutUint16(msg[2:], ^checksum.Fold(checksum.Sum(msg)+pseudo))
}

// unmapped4 refuses an IPv4 packet one of whose addresses has no counterpart:
// RFC 7915 §4.4. Non-global addresses are refused, too: RFC 6052 §3.1.
func (w *Worker) unmapped4(p *Packet, h *header, no refusal) Result {
	if no.bySessions() {
		return w.unshared4(p, h, no.why)
	}
	code := uint8(prohibited)
	if w.s.cfg.ICMPErrors == ErrorsTAYGA {
		code = 10 // host administratively prohibited
		if no.why == NoDestination {
			code = 1 // host unreachable
		}
	}
	return w.refuse4(p, h, no.reason(), icmp4Unreachable, code, 0)
}

// unmapped6 refuses an IPv6 packet one of whose addresses has no counterpart:
// RFC 7915 §5.4, which wants no such error about any ICMPv6 message.
func (w *Worker) unmapped6(p *Packet, h *header, no refusal) Result {
	if no.bySessions() {
		return w.unshared6(p, h, no.why)
	}
	code := uint8(1) // administratively prohibited
	if w.s.cfg.ICMPErrors == ErrorsTAYGA {
		code = 5 // source address failed policy
		if no.why == NoDestination {
			code = 0 // no route
		}
	}
	switch no.how {
	case illegal, linkLocal, embedded:
		return drop(no.reason())
	}
	if h.proto == protoICMPv6 {
		return drop(no.reason())
	}
	return w.refuse6(p, h, no.reason(), icmp6Unreachable, code, 0)
}

// self4 deals with packets to the translator's own IPv4 address: it answers Echo
// Requests, whatever their TTL, and knows no other service. RFC 1812 §4.3.3.6,
// §5.3.1.
func (w *Worker) self4(p *Packet, h *header, data []byte) Result {
	if h.proto != protoICMPv4 {
		return w.refuse4(p, h, SelfProtocol, icmp4Unreachable, 2, 0)
	}
	if data[0] != icmp4Echo {
		return drop(SelfICMP)
	}
	if checksum.Fold(checksum.Sum(data)) != 0xffff {
		return drop(ICMPChecksum)
	}
	h.settle(p)
	src := (*hdr4)(p.Bytes()).src()
	data[0] = icmp4EchoReply
	checksum.Update(data[2:], checksum.Minus(icmp4Echo<<8))
	zeroSum4(data)
	at := p.Off + h.hdrLen - len4
	h.ttl, h.id = ownTTL, uint32(w.identFor(w.s.own4, src, protoICMPv4))
	h.put4(p.Buf[at:], h.dataLen, 0, w.s.own4, src)
	p.window(at, len4+h.dataLen)
	return Result{Reply, EchoReply}
}

// self6 is self4 for the own IPv6 address: RFC 4443 §4.1, §4.2.
func (w *Worker) self6(p *Packet, h *header, data []byte) Result {
	if h.proto != protoICMPv6 {
		return w.refuse6(p, h, SelfProtocol, icmp6ParamProblem, 1, uint32(h.nextOff))
	}
	if data[0] != icmp6Echo {
		return drop(SelfICMP)
	}
	src := (*hdr6)(p.Bytes()).src()
	if checksum.Fold(checksum.Sum(data)+src.sum()+w.s.own6.sum()+pseudo6(h.dataLen)) != 0xffff {
		return drop(ICMPChecksum)
	}
	if silent := w.silent6(src, w.s.own6); silent != pass {
		return drop(silent)
	}
	h.settle(p)
	data[0] = icmp6EchoReply
	checksum.Update(data[2:], 1<<8)
	at := p.Off + h.hdrLen - len6
	h.ttl = ownTTL
	h.put6(p.Buf[at:], protoICMPv6, h.dataLen, w.s.own6, src)
	p.window(at, len6+h.dataLen)
	return Result{Reply, EchoReply}
}
