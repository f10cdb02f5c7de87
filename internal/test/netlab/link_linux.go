package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// settleTime is how long the kernel may take to bring up a link or an address. It
// needs a millisecond or two; the rest is for machines under load.
const settleTime = 10 * time.Second

// ErrNoInterface is wrapped by errors about an interface that does not exist.
var ErrNoInterface = errors.New("no such interface")

// Link connects two hosts by a veth pair with the given interface names and MTU
// in bytes, and returns when both ends are up.
func (l *Lab) Link(a *Host, aName string, b *Host, bName string, mtu int) {
	l.t.Helper()
	a.configure(func() error {
		if err := veth(a, aName, b, bName, mtu); err != nil {
			return fmt.Errorf("link %s to %s %s: %w", aName, b.name, bName, err)
		}
		return nil
	})
}

func veth(a *Host, aName string, b *Host, bName string, mtu int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = aName, mtu
	pair := netlink.NewVeth(attrs)
	pair.PeerName, pair.PeerMTU = bName, uint32(mtu)
	pair.PeerNamespace = netlink.NsFd(b.ns)
	err := a.netlink(func(nl *netlink.Handle) error { return nl.LinkAdd(pair) })
	if err != nil {
		return err
	}
	ends := []struct {
		host *Host
		name string
	}{{a, aName}, {b, bName}}
	for _, end := range ends {
		if err := end.host.setUp(end.name); err != nil {
			return err
		}
	}
	for _, end := range ends {
		if err := end.host.waitRunning(end.name, settleTime); err != nil {
			return err
		}
		if mtu < minMTU6 {
			continue // no IPv6 on such a link
		}
		if err := end.host.waitAddr(end.name, net.IP.IsLinkLocalUnicast); err != nil {
			return err
		}
	}
	return nil
}

// minMTU6 is the lowest MTU of an IPv6 link: RFC 8200 §5.
const minMTU6 = 1280

// waitAddr waits until an interface has an IPv6 address of the wanted kind that
// is not tentative any more. Even without duplicate address detection that takes
// a moment, in which packets get lost: a router without a link-local address
// can't ask for its neighbours, and a host that has not joined the multicast
// group of its address does not receive the question. (An address added with
// IFA_F_NODAD is never tentative and joins late all the same.)
func (h *Host) waitAddr(ifname string, wanted func(net.IP) bool) error {
	ok, err := poll(settleTime, func() (bool, error) {
		link, err := h.link(ifname)
		if err != nil {
			return false, err
		}
		var addrs []netlink.Addr
		err = h.netlink(func(nl *netlink.Handle) (err error) {
			addrs, err = nl.AddrList(link, netlink.FAMILY_V6)
			if errors.Is(err, netlink.ErrDumpInterrupted) { // they changed meanwhile: not yet
				addrs, err = nil, nil
			}
			return err
		})
		return slices.ContainsFunc(addrs, func(a netlink.Addr) bool {
			return wanted(a.IP) && a.Flags&unix.IFA_F_TENTATIVE == 0
		}), err
	})
	if err == nil && !ok {
		err = fmt.Errorf("wait for an address of %s: still tentative after %v", ifname, settleTime)
	}
	return err
}

// Up sets an interface up: a TUN device that a program made, say. Links made by
// Lab.Link are up already.
func (h *Host) Up(ifname string) {
	h.lab.t.Helper()
	h.configure(func() error { return h.setUp(ifname) })
}

func (h *Host) setUp(ifname string) error {
	link, err := h.link(ifname)
	if err != nil {
		return err
	}
	err = h.netlink(func(nl *netlink.Handle) error { return nl.LinkSetUp(link) })
	if err != nil {
		return fmt.Errorf("set %s up: %w", ifname, err)
	}
	return nil
}

// Down sets an interface down.
func (h *Host) Down(ifname string) {
	h.lab.t.Helper()
	h.changeLink(ifname, "set down "+ifname, func(nl *netlink.Handle, link netlink.Link) error { return nl.LinkSetDown(link) })
}

// Delete removes an interface.
func (h *Host) Delete(ifname string) {
	h.lab.t.Helper()
	h.changeLink(ifname, "delete "+ifname, func(nl *netlink.Handle, link netlink.Link) error { return nl.LinkDel(link) })
}

// QueueLength sets how many packets may wait for an interface.
func (h *Host) QueueLength(ifname string, packets int) {
	h.lab.t.Helper()
	h.changeLink(ifname, fmt.Sprintf("set the queue length of %s to %d", ifname, packets), func(nl *netlink.Handle, link netlink.Link) error {
		return nl.LinkSetTxQLen(link, packets)
	})
}

