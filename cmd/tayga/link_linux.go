package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// setUpLink does what tun-up, tun-ip and tun-route ask for, by way of to: the link, the
// addresses, the routes, IPv4 before IPv6, each in the order of the file. said
// is told of everything that was done. Nothing is undone at the end.
func setUpLink(c *taygaconf.Config, to linkChanger, said func(format string, args ...any)) error {
	if !c.TunUp && len(c.TunIPs) == 0 && len(c.TunRoutes) == 0 {
		return nil
	}
	if _, err := netlink.LinkByName(c.TunDevice); err != nil {
		return fmt.Errorf("tun-up: find device %s: %w", c.TunDevice, err)
	}
	if c.TunUp {
		if err := to.Up(); err != nil {
			return fmt.Errorf("tun-up: set device %s up: %w", c.TunDevice, err)
		}
		said("Tun device %s is UP", c.TunDevice)
	}
	for _, six := range []bool{false, true} {
		for _, p := range c.TunIPs {
			if p.Addr().Is6() != six {
				continue
			}
			if err := to.AddIP(p); err != nil {
				return fmt.Errorf("tun-ip: add %s to device %s: %w", p, c.TunDevice, err)
			}
			said("Added IPv%c address %s to tun device %s", family(p), p, c.TunDevice)
		}
	}
	for _, six := range []bool{false, true} {
		for _, p := range c.TunRoutes {
			if p.Addr().Is6() != six {
				continue
			}
			if err := to.AddRoute(p); err != nil {
				return fmt.Errorf("tun-route: add %s over device %s: %w", p, c.TunDevice, err)
			}
			said("Added IPv%c route %s to tun device %s", family(p), p, c.TunDevice)
		}
	}
	return nil
}

// A kernelLink changes the device of that name, which takes CAP_NET_ADMIN.
type kernelLink string

// Up sets the device up.
func (name kernelLink) Up() error {
	link, err := netlink.LinkByName(string(name))
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// AddIP adds an address, or finds that it is there.
func (name kernelLink) AddIP(p netip.Prefix) error {
	link, err := netlink.LinkByName(string(name))
	if err != nil {
		return err
	}
	return netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(p)})
}

// AddRoute adds a route, or finds that it is there.
func (name kernelLink) AddRoute(p netip.Prefix) error {
	link, err := netlink.LinkByName(string(name))
	if err != nil {
		return err
	}
	return addRoute(link, p)
}

// restoreLink adds addresses and routes that setUpLink added and that are not there
// any more: as a device goes down, the kernel removes its routes and its IPv6
// addresses; and as IPv6 is switched off on it, or its MTU gets too small for that.
// It is not set up if another program set it down. said is told of everything that
// was done. A device that is down or deleted by now comes back later.
func restoreLink(c *taygaconf.Config, to linkChanger, said func(format string, args ...any)) error {
	if len(c.TunIPs) == 0 && len(c.TunRoutes) == 0 {
		return nil
	}
	link, err := netlink.LinkByName(c.TunDevice)
	if err != nil || link.Attrs().RawFlags&unix.IFF_UP == 0 {
		return nil
	}
	addrs, routes, err := present(link)
	if err != nil {
		return fmt.Errorf("look at addresses and routes of device %s: %w", c.TunDevice, err)
	}
	var errs []error
	one := taygaconf.Config{TunDevice: c.TunDevice}
	for _, p := range c.TunIPs {
		if !slices.Contains(addrs, p) {
			one.TunIPs = []netip.Prefix{p}
			errs = append(errs, setUpLink(&one, to, said))
		}
	}
	one.TunIPs = nil
	for _, p := range c.TunRoutes {
		if !slices.Contains(routes, p.Masked()) {
			one.TunRoutes = []netip.Prefix{p}
			errs = append(errs, setUpLink(&one, to, said))
		}
	}
	if err = errors.Join(errs...); errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// present returns the addresses of a link, and the routes over it in the main table.
func present(link netlink.Link) (addrs, routes []netip.Prefix, err error) {
	list, err := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, nil, err
	}
	for _, a := range list {
		addrs = append(addrs, prefixOf(a.IPNet))
	}
	over := &netlink.Route{LinkIndex: link.Attrs().Index, Table: unix.RT_TABLE_MAIN}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		list, err := whole(func() ([]netlink.Route, error) {
			return netlink.RouteListFiltered(family, over, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return nil, nil, err
		}
		for _, r := range list {
			p := prefixOf(r.Dst)
			if !p.IsValid() { // the default route
				p = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
				if family == netlink.FAMILY_V6 {
					p = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
				}
			}
			routes = append(routes, p)
		}
	}
	return addrs, routes, nil
}

// whole lists something again if it changed meanwhile, which may have left out some.
func whole[T any](list func() ([]T, error)) (got []T, err error) {
	for range 10 {
		if got, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return got, err
}

// prefixOf returns a prefix of package net, the zero prefix for nil.
func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	a, _ := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	if size == 32 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, bits)
}

// addRoute adds a route unless it is there. A route to the same destination
// over something else is not ours to take away: it may be the default route.
func addRoute(link netlink.Link, p netip.Prefix) error {
	route := &netlink.Route{
		LinkIndex: link.Attrs().Index,
		Dst:       ipNet(p),
		Scope:     netlink.SCOPE_LINK,
		Protocol:  unix.RTPROT_BOOT,
		Table:     unix.RT_TABLE_MAIN,
	}
	err := netlink.RouteAdd(route)
	switch {
	case errors.Is(err, unix.ENETDOWN):
		return fmt.Errorf("%w: the device must be up first, by tun-up yes or otherwise", err)
	case !errors.Is(err, unix.EEXIST):
		return err
	}
	family := netlink.FAMILY_V4
	if p.Addr().Is6() {
		family = netlink.FAMILY_V6
	}
	there, listErr := netlink.RouteListFiltered(family, route, netlink.RT_FILTER_DST|netlink.RT_FILTER_TABLE)
	if listErr != nil {
		return err
	}
	for _, r := range there {
		if r.LinkIndex == route.LinkIndex {
			return nil
		}
	}
	over := "something else"
	if len(there) > 0 {
		if other, err := netlink.LinkByIndex(there[0].LinkIndex); err == nil {
			over = "device " + other.Attrs().Name
		}
	}
	return fmt.Errorf("there is a route over %s already: remove it, or name a more specific destination", over)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func family(p netip.Prefix) rune {
	if p.Addr().Is4() {
		return '4'
	}
	return '6'
}
