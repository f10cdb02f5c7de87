package doctor

import (
	"net/netip"

	"github.com/steppe-nat64/steppe/translate"
)

// checkTunDriver looks at what makes TUN devices.
func (e *examination) checkTunDriver() {
	switch e.Machine.TunDriver {
	case TunAbsent:
		e.fix(Error, "tun", module("tun"), "the kernel has no driver for TUN devices")
	case TunNoNode:
		e.fix(Error, "tun", Change{
			Do:      "mkdir -p /dev/net && mknod -m 666 /dev/net/tun c 10 200",
			Undo:    "rm /dev/net/tun",
			Touches: []Touch{{Kind: Node, Name: "/dev/net/tun"}},
		}, "/dev/net/tun is missing")
	}
}

// module loads a module of the kernel.
func module(name string) Change {
	return Change{words("modprobe", name), words("modprobe", "-r", name), false, false, []Touch{{Kind: Module, Name: name}}}
}

// forwards reports which families have to be forwarded. A host that translates
// for itself alone sends and receives its own side's packets.
func (e *examination) forwards() (four, six bool) {
	four = len(e.Conf.Pools) > 0 || len(e.Conf.Prefixes) > 0 && !e.clat
	six = len(e.Conf.Prefixes) > 0
	for _, m := range e.maps {
		four = four || !(m.IPv4.IsSingleIP() && e.onOurSide(m))
		six = six || !(m.IPv6.IsSingleIP() && e.Machine.holds(m.IPv6))
	}
	return four, six
}

// checkAdvertisements looks for interfaces that would lose their addresses and
// routes: a kernel that forwards listens to router advertisements only if it is
// told so.
func (e *examination) checkAdvertisements() {
	if _, six := e.forwards(); !six {
		return
	}
	for _, l := range e.Machine.Links {
		path := "ipv6/conf/" + l.Name + "/accept_ra"
		if v, _ := e.Machine.Setting(path); l.Advertised && v == 1 {
			e.fix(Warning, "router-advertisements", e.set(path, 2),
				"%s has its IPv6 address or route from router advertisements, to which a kernel that forwards does not listen", l.Name)
		}
	}
}

// checkIPv6 looks whether the device can have IPv6 packets at all.
func (e *examination) checkIPv6() {
	scope := e.Conf.TunDevice
	if _, there := e.Machine.link(scope); !there {
		scope = "default" // which a device takes over that is yet to be made
	}
	path := "ipv6/conf/" + scope + "/disable_ipv6"
	switch v, ok := e.Machine.Setting(path); {
	case !ok && scope == "default":
		e.fix(Error, "ipv6", module("ipv6"), "the kernel has no IPv6")
	case v != 0:
		e.fix(Error, "ipv6", e.set(path, 0), "IPv6 is switched off for %s", e.Conf.TunDevice)
	}
}

// checkForwarding looks whether the kernel forwards packets.
func (e *examination) checkForwarding() {
	four, six := e.forwards()
	if v, _ := e.Machine.Setting("ipv4/ip_forward"); four && v == 0 {
		e.fix(Error, "forwarding", e.set("ipv4/ip_forward", 1), "the kernel does not forward IPv4 packets")
	} else if four { // switching it on switches it on everywhere
		uplink := e.exit(false, e.ownSource())
		for _, l := range e.Machine.Links {
			path := "ipv4/conf/" + l.Name + "/forwarding"
			concerned := l.Name == e.Conf.TunDevice || l.Name == uplink
			if v, ok := e.Machine.Setting(path); concerned && ok && v == 0 {
				e.fix(Error, "forwarding", e.set(path, 1), "the kernel does not forward IPv4 packets that arrive on %s", l.Name)
			}
		}
	}
	if v, _ := e.Machine.Setting("ipv6/conf/all/forwarding"); six && v == 0 {
		e.fix(Error, "forwarding", e.set("ipv6/conf/all/forwarding", 1), "the kernel does not forward IPv6 packets")
	}
}

// checkReversePath looks for a reverse path filter that drops what the
// translator sends: packets from IPv4 addresses that the kernel would not send
// to the device. That is so for a host that translates for itself and has
// another way to IPv4.
func (e *examination) checkReversePath() {
	all, _ := e.Machine.Setting("ipv4/conf/all/rp_filter")
	path := "ipv4/conf/" + e.Conf.TunDevice + "/rp_filter"
	own, there := e.Machine.Setting(path)
	if !e.clat || !there || max(all, own) == 0 || e.Machine.uplink(false) == e.Conf.TunDevice {
		return
	}
	device, _ := e.Machine.link(e.Conf.TunDevice)
	has4 := false
	for _, a := range device.Addrs {
		has4 = has4 || a.Addr().Is4()
	}
	const text = "the reverse path filter drops packets from %s whose source is reached by another interface"
	switch {
	case !has4: // for a device without an address, loose is as strict
		e.fix(Error, "rp-filter", e.loosen(all, path), text, device.Name)
	case max(all, own) == 1:
		e.fix(Error, "rp-filter", e.set(path, 2), text, device.Name)
	}
}

