package pref64

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Types of neighbour discovery options.
const (
	typeRDNSS  = 25 // RFC 8106 §5.1
	typePREF64 = 38 // RFC 8781 §4
)

// maxOptions limits what is read of one kind in a message; the rest is ignored.
const maxOptions = 8

// forever is the lifetime of what does not end: as long as a clock counts here.
const forever = 1<<63 - 1

// An Option is what a PREF64 option says: RFC 8781 §4.
type Option struct {
	Prefix   netip.Prefix  // of length 32, 40, 48, 56, 64 or 96; host bits are zero
	Lifetime time.Duration // 0: the prefix is not to be used any more
}

// prefixBits are the prefix lengths by prefix length code.
var prefixBits = [...]int{96, 64, 56, 48, 40, 32}

// ParseOption reads a PREF64 option, from its type to its end. It reports false for another
// option, and for one that a receiver has to ignore: whose length is not 16 bytes, or whose
// prefix length code is not defined. It keeps nothing of b.
func ParseOption(b []byte) (Option, bool) {
	if len(b) != 16 || b[0] != typePREF64 || b[1] != 2 {
		return Option{}, false
	}
	scaled := binary.BigEndian.Uint16(b[2:])
	code := int(scaled & 7)
	if code >= len(prefixBits) {
		return Option{}, false
	}
	var a [16]byte
	copy(a[:12], b[4:])
	return Option{
		Prefix:   netip.PrefixFrom(netip.AddrFrom16(a), prefixBits[code]).Masked(),
		Lifetime: time.Duration(scaled>>3) * 8 * time.Second,
	}, true
}

// Resolvers is what an RDNSS option says: RFC 8106 §5.1.
type Resolvers struct {
	Addrs    []netip.Addr  // IPv6, without zone; at least one
	Lifetime time.Duration // 0: they are not to be used any more
}

// parseRDNSS is ParseOption for RDNSS options. Addresses after the first maxOptions are
// ignored, and those that no resolver has.
func parseRDNSS(b []byte) (Resolvers, bool) {
	if len(b) < 24 || len(b)%16 != 8 || b[0] != typeRDNSS || int(b[1])*8 != len(b) {
		return Resolvers{}, false
	}
	r := Resolvers{Lifetime: time.Duration(binary.BigEndian.Uint32(b[4:])) * time.Second}
	if r.Lifetime == 0xffffffff*time.Second {
		r.Lifetime = forever
	}
	for b = b[8:]; len(b) >= 16 && len(r.Addrs) < maxOptions; b = b[16:] {
		a := netip.AddrFrom16([16]byte(b))
		if !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && !a.Is4In6() {
			r.Addrs = append(r.Addrs, a)
		}
	}
	return r, len(r.Addrs) > 0
}