// changeLink runs a step of setting up that is about an interface.
func (h *Host) changeLink(ifname, what string, change func(*netlink.Handle, netlink.Link) error) {
	h.lab.t.Helper()
	h.configure(func() error {
		link, err := h.link(ifname)
		if err != nil {
			return err
		}
		if err := h.netlink(func(nl *netlink.Handle) error { return change(nl, link) }); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
}

// MTU sets the MTU of an interface in bytes.
func (h *Host) MTU(ifname string, mtu int) {
	h.lab.t.Helper()
	h.changeLink(ifname, fmt.Sprintf("set the MTU of %s to %d", ifname, mtu), func(nl *netlink.Handle, link netlink.Link) error {
		return nl.LinkSetMTU(link, mtu)
	})
}

// WaitRunning waits until the interface is up and its other end is there: for a
// TUN device, until a program has attached to it.
func (h *Host) WaitRunning(ifname string, timeout time.Duration) error {
	if err := h.waitRunning(ifname, timeout); err != nil {
		return h.errorf("%w", err)
	}
	return nil
}

func (h *Host) waitRunning(ifname string, timeout time.Duration) error {
	var link netlink.Link
	ok, err := poll(timeout, func() (bool, error) {
		var err error
		if link, err = h.link(ifname); err != nil {
			return false, err
		}
		// Until the kernel has noticed the carrier, the interface has no queue
		// yet and drops what is sent.
		state := link.Attrs().OperState
		return link.Attrs().RawFlags&unix.IFF_RUNNING != 0 &&
			(state == netlink.OperUp || state == netlink.OperUnknown), nil
	})
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("wait for %s: still %s after %v", ifname, link.Attrs().OperState, timeout)
	}
	return nil
}

// poll asks cond until it says yes, fails or the time is over.
func poll(timeout time.Duration, cond func() (bool, error)) (bool, error) {
	for end := time.Now().Add(timeout); ; time.Sleep(time.Millisecond) {
		ok, err := cond()
		if ok || err != nil || time.Now().After(end) {
			return ok, err
		}
	}
}

func (h *Host) link(ifname string) (netlink.Link, error) {
	var link netlink.Link
	err := h.netlink(func(nl *netlink.Handle) (err error) {
		link, err = nl.LinkByName(ifname)
		return err
	})
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		err = ErrNoInterface
	}
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", ifname, err)
	}
	return link, nil
}

// Addr adds an address with its prefix length, "192.0.2.1/24", to an interface
// and returns when it can be used. The kernel adds the route to its prefix.
func (h *Host) Addr(ifname, prefix string) {
	h.lab.t.Helper()
	h.configure(func() error {
		if err := h.addAddr(ifname, prefix); err != nil {
			return fmt.Errorf("add address %s to %s: %w", prefix, ifname, err)
		}
		return nil
	})
}

func (h *Host) addAddr(ifname, prefix string) error {
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		return err
	}
	link, err := h.link(ifname)
	if err != nil {
		return err
	}
	addr := netlink.Addr{IPNet: ipNet(p)}
	err = h.netlink(func(nl *netlink.Handle) error { return nl.AddrAdd(link, &addr) })
	if err != nil || p.Addr().Is4() {
		return err
	}
	return h.waitAddr(ifname, addr.IP.Equal)
}

// Route is an entry of the main routing table. Dst is needed, and one of Via and
// Dev; the other fields may be zero.
type Route struct {
	Dst string // "64:ff9b::/96", "192.0.2.1" for a single address
	Via string // the next hop's address
	Dev string // the interface; without Via the destination is on the link
	Src string // the source address that connections over this route prefer
	MTU int    // bytes; below that of the interface, and learnt path MTUs go below it still
}

// Route adds a route to dst ("64:ff9b::/96", or a single address) by way of the
// next hop via, on the interface dev, or both. One of them may be empty.
func (h *Host) Route(dst, via, dev string) {
	h.lab.t.Helper()
	h.AddRoute(Route{Dst: dst, Via: via, Dev: dev})
}

// DefaultRoute adds the default route of the family of via, on the interface dev
// if that is not empty.
func (h *Host) DefaultRoute(via, dev string) {
	h.lab.t.Helper()
	dst := "::/0"
	if a, err := netip.ParseAddr(via); err == nil && a.Is4() {
		dst = "0.0.0.0/0"
	}
	h.Route(dst, via, dev)
}

// AddRoute adds a route.
func (h *Host) AddRoute(r Route) {
	h.lab.t.Helper()
	h.configure(func() error {
		if err := h.addRoute(r); err != nil {
			return fmt.Errorf("add route %+v: %w", r, err)
		}
		return nil
	})
}

