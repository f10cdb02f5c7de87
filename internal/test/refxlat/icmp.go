package refxlat

import "github.com/steppe-nat64/steppe/translate"

// types4to6 is RFC 7915 §4.2: what an ICMPv4 type and code become. ok is false
// for those without counterpart.
func types4to6(typ, code uint8) (t, c uint8, ok bool) {
	switch typ {
	case 0:
		return 129, code, true
	case 8:
		return 128, code, true
	case 11:
		return 3, code, true
	case 12:
		return 4, 0, code == 0 || code == 2
	case 3:
		switch code {
		case 2:
			return 4, 1, true
		case 3:
			return 1, 4, true
		case 4:
			return 2, 0, true
		case 9, 10, 13, 15:
			return 1, 1, true
		case 0, 1, 5, 6, 7, 8, 11, 12:
			return 1, 0, true
		}
	}
	return 0, 0, false
}

// types6to4 is RFC 7915 §5.2: what an ICMPv6 type and code become.
func types6to4(typ, code uint8) (t, c uint8, ok bool) {
	switch typ {
	case 129:
		return 0, code, true
	case 128:
		return 8, code, true
	case 2:
		return 3, 4, true
	case 3:
		return 11, code, true
	case 1:
		switch code {
		case 0, 2, 3:
			return 3, 1, true
		case 1:
			return 3, 10, true
		case 4:
			return 3, 3, true
		}
	case 4:
		switch code {
		case 0:
			return 12, 0, true
		case 1:
			return 3, 2, true
		}
	}
	return 0, 0, false
}

// pointer4to6 is RFC 7915 §4.2, figure 3.
func pointer4to6(p uint8) (uint32, bool) {
	switch {
	case p == 0, p == 1:
		return uint32(p), true
	case p == 2, p == 3:
		return 4, true
	case p == 8:
		return 7, true
	case p == 9:
		return 6, true
	case p >= 12 && p <= 15:
		return 8, true
	case p >= 16 && p <= 19:
		return 24, true
	}
	return 0, false
}

// pointer6to4 is RFC 7915 §5.2, figure 6.
func pointer6to4(p uint32) (uint8, bool) {
	switch {
	case p == 0, p == 1:
		return uint8(p), true
	case p == 4, p == 5:
		return 2, true
	case p == 6:
		return 9, true
	case p == 7:
		return 8, true
	case p >= 8 && p <= 23:
		return 12, true
	case p >= 24 && p <= 39:
		return 16, true
	}
	return 0, false
}

// mtu4to6 is the MTU of a Packet Too Big made from Fragmentation Needed with
// the given MTU about a packet of the given size: RFC 7915 §4.2.
func (x *Xlat) mtu4to6(mtu, size int) int {
	if mtu == 0 { // a router older than RFC 1191
		for _, plateau := range []int{65535, 32000, 17914, 8166, 4352, 2002, 1492} {
			if plateau < size {
				mtu = plateau
				break
			}
		}
	}
	return max(1280, min(mtu+20, x.cfg.MTU6, x.cfg.MTU4+20))
}

// mtu6to4 is the MTU of Fragmentation Needed made from Packet Too Big: RFC 7915
// §5.2. An IPv4 fragment grows by a Fragment Header, too. No IPv4 link has an
// MTU below 68.
func (x *Xlat) mtu6to4(mtu uint32, fragment bool) int {
	growth := 20
	if fragment {
		growth = 28
	}
	return int(max(68, min(int64(mtu)-int64(growth), int64(x.cfg.MTU4), int64(x.cfg.MTU6-growth))))
}

// checkQuotedType says whether a quoted ICMP message can be translated: Echo
// can, errors cannot since errors do not nest (RFC 7915 §4.3, §5.3), and the
// rest has no counterpart.
func checkQuotedType(typ uint8, is4 bool) error {
	switch {
	case is4 && (typ == 0 || typ == 8), !is4 && (typ == 128 || typ == 129):
		return nil
	case is4 && isError4(typ), !is4 && typ < 128:
		return drop(translate.ICMPQuotedError)
	}
	return drop(translate.ICMPQuote)
}
