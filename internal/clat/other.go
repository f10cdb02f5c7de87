package clat

import (
	"fmt"
	"net/netip"
)

// clatPool has the addresses that CLATs give to a host: NetworkManager has those beyond
// 192.0.0.0/29, too.
var clatPool = netip.MustParsePrefix("192.0.0.0/28")

// An OtherError says that another CLAT is active on this machine.
type OtherError struct {
	Device string
	Addr   netip.Addr
	Owner  string // what is known of it, in words
}

func (e *OtherError) Error() string {
	return fmt.Sprintf("another CLAT is active: %s has %s (%s)", e.Device, e.Addr, e.Owner)
}

// other returns the other CLAT that is active, nil if there is none. owner returns the names of
// the processes that are attached to a TUN device, where these are known.
func (s *snapshot) other(device string, owner func(device string) []string) *OtherError {
	for _, a := range s.addrs {
		l := s.link(a.index)
		if l == nil || !l.up || l.name == device || !clatPool.Contains(a.prefix.Addr()) {
			continue
		}
		if l.kind == "ip6tnl" || l.kind == "dummy" || l.loopback {
			continue // a tunnel of DS-Lite has an address of the same range: RFC 6333 §5.7
		}
		return &OtherError{Device: l.name, Addr: a.prefix.Addr(), Owner: ownerOf(l, owner)}
	}
	return nil
}

// ownerOf says what is known of another CLAT.
func ownerOf(l *linkState, owner func(string) []string) string {
	if l.kind != "tun" {
		return "as NetworkManager's gives to its uplink"
	}
	names := owner(l.name)
	if len(names) == 0 {
		return "the TUN device of clatd, systemd-networkd or tayga"
	}
	switch name := names[0]; name {
	case "tayga":
		return "a device of tayga, which clatd starts, too"
	case "systemd-network": // the kernel has the first 15 bytes of the name
		return "a device of systemd-networkd"
	default:
		return "a device of " + name
	}
}
