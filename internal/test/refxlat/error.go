package refxlat

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/steppe-nat64/steppe/translate"
)

// icmpError is an ICMP error taken apart.
type icmpError struct {
	typ, code uint8
	word      uint32 // MTU or pointer where the type has one
	quoted    packet
	ext       []byte // RFC 4884 extension after the quote; nil if none
}

// readError takes the ICMP error p apart, whose type is known to have a
// counterpart.
func readError(p packet) (icmpError, error) {
	e := icmpError{typ: p.data[0], code: p.data[1]}
	length := 0
	if p.is4() {
		length = int(p.data[5]) * 4
		switch {
		case e.typ == 3 && e.code == 4:
			e.word = uint32(binary.BigEndian.Uint16(p.data[6:]))
		case e.typ == 12:
			e.word = uint32(p.data[4])
		}
	} else if e.typ == 1 || e.typ == 3 {
		length = int(p.data[4]) * 8
	} else {
		e.word = binary.BigEndian.Uint32(p.data[4:])
	}
	quote := p.data[8:]
	if length > len(quote) {
		return e, drop(translate.ICMPExtension)
	}
	if length > 0 {
		if length < len(quote) {
			e.ext = quote[length:]
		}
		quote = quote[:length]
	}
	var err error
	e.quoted, err = readQuote(quote, p.is4())
	return e, err
}

// readQuote takes a quoted packet apart. Its headers have to be all there, down
// to the first byte of ICMP.
func readQuote(b []byte, is4 bool) (packet, error) {
	var q packet
	var ok bool
	if is4 {
		q, ok = read4(b)
		switch q.proto {
		case hopByHop, 2, routing, fragHdr, icmp6, destOpts:
			ok = false
		}
	} else {
		q, ok = read6(b)
		ok = ok && q.walk() == nil && q.routingAt == 0 && q.proto != icmp4
	}
	if !ok {
		return q, drop(translate.ICMPQuote)
	}
	if q.proto == icmp4 || q.proto == icmp6 {
		if q.fragment() || len(q.data) < 1 {
			return q, drop(translate.ICMPQuote)
		}
		return q, checkQuotedType(q.data[0], is4)
	}
	return q, nil
}

// errorFrom4 translates the ICMPv4 error p: RFC 7915 §4.2, §4.3.
func (x *Xlat) errorFrom4(p packet) (outcome, error) {
	if !icmpRight(p) {
		return outcome{}, drop(translate.ICMPChecksum)
	}
	if x.shares(p.dst) {
		return x.sharedErrorFrom4(p)
	}
	var quotedDst netip.Addr
	if len(p.data) >= 8+20 && p.data[8]>>4 == 4 {
		quotedDst = netip.AddrFrom4([4]byte(p.data[8+16:]))
	}
	src, dst, err := x.outer6(p, true, quotedDst, x.usual())
	if err != nil {
		return outcome{}, err
	}
	if x.errorLoop4(p.src, p.dst, quotedDst) {
		return outcome{}, drop(translate.NoDestination)
	}
	e, err := readError(p)
	if err != nil {
		return outcome{}, err
	}
	quoted := e.quoted
	e, err = x.turnError6(e, x.usual())
	if err != nil {
		return outcome{}, err
	}
	if x.comesBack(x.to6(p.dst, x.usual())) && x.mapless(quoted.dst, true) {
		return outcome{}, drop(translate.NoDestination)
	}
	q := x.turn6(p, src, dst)
	q.ttl--
	return forward(writeError(q, e)), nil
}

