package doctor

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

func itoa(n int) string { return strconv.Itoa(n) }

// checkDevice looks at the TUN device.
func (e *examination) checkDevice() {
	name := e.Conf.TunDevice
	device, there := e.Machine.link(name)
	switch {
	case !there && !e.running && e.Conf.TunUp:
		return // the daemon makes it and sets it up
	case !there:
		e.fix(Error, "device", e.makeDevice(), "there is no device %s", name)
	case !device.Tun:
		e.add(Error, "device", "%s is no TUN device: name another one in tun-device", name)
		return
	case device.MTU < lowestMTU:
		e.fix(Error, "mtu", linkMTU(device, 1500),
			"%s has an MTU of %d, less than the %d that IPv6 needs", name, device.MTU, lowestMTU)
	}
	e.checkOwner(device)
	if !device.Up && (e.running || !e.Conf.TunUp) {
		e.fix(Error, "device", linkUp(name), "%s is down", name)
	}
}

// checkOwner looks who may attach to the device, and who has. To give a device to
// root would keep a daemon of another user from it.
func (e *examination) checkOwner(device Link) {
	const text = "%s has several queues and no owner: any local user may read its packets and send others"
	switch {
	case !device.Ownerless:
	case e.Process.UID == 0:
		e.fix(Warning, "owner", e.makeDevice(), text, device.Name)
	default:
		e.add(Warning, "owner", text+": create it again for user %d, see DEVICE in tayga(8)", device.Name, e.Process.UID)
	}
	if e.Report != nil && e.Report.Device.Foreign > 0 {
		e.add(Error, "owner", "another program is attached to %s with %d queues of its own, and gets packets that are for tayga: find and end it", device.Name, e.Report.Device.Foreign)
	}
}

// command returns a call of tayga with this configuration.
func (e *examination) command(args ...string) string {
	return words(append([]string{e.Program, "-c", e.Conf.File}, args...)...)
}

// checkOwnAddresses looks whether the kernel believes that the translator's
// addresses are its own. It drops packets from outside with such a source, and
// answers those to them itself.
func (e *examination) checkOwnAddresses() {
	for _, l := range e.Machine.Links {
		for _, p := range l.Addrs {
			directive := ""
			if pool, found := e.sharedPool(p.Addr()); found {
				e.addOwnShared(l, p, pool)
				continue
			}
			switch p.Addr() {
			case e.Conf.IPv4:
				directive = "ipv4-addr"
			case e.Conf.IPv6:
				directive = "ipv6-addr"
			default:
				continue
			}
			const text = "%s, the translator's own %s, is also an address of this machine, on %s"
			if l.Name == e.Conf.TunDevice {
				e.fix(Error, "address", e.removeAddress(l, p), text, p.Addr(), directive, l.Name)
			} else { // which may be how the machine is reached
				e.add(Error, "address", text+": use one that no host has", p.Addr(), directive, l.Name)
			}
		}
	}
}

// checkCLATAddress looks whether a host that translates for itself has the address
// by which it does.
func (e *examination) checkCLATAddress() {
	for _, m := range e.maps[:min(len(e.maps), maxMaps)] {
		given := slices.ContainsFunc(e.Conf.TunIPs, func(p netip.Prefix) bool { return m.IPv4.Contains(p.Addr()) })
		if m.IPv4.IsSingleIP() && clatNetwork.Contains(m.IPv4.Addr()) && !e.Machine.holds(m.IPv4) && (e.running || !given) {
			device, _ := e.Machine.link(e.Conf.TunDevice)
			device.Name = e.Conf.TunDevice // which is yet to be made
			e.fix(Error, "address", e.addAddress(device, netip.PrefixFrom(m.IPv4.Addr(), clatNetwork.Bits())),
				"%s, to which a map gives an IPv6 address, is no address of this host", m.IPv4.Addr())
		}
	}
}

// removeAddress takes an address off the device. With its last IPv4 address the kernel
// forgets its IPv4 routes.
func (e *examination) removeAddress(l Link, p netip.Prefix) Change {
	c := e.addAddress(l, p)
	c.Do, c.Undo = words("ip", "addr", "del", p.String(), "dev", l.Name), c.Do
	if p.Addr().Is6() || l.hasIPv4(p) {
		return c
	}
	c.Undo += e.again(l.Name)
	var lost []netip.Prefix
	for _, q := range e.pools() {
		lost = append(lost, q.Prefix)
	}
	for _, m := range e.maps[:min(len(e.maps), maxFindings)] {
		lost = append(lost, m.IPv4)
	}
	for _, q := range lost {
		if e.Machine.Route(e.sample(q)).Dst == q {
			c.Do += " && " + words("ip", "route", "replace", q.String(), "dev", l.Name)
		}
	}
	return c
}

