package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// setUpLink does what tun-up, tun-ip and tun-route ask for: the link, the
// addresses, the routes, IPv4 before IPv6, each in the order of the file. said
// is told of everything that was done. Nothing is undone at the end.
func setUpLink(c *taygaconf.Config, said func(format string, args ...any)) error {
	if !c.TunUp && len(c.TunIPs) == 0 && len(c.TunRoutes) == 0 {
		return nil
	}
	link, err := netlink.LinkByName(c.TunDevice)
	if err != nil {
		return fmt.Errorf("tun-up: find device %s: %w", c.TunDevice, err)
	}
	if c.TunUp {
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("tun-up: set device %s up: %w", c.TunDevice, err)
		}
		said("Tun device %s is UP", c.TunDevice)
	}
	for _, six := range []bool{false, true} {
		for _, p := range c.TunIPs {
			if p.Addr().Is6() != six {
				continue
			}
			if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(p)}); err != nil {
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
			if err := addRoute(link, p); err != nil {
				return fmt.Errorf("tun-route: add %s over device %s: %w", p, c.TunDevice, err)
			}
			said("Added IPv%c route %s to tun device %s", family(p), p, c.TunDevice)
		}
	}
	return nil
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
