package hostnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// errNoDevice is wrapped by errors about a device that is not there.
var errNoDevice = fmt.Errorf("no such device: %w", unix.ENODEV)

// link returns a device.
func (h *host) link(name string) (netlink.Link, error) {
	link, err := h.nl.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		err = errNoDevice
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return link, nil
}

// list repeats a dump that changes have interrupted.
func list[T any](dump func() ([]T, error)) (all []T, err error) {
	for range 10 {
		if all, err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}

func (l *Link) look(h *host) (bool, error) {
	link, err := h.link(l.Device)
	if err != nil {
		return false, err
	}
	a := link.Attrs()
	return a.Flags&net.FlagUp != 0 && (l.MTU == 0 || a.MTU == l.MTU), nil
}

func (*Link) adopt(_ *host, e *entry) error {
	e.Found = true
	return nil
}

func (l *Link) note(h *host, e *entry) error {
	link, err := h.link(l.Device)
	if err != nil {
		return err
	}
	a := link.Attrs()
	e.Down = e.Down || a.Flags&net.FlagUp == 0
	ours := e.MTU != 0 && e.Before != nil && e.Before.Link.MTU == a.MTU
	if l.MTU != 0 && l.MTU != a.MTU && !ours {
		e.MTU = a.MTU
	}
	return nil
}

func (l *Link) make(h *host, _ *entry, _ kind) error {
	link, err := h.link(l.Device)
	if err != nil {
		return err
	}
	if l.MTU != 0 && link.Attrs().MTU != l.MTU {
		if err := h.nl.LinkSetMTU(link, l.MTU); err != nil {
			return fmt.Errorf("%s: %w", l.command(), err)
		}
	}
	if err := h.nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("%s: %w", l.command(), err)
	}
	return nil
}

func (l *Link) undo(h *host, e *entry) error {
	link, err := h.link(l.Device)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if e.Down && link.Attrs().Flags&net.FlagUp != 0 {
		err = h.nl.LinkSetDown(link)
	}
	if e.MTU != 0 && l.MTU == link.Attrs().MTU {
		err = errors.Join(err, h.nl.LinkSetMTU(link, e.MTU))
	}
	if gone(err) {
		return nil
	}
	return err
}

// toNet turns a prefix into that of package net.
func toNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// fromNet turns a prefix of package net, nil for all addresses, into one of a family.
func fromNet(n *net.IPNet, six bool) netip.Prefix {
	if n == nil {
		if six {
			return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(fromIP(n.IP, six), bits)
}

// fromIP turns an address, which may be nil, into one of a family.
func fromIP(ip net.IP, six bool) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	if !six {
		a = a.Unmap()
	}
	return a
}

func version(six bool) int {
	if six {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}
