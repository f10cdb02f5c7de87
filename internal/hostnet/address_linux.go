package hostnet

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func (a *Address) look(h *host) (bool, error) {
	link, err := h.link(a.Device)
	if err != nil {
		return false, err
	}
	six := a.Prefix.Addr().Is6()
	addrs, err := list(func() ([]netlink.Addr, error) { return h.nl.AddrList(link, version(six)) })
	if err != nil {
		return false, fmt.Errorf("addresses of %s: %w", a.Device, err)
	}
	for _, found := range addrs {
		switch p := fromNet(found.IPNet, six); {
		case p == a.Prefix:
			return true, nil
		case six && p.Addr() == a.Prefix.Addr():
			return false, fmt.Errorf("%s has the address %v already, with the length %d", a.Device, p.Addr(), p.Bits())
		}
	}
	return false, nil
}

func (*Address) adopt(_ *host, e *entry) error {
	e.Found = true
	return nil
}

func (*Address) note(*host, *entry) error { return nil }

func (a *Address) make(h *host, _ *entry, _ kind) error {
	link, err := h.link(a.Device)
	if err != nil {
		return err
	}
	addr := a.netlink()
	if err := h.nl.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("%s: %w", a.command(), err)
	}
	return nil
}

func (a *Address) netlink() *netlink.Addr {
	addr := &netlink.Addr{IPNet: toNet(a.Prefix), Broadcast: net.IPv4zero} // none
	if a.Prefix.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	return addr
}

func (a *Address) undo(h *host, _ *entry) error {
	link, err := h.link(a.Device)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if there, err := a.look(h); err == nil && !there {
		return nil
	}
	err = h.nl.AddrDel(link, &netlink.Addr{IPNet: toNet(a.Prefix)})
	if err == unix.EADDRNOTAVAIL || gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete address %v of %s: %w", a.Prefix, a.Device, err)
	}
	return nil
}