// loosen switches the reverse path filter off by one setting.
// The greater value of all and of an interface counts, so that others, and those yet to
// come, have to be given what they have from all.
func (e *examination) loosen(all int, path string) (c Change) {
	keep := func(name string) {
		other := "ipv4/conf/" + name + "/rp_filter"
		if v, ok := e.Machine.Setting(other); ok && v < all && other != path {
			c = c.also(e.set(other, all))
		}
	}
	if all > 0 {
		keep("default")
		for _, l := range e.Machine.Links {
			keep(l.Name)
		}
		c = c.also(e.set("ipv4/conf/all/rp_filter", 0))
	}
	return c.also(e.set(path, 0))
}

// checkPathMTU looks whether IPv4 packets that may be cut are cut small enough
// for the links that IPv6 leaves by.
func (e *examination) checkPathMTU() {
	for _, l := range e.Machine.Links {
		six := false
		for _, a := range l.Addrs {
			six = six || a.Addr().Is6() && !a.Addr().IsLinkLocalUnicast()
		}
		if l.Up && six && !l.Loopback && l.Name != e.Conf.TunDevice && l.MTU >= lowestMTU && l.MTU < e.Conf.OfflinkMTU {
			e.fix(Warning, "mtu", e.edited("sed -i "+quote("s/^\\([[:blank:]]*offlink-mtu\\).*/\\1 "+itoa(l.MTU)+"/I")+" "+quote(e.Conf.File)),
				"offlink-mtu is %d, and %s carries no more than %d", e.Conf.OfflinkMTU, l.Name, l.MTU)
			return
		}
	}
}

// lowestMTU is the least that an IPv6 link carries: RFC 8200 §5.
const lowestMTU = 1280

// checkPrivate looks whether packets for private addresses were dropped. Only a daemon
// that runs can tell, and it does not say which addresses. What a host sends to a private
// destination may be what the operator wants, if this machine has a way to private
// networks: only then is there advice to let them pass. A private source, and everything
// on a CLAT, is a stray packet.
func (e *examination) checkPrivate() {
	if e.Report == nil || !e.Conf.WKPFStrict {
		return
	}
	all, sent := uint64(0), uint64(0)
	for _, c := range e.Report.Packets {
		if c.Reason == "non-global" {
			all += c.Packets
			if c.Direction == "6to4" {
				sent += c.Packets
			}
		}
	}
	switch {
	case all == 0:
	case sent > 0 && !e.clat && e.Conf.DropsSource(wellKnown, e.Maps) && e.reachesPrivate():
		e.fix(Warning, "private", e.edit("wkpf-strict no"),
			"%d packets were rejected because %s is for public IPv4 addresses; translate private ones and restart tayga, or use another prefix", sent, wellKnown)
	default:
		e.add(Note, "private", "%d packets were dropped because %s is for public IPv4 addresses, and an address of theirs is private: stray packets need no action", all, wellKnown)
	}
}

// checkUDP looks whether IPv4 datagrams were dropped that have no checksum.
func (e *examination) checkUDP() {
	if e.Report == nil || e.Conf.UDPZero != translate.UDPZeroDrop {
		return
	}
	n := uint64(0)
	for _, c := range e.Report.Packets {
		if c.Reason == "udp-zero-checksum" {
			n += c.Packets
		}
	}
	if n > 0 {
		e.add(Note, "udp-checksum", "%d datagrams without a checksum were not translated, since IPv6 does not allow them; udp-cksum-mode calc computes one", n)
	}
}

// reachesPrivate reports whether this machine has an interface in a private network,
// beside the translator's and its own.
func (e *examination) reachesPrivate() bool {
	for _, l := range e.Machine.Links {
		for _, a := range l.Addrs {
			if l.Up && !l.Loopback && l.Name != e.Conf.TunDevice && a.Addr().Is4() && a.Addr().IsPrivate() && !a.IsSingleIP() {
				return true
			}
		}
	}
	return false
}

var wellKnown = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052 §2.1