// errorFrom6 translates the ICMPv6 error p: RFC 7915 §5.2, §5.3.
func (x *Xlat) errorFrom6(p packet, o outer) (outcome, error) {
	e, err := readError(p)
	if err != nil {
		return outcome{}, err
	}
	e, quotedSrc, err := x.turnError4(e, o.quoted)
	if err != nil {
		return outcome{}, err
	}
	q := x.turn4(p, o.src, o.dst.addr)
	q.ttl--

	// RFC 7757 §4.2.2: the quoted packet came from another IPv6 host, to which
	// its IPv4 source belongs. Back into IPv6, by the rules of §4.2.1.
	_, covered := x.leadsBack(quotedSrc.addr)
	if covered && quotedSrc.how == byPrefix && x.cfg.Hairpin == translate.HairpinIntrinsic {
		if x.shares(q.dst) {
			return x.sharedErrorBack(q, e)
		}
		w := way{prefix: quotedSrc.prefix, simple: true}
		if x.comesBack(x.to6(q.dst, w)) {
			return outcome{}, drop(translate.NoDestination)
		}
		src, dst, err := x.outer6(q, true, e.quoted.dst, w)
		if err != nil {
			return outcome{}, err
		}
		e, err := x.turnError6(e, w)
		if err != nil {
			return outcome{}, err
		}
		pkt := writeError(x.turn6(q, src, dst), e)
		return outcome{translate.Forward, translate.Hairpinned, [][]byte{pkt}}, nil
	}

	if o.ownSource && x.cfg.NodeAddress {
		if ext := withNode(e.ext, p.src); fits(q, ext) {
			e.ext = ext
		}
	}
	return forward(writeError(q, e)), nil
}

// turnError6 makes an ICMPv6 error of an ICMPv4 one.
func (x *Xlat) turnError6(e icmpError, w way) (icmpError, error) {
	s := x.to6(e.quoted.src, w)
	return x.quote6(e, s, x.across(s, w), portPair{})
}

// quote6 is turnError6 for a quoted packet whose source is s, with the ports n if these are
// set.
func (x *Xlat) quote6(e icmpError, s mapping, w way, n portPair) (icmpError, error) {
	q := e.quoted
	d := x.to6(q.dst, w)
	if w.simple {
		d = x.compose6(q.dst, w.prefix)
	}
	if s.how == unmapped || s.nonGlobal || x.illegal4(q.src) ||
		d.how == unmapped || d.nonGlobal || x.illegal4(q.dst) || x.staysLocal(q.src) || x.staysLocal(q.dst) {
		return e, drop(translate.ICMPQuote)
	}
	t := icmpError{quoted: x.turn6(q, s.addr, d.addr), ext: e.ext}
	t.typ, t.code, _ = types4to6(e.typ, e.code)
	switch {
	case e.typ == 3 && e.code == 4:
		t.word = uint32(x.mtu4to6(int(e.word), q.size))
	case e.typ == 3 && e.code == 2:
		t.word = 6 // points to Next Header
	case e.typ == 12:
		t.word, _ = pointer4to6(uint8(e.word))
	}
	if t.typ == 2 || t.typ == 4 {
		t.ext = nil // their second word has no room for a length
	}
	turnEcho(q, t.quoted, types4to6, n)
	return t, nil
}

// turnError4 makes an ICMPv4 error of an ICMPv6 one. host is the session of the quoted packet
// if its destination shares an address. It returns, too, how the quoted source was mapped.
func (x *Xlat) turnError4(e icmpError, host *tracked) (icmpError, mapping, error) {
	q := e.quoted
	s := x.host4(q.src, x.static4(q.dst), false)
	d := x.host4(q.dst, x.static4(q.src), false)
	var n portPair
	if host != nil {
		d = mapping{addr: host.at.Addr(), how: bySession}
		n = portPair{host.remote.Port(), host.at.Port(), true}
		if q.proto == icmp6 {
			n.src = n.dst
		}
	}
	if s.how == unmapped || s.nonGlobal || x.illegal4(s.addr) ||
		d.how == unmapped || d.nonGlobal || x.illegal4(d.addr) || 20+q.length > maxPacket ||
		x.staysLocal(s.addr) || x.staysLocal(d.addr) {
		return e, s, drop(translate.ICMPQuote)
	}
	t := icmpError{quoted: x.turn4(q, s.addr, d.addr), ext: e.ext}
	t.typ, t.code, _ = types6to4(e.typ, e.code)
	switch {
	case e.typ == 2:
		t.word = uint32(x.mtu6to4(e.word, q.hasFrag))
	case e.typ == 4 && e.code == 0:
		pointer, _ := pointer6to4(e.word)
		t.word = uint32(pointer)
	}
	turnEcho(q, t.quoted, types6to4, n)
	return t, s, nil
}