func (h *Host) addRoute(r Route) error {
	dst, err := parsePrefix(r.Dst)
	if err != nil {
		return err
	}
	if r.Via == "" && r.Dev == "" {
		return errors.New("neither next hop nor interface")
	}
	nr := netlink.Route{Dst: ipNet(dst.Masked()), MTU: r.MTU}
	if r.Dev != "" {
		link, err := h.link(r.Dev)
		if err != nil {
			return err
		}
		nr.LinkIndex = link.Attrs().Index
		nr.Scope = netlink.SCOPE_LINK
	}
	if r.Via != "" {
		via, err := netip.ParseAddr(r.Via)
		if err != nil {
			return err
		}
		nr.Gw = via.AsSlice()
		nr.Scope = netlink.SCOPE_UNIVERSE
	}
	if r.Src != "" {
		src, err := netip.ParseAddr(r.Src)
		if err != nil {
			return err
		}
		nr.Src = src.AsSlice()
	}
	return h.netlink(func(nl *netlink.Handle) error { return nl.RouteAdd(&nr) })
}

// Own makes all addresses of a prefix the host's own, with no need to add each to
// an interface.
func (h *Host) Own(prefix string) {
	h.lab.t.Helper()
	h.configure(func() error {
		if err := h.own(prefix); err != nil {
			return fmt.Errorf("own %s: %w", prefix, err)
		}
		return nil
	})
}

func (h *Host) own(prefix string) error {
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		return err
	}
	family := "ipv4"
	if p.Addr().Is6() {
		family = "ipv6"
	}
	if err := h.sysctl("net."+family+".ip_nonlocal_bind", "1"); err != nil {
		return err
	}
	lo, err := h.link("lo")
	if err != nil {
		return err
	}
	route := netlink.Route{
		Dst: ipNet(p.Masked()), LinkIndex: lo.Attrs().Index,
		Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST,
	}
	return h.netlink(func(nl *netlink.Handle) error { return nl.RouteAdd(&route) })
}

// parsePrefix reads a prefix, or a single address as a prefix of full length.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Prefix(a.BitLen())
	}
	return netip.ParsePrefix(s)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{
		IP:   p.Addr().AsSlice(),
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}
}

// DisableOffloads makes an interface send what a wire would carry: complete
// checksums, and no packet larger than its MTU. Without it, captures show the
// unfinished packets that the kernel hands from one veth end to the other. It is
// to be called on both ends of a captured link, and wherever else packets of
// that link are made.
func (h *Host) DisableOffloads(ifname string) {
	h.lab.t.Helper()
	h.configure(func() error {
		return h.Do(func() error {
			for _, o := range offloads {
				if err := ethtool(ifname, o.cmd, 0); err != nil {
					return fmt.Errorf("turn %s of %s off: %w", o.name, ifname, err)
				}
			}
			return nil
		})
	})
}

// EnableGRO has an interface put the segments of a TCP connection that arrive
// together into one large packet again (generic receive offload), as network
// cards do: what the host forwards from there is such packets, whatever was on
// the wire.
func (h *Host) EnableGRO(ifname string) {
	h.lab.t.Helper()
	h.configure(func() error {
		return h.Do(func() error {
			for _, cmd := range []uint32{unix.ETHTOOL_SRXCSUM, unix.ETHTOOL_SGRO} {
				if err := ethtool(ifname, cmd, 1); err != nil {
					return fmt.Errorf("turn generic receive offload of %s on: %w", ifname, err)
				}
			}
			return nil
		})
	})
}

var offloads = []struct {
	name string
	cmd  uint32
}{
	{"receive checksum offload", unix.ETHTOOL_SRXCSUM},
	{"transmit checksum offload", unix.ETHTOOL_STXCSUM},
	{"scatter-gather", unix.ETHTOOL_SSG},
	{"TCP segmentation offload", unix.ETHTOOL_STSO},
	{"generic segmentation offload", unix.ETHTOOL_SGSO},
	{"generic receive offload", unix.ETHTOOL_SGRO},
}

// ethtool sets one of an interface's switches, by a struct ethtool_value.
func ethtool(ifname string, cmd, value uint32) error {
	arg := struct{ cmd, value uint32 }{cmd, value}
	return ethtoolCall(ifname, unsafe.Pointer(&arg))
}

// ethtoolCall is SIOCETHTOOL with an argument that begins with the number of the command: see
// ethtool(7) and linux/ethtool.h. The kernel writes its answer there.
func ethtoolCall(ifname string, arg unsafe.Pointer) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req := struct { // struct ifreq with ifr_data in its union
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [24 - unsafe.Sizeof(uintptr(0))]byte
	}{data: arg}
	if copy(req.name[:unix.IFNAMSIZ-1], ifname) != len(ifname) {
		return unix.ENODEV
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	if errno != 0 {
		return errno
	}
	return nil
}
