package pref64

import (
	"fmt"
	"net/netip"

	"github.com/steppe-nat64/steppe/translate"
)

var (
	wellKnown = netip.MustParsePrefix("64:ff9b::/96")   // RFC 6052 §2.1
	localUse  = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215
	reserved  = netip.MustParsePrefix("::/8")           // RFC 4291 §2.4; the two above are in it
	discard   = netip.MustParsePrefix("100::/64")       // RFC 6666
)

// Check returns why a network can't have the prefix for NAT64, nil if it can: it is not
// one of RFC 6052 §2.2, or not one of unicast addresses that routers forward. An encoder that
// takes 64:ff9b::/96 for 64:ff9b::/32 is found by that, too.
func Check(p netip.Prefix) error {
	if _, err := translate.Embed(p, netip.AddrFrom4([4]byte{192, 0, 0, 170})); err != nil {
		return fmt.Errorf("pref64: %w", err)
	}
	switch {
	case p == wellKnown, localUse.Contains(p.Addr()):
		return nil
	case p.Overlaps(wellKnown):
		return fmt.Errorf("pref64: prefix %s: the well-known prefix has length 96", p)
	case p.Overlaps(reserved):
		return fmt.Errorf("pref64: prefix %s: reserved", p)
	case p.Overlaps(discard):
		return fmt.Errorf("pref64: prefix %s: routers discard what is sent there", p)
	}
	return nil
}

// checkOwn returns an error if p and a network of this machine overlap: packets to p would
// stay on the link.
func checkOwn(p netip.Prefix, own []netip.Prefix) error {
	for _, o := range own {
		if o.IsValid() && o.Bits() > 0 && p.Overlaps(o) {
			return fmt.Errorf("pref64: prefix %s: overlaps %s, a network of this machine", p, o.Masked())
		}
	}
	return nil
}