// checkConfigured looks whether the daemon that runs does so with this
// configuration. Only then can the rest be believed.
func (e *examination) checkConfigured() {
	switch {
	case e.Report == nil:
	case filepath.IsAbs(e.Report.Config) && e.Report.Config != e.Conf.File:
		e.add(Warning, "daemon", "tayga runs on %s with %s, not with %s", e.Conf.TunDevice, e.Report.Config, e.Conf.File)
	case e.Process.Stale:
		e.fix(Warning, "daemon", e.restart(), "%s was changed after tayga was started, which reads it only at start", e.Conf.File)
	}
}

// checkDaemon looks whether the daemon runs, and whether it has had to refuse
// anybody.
func (e *examination) checkDaemon() {
	if !e.running {
		e.fix(Error, "daemon", e.start(), "tayga does not run on %s", e.Conf.TunDevice)
		return
	}
	e.checkUDP()
	e.checkHelper()
	if e.Report != nil && e.Report.Pool != nil && e.Report.Pool.Refused > 0 {
		e.add(Note, "pool", "%d times no address was assigned: the pool was exhausted, or a host is none of those that may lease one", e.Report.Pool.Refused)
	}
}

// checkHelper looks whether the process lives that may change the device.
func (e *examination) checkHelper() {
	if e.Report != nil && e.Report.Helper != nil && !e.Report.Helper.Alive {
		e.fix(Warning, "helper", e.restart(), "the privileged helper of tayga has ended: if %s is deleted or set down, tayga cannot attach to it or set it up again", e.Conf.TunDevice)
	}
}

// start starts the daemon, which does not run.
func (e *examination) start() Change {
	c := Change{Do: e.command(), Touches: []Touch{e.daemon()}}
	if unit := e.Process.Unit; unit != "" {
		c.Do, c.Undo = words("systemctl", "restart", unit), words("systemctl", "stop", unit)
	} else if e.Conf.StatusSocket != taygaconf.NoStatusSocket {
		c.Undo = "pid=$(" + e.command("--status", "--json") + ` | sed -n 's/^  "pid": \([0-9]*\),*$/\1/p') && kill "$pid" && while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done`
	}
	for _, list := range [][]netip.Prefix{e.Conf.TunRoutes, e.Conf.TunIPs} {
		for _, p := range list {
			if e.Conf.TunUp {
				c.Touches = append(c.Touches, Touch{Kind: RouteTo, Prefix: p.Masked(), Link: e.Conf.TunDevice})
			}
		}
	}
	return c
}

// restart starts the daemon anew, after it has ended if it runs. There is no command if it
// is not known who would do that.
func (e *examination) restart() Change {
	p := e.Process
	c := Change{Restarts: true, Touches: []Touch{e.daemon()}}
	switch {
	case p.Unit != "":
		c.Do = words("systemctl", "restart", p.Unit)
	case len(p.Args) == 0:
		return Change{}
	default:
		c.Do = "kill " + itoa(e.Report.PID) + " && sleep 2 && " + words(p.Args...)
	}
	return c
}

// daemon is the process that translates.
func (e *examination) daemon() Touch {
	if e.Process.Unit != "" {
		return Touch{Kind: Unit, Name: e.Process.Unit, Link: e.Conf.TunDevice}
	}
	socket := e.Conf.StatusSocket
	if socket == "" {
		socket = status.DefaultPath(e.Conf.TunDevice)
	}
	return Touch{Kind: Daemon, Name: socket, Link: e.Conf.TunDevice}
}

// checkOffloads looks for what makes large transfers slow, or breaks them.
func (e *examination) checkOffloads() {
	if e.Report != nil && e.Conf.Offload.Checksum && e.Report.Device.Present && len(e.Report.Device.Offloads) == 0 {
		e.add(Note, "offload", "the kernel grants no offloads on %s: each packet is handled alone", e.Conf.TunDevice)
	}
	for _, l := range e.Machine.Links {
		if !l.Up || l.Name == e.Conf.TunDevice {
			continue
		}
		if l.LRO {
			e.fix(Warning, "offload", switched(l, "lro", "rx-lro", false),
				"%s puts packets together in a way that cannot be undone (LRO), and so breaks what is forwarded", l.Name)
		}
		if l.Physical && !l.GRO {
			e.fix(Note, "offload", switched(l, "gro", "rx-gro", true), "%s does not coalesce packets (GRO), which reduces throughput", l.Name)
		}
		if l.GRO && l.ListGRO {
			e.fix(Note, "offload", switched(l, "rx-gro-list", "rx-gro-list", false),
				"%s makes lists of packets (rx-gro-list), which are taken apart again before they are translated", l.Name)
		}
		if four, six := e.forwards(); l.Physical && l.GRO && l.NoUDPGRO && (four || six) {
			e.fix(Note, "offload", switched(l, "rx-udp-gro-forwarding", "rx-udp-gro-forwarding", true),
				"%s does not coalesce datagrams that are forwarded; with that, those of a flow pass together: 1.15 times as many of 64 bytes in our measurement", l.Name)
		}
	}
}
