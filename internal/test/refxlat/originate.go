package refxlat

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/steppe-nat64/steppe/translate"
)

// answerEcho answers the Echo Request p, or refuses any other ICMP message to
// the translator itself: RFC 1812 §4.3.3.6, RFC 4443 §4.1.
func answerEcho(p packet, request, reply uint8) (outcome, error) {
	if p.data[0] != request {
		return outcome{}, drop(translate.SelfICMP)
	}
	if !icmpRight(p) {
		return outcome{}, drop(translate.ICMPChecksum)
	}
	q := message(p.dst, p.src, append([]byte{reply, p.data[1], 0, 0}, p.data[4:]...))
	q.tos = p.tos
	return outcome{translate.Reply, translate.EchoReply, [][]byte{write(q)}}, nil
}

// message is an ICMP message of our own. Its checksum field has to be 0.
func message(src, dst netip.Addr, data []byte) packet {
	p := packet{src: src, dst: dst, ttl: 64, proto: icmp6, length: len(data), data: data}
	if src.Is4() {
		p.proto = icmp4
	}
	binary.BigEndian.PutUint16(p.data[2:], icmpChecksum(p))
	return p
}

// originate returns the ICMP error that tells the source of b of its refusal,
// or nil if it is not told.
func (x *Xlat) originate(b []byte, no *refusal) []byte {
	if no.tell == nil || x.cfg.ErrorRate < 0 {
		return nil
	}
	data := []byte{no.tell.typ, no.tell.code, 0, 0}
	data = binary.BigEndian.AppendUint32(data, no.tell.word)
	if b[0]>>4 == 4 {
		p, _ := read4(b)
		if !x.cfg.IPv4.IsValid() || !mayTell4(p) {
			return nil
		}
		q := message(x.cfg.IPv4, p.src, append(data, b[:min(p.size, 548)]...))
		q.tos = 0xc0 | p.tos&0x1e // RFC 1812 §4.3.2.5
		return write4(q)
	}
	p, _ := read6(b)
	size := p.size
	p.walk()
	if !x.cfg.IPv6.IsValid() || !mayTell6(p, no.reason) {
		return nil
	}
	return write6(message(x.cfg.IPv6, p.src, append(data, b[:min(size, 1232)]...)))
}

// mayTell4 is RFC 1812 §4.3.2.7. Multicast and broadcast destinations never come
// this far.
func mayTell4(p packet) bool {
	return p.off8 == 0 && p.proto != 2 && // IGMP: RFC 7915 §4.2
		(p.proto != icmp4 || len(p.data) > 0 && (p.data[0] == 0 || p.data[0] == 8)) &&
		!in(p.src, illegalPrefixes4) && !in(p.src, classE)
}

// mayTell6 is RFC 4443 §2.4 (e), and RFC 7915 §5.4 for the errors that are its own.
func mayTell6(p packet, reason translate.Reason) bool {
	if !mayConcern6(p, reason) || p.proto == icmp6 && p.data[0] != 128 && p.data[0] != 129 {
		return false
	}
	return p.off8 == 0 && !illegal6(p.src)
}

// mayConcern6 reports whether an error for this reason may be about p at all: RFC 7915
// §5.4 wants none of its own about ICMPv6.
func mayConcern6(p packet, reason translate.Reason) bool {
	switch reason {
	case translate.FragmentChain:
		return !mayBeICMP(p) && p.proto != icmp6
	case translate.HopLimit, translate.TooBig, translate.SourceRoute,
		translate.NoPort, translate.SessionLimit, translate.NoBinding:
		return true
	}
	return p.proto != icmp6
}

// mayBeICMP reports whether the extension headers with which the data of p begins
// may lead to ICMPv6: they do, or end before that is known.
func mayBeICMP(p packet) bool {
	next, data := p.proto, p.data
	for slices.Contains(extensions, next) {
		if len(data) < 8 {
			return true
		}
		n := 8 + 8*int(data[1])
		if next == fragHdr {
			n = 8
		} else if next == ah {
			n = 8 + 4*int(data[1])
		}
		if n >= len(data) {
			return true
		}
		next, data = data[0], data[n:]
	}
	return next == icmp6
}
