package clat

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
)

// MaxStableBits is the length of the longest prefix in which there is room for a stable
// address. In a longer one it could be guessed, and would often be in use already.
const MaxStableBits = 120

// A Stable has the parameters of the stable addresses of an interface: RFC 7217 §5. The same
// parameters give the same addresses, also after a restart.
type Stable struct {
	Secret    []byte       // 16 bytes at least
	Prefix    netip.Prefix // IPv6, of MaxStableBits bits at most
	Interface string       // identifies the interface, such as its name
	Network   string       // identifies the network, such as an SSID; may be empty
}

// minSecret is the length of the shortest secret: RFC 7217 §5.
const minSecret = 16

// Check returns an error if no address can be made.
func (s Stable) Check() error {
	switch {
	case len(s.Secret) < minSecret:
		return fmt.Errorf("clat: a secret of %d bytes is too short", len(s.Secret))
	case !s.Prefix.IsValid() || s.Prefix.Addr().Unmap().Is4():
		return fmt.Errorf("clat: %s is not an IPv6 prefix", s.Prefix)
	case s.Prefix.Bits() > MaxStableBits:
		return fmt.Errorf("clat: %s: no room for another address", s.Prefix)
	}
	return nil
}

// Address returns the address of a counter, which is 0 at first and increases by 1 with each
// address that another node has. It reports false if the address is reserved, so that the
// next one has to be taken. It panics if Check returns an error.
func (s Stable) Address(counter uint32) (netip.Addr, bool) {
	if err := s.Check(); err != nil {
		panic(err)
	}
	p := s.Prefix.Masked()
	id := p.Addr().As16()
	rid := s.random(counter)
	whole := p.Bits() / 8
	for i := whole; i < len(id); i++ {
		// The least significant bits of the result, as many as there is room for.
		b := rid[len(rid)-len(id)+i]
		if i == whole {
			b &= 0xff >> (p.Bits() % 8)
		}
		id[i] |= b
	}
	a := netip.AddrFrom16(id)
	return a, !reserved(a, p.Bits())
}

// random is F of RFC 7217 §5. The length of each parameter is a part of what is hashed, so
// that no two lists of parameters are the same bytes.
func (s Stable) random(counter uint32) [sha256.Size]byte {
	h := hmac.New(sha256.New, s.Secret)
	p := s.Prefix.Masked()
	prefix := p.Addr().As16()
	h.Write(append(prefix[:], byte(p.Bits())))
	for _, text := range []string{s.Interface, s.Network} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(text))))
		h.Write([]byte(text))
	}
	h.Write(binary.BigEndian.AppendUint32(nil, counter))
	return [sha256.Size]byte(h.Sum(nil))
}

// reserved reports whether an interface identifier is reserved: RFC 5453, as its registry
// has them. Those of 64 bits have a list of their own; others have the anycast addresses of
// the routers and of RFC 2526 alone.
func reserved(a netip.Addr, bits int) bool {
	b := a.As16()
	if bits == 64 {
		switch id := binary.BigEndian.Uint64(b[8:]); {
		case id == 0: // RFC 4291 §2.6.1
			return true
		case id >= 0x02005efffe000000 && id <= 0x02005efffeffffff: // RFC 4291 appendix A, RFC 6543
			return true
		case id >= 0xfdffffffffffff80 && id <= 0xfdffffffffffffff: // RFC 2526
			return true
		}
		return false
	}
	p := netip.PrefixFrom(a, bits).Masked()
	if a == p.Addr() {
		return true
	}
	// The highest 128 addresses of the prefix: RFC 2526 §2.
	for i := bits; i < 128-7; i++ {
		if b[i/8]&(0x80>>(i%8)) == 0 {
			return false
		}
	}
	return true
}