// turnEcho gives a quoted Echo message the type of the other family, and any
// quoted packet its ports and checksum.
func turnEcho(before, after packet, types func(t, c uint8) (uint8, uint8, bool), n portPair) {
	if after.proto == icmp4 || after.proto == icmp6 {
		after.data[0], _, _ = types(before.data[0], 0)
	}
	n.setPorts(after)
	carry(before, after)
}

// limits returns the largest size of an ICMP error in the family of p, the size
// of its header, and the unit of the RFC 4884 length.
func limits(p packet) (limit, header, unit int) {
	if p.is4() {
		return 576, 20, 4
	}
	return 1280, 40, 8
}

// fits reports whether an ICMP error with the outer header p has room for ext
// after a quote of 128 bytes.
func fits(p packet, ext []byte) bool {
	limit, header, _ := limits(p)
	return header+8+128+len(ext) <= limit
}

// writeError writes an ICMP error with the outer header p. The quote is cut so
// that all of it fits; the extension is left out if 128 bytes of quote would
// not be left: RFC 4884 §3 to §5.
func writeError(p packet, e icmpError) []byte {
	limit, header, unit := limits(p)
	quote, ext, length := write(e.quoted), e.ext, 0
	room := limit - header - 8
	if ext == nil || !fits(p, ext) {
		ext = nil
		quote = quote[:min(len(quote), room)]
	} else {
		room = (room - len(ext)) / unit * unit
		quote = quote[:min(len(quote), room)]
		for len(quote) < 128 || len(quote)%unit != 0 {
			quote = append(quote, 0)
		}
		length = len(quote) / unit
	}
	word := e.word
	switch {
	case p.is4() && e.typ == 12:
		word = e.word<<24 | uint32(length)<<16
	case p.is4():
		word |= uint32(length) << 16
	default:
		word |= uint32(length) << 24
	}
	data := []byte{e.typ, e.code, 0, 0}
	data = binary.BigEndian.AppendUint32(data, word)
	data = append(append(data, quote...), ext...)

	q := message(p.src, p.dst, data)
	q.tos, q.ttl, q.id = p.tos, p.ttl, p.id
	return write(q)
}

// withNode appends to an extension the RFC 5837 object that tells the IPv6
// address of the router: RFC 6791 §4. An extension that cannot be read, or that
// tells where the packet arrived already, is returned as it is.
func withNode(ext []byte, router netip.Addr) []byte {
	object := append([]byte{0, 24, 2, 0x04, 0, 2, 0, 0}, router.AsSlice()...)
	sum16 := true
	if ext == nil {
		ext = []byte{0x20, 0, 0, 0}
	} else {
		objects, ok := readExtension(ext)
		if !ok {
			return ext
		}
		for _, o := range objects {
			if o[2] == 2 && o[3]>>6 == 0 {
				return ext
			}
		}
		sum16 = ext[2] != 0 || ext[3] != 0
	}
	ext = append(slices.Clone(ext), object...)
	if sum16 {
		ext[2], ext[3] = 0, 0
		binary.BigEndian.PutUint16(ext[2:], ^sum(ext))
	}
	return ext
}

// readExtension returns the objects of an RFC 4884 extension structure, headers
// included. ok is false if it is not of version 2, has a wrong checksum, or is
// not made of at least one object of whole 32-bit words.
func readExtension(b []byte) (objects [][]byte, ok bool) {
	if len(b) <= 4 || b[0]>>4 != 2 {
		return nil, false
	}
	if sum(b) != 0xffff && (b[2] != 0 || b[3] != 0) {
		return nil, false
	}
	for b = b[4:]; len(b) > 0; {
		if len(b) < 4 {
			return nil, false
		}
		n := int(binary.BigEndian.Uint16(b))
		if n < 4 || n%4 != 0 || n > len(b) {
			return nil, false
		}
		objects, b = append(objects, b[:n]), b[n:]
	}
	return objects, true
}
