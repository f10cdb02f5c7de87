package clat

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/hostnet"
)

// A kernel is the network of the machine, by netlink. All sockets are opened by openKernel.
type kernel struct {
	device string // of the CLAT
	handle *netlink.Handle
	links  map[int]*nl.SocketHandle
	*watcher
	forceForwarding bool // Linux 6.17 has it
}

// openKernel opens the sockets in the network namespace of the calling thread.
func openKernel(device string) (_ host, err error) {
	k := &kernel{device: device}
	if k.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("route netlink: %w", err)
	}
	socket, err := nl.GetNetlinkSocketAt(-1, -1, unix.NETLINK_ROUTE)
	if err != nil {
		k.handle.Close()
		return nil, fmt.Errorf("route netlink: %w", err)
	}
	k.links = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}
	if k.watcher, err = openWatcher(); err != nil {
		k.handle.Close()
		socket.Close()
		return nil, err
	}
	_, err = os.Stat("/proc/sys/net/ipv6/conf/all/force_forwarding")
	k.forceForwarding = err == nil
	return k, nil
}

func (k *kernel) forces() bool { return k.forceForwarding }

func (k *kernel) close() error {
	err := k.watcher.close()
	k.handle.Close()
	for _, h := range k.links {
		h.Close()
	}
	return err
}

const (
	maxDumps  = 10   // of one list that changes interrupt
	maxRoutes = 8192 // that are kept, of those that may not matter
)

// dump repeats a dump that changes have interrupted. What the last one has listed is used
// nevertheless: another change follows, and with it another snapshot.
func dump(what string, f func() error) error {
	for range maxDumps {
		if err := f(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			if err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		}
	}
	return nil
}

// snapshot looks at the network.
func (k *kernel) snapshot() (*snapshot, error) {
	s := new(snapshot)
	for _, step := range []struct {
		what string
		do   func(*snapshot) error
	}{{"links", k.listLinks}, {"addresses", k.listAddrs}, {"routes", k.listRoutes}, {"rules", k.listRules}} {
		if err := dump(step.what, func() error { return step.do(s) }); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// listLinks reads what the netlink package does not: the MTU for IPv6.
func (k *kernel) listLinks(s *snapshot) error {
	s.links = nil
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	req.Sockets = k.links
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	return req.ExecuteIter(unix.NETLINK_ROUTE, unix.RTM_NEWLINK, func(b []byte) bool {
		if l, ok := parseLink(b); ok {
			s.links = append(s.links, l)
		}
		return true
	})
}

func (k *kernel) listAddrs(s *snapshot) error {
	s.addrs = nil
	all, err := k.handle.AddrList(nil, netlink.FAMILY_ALL)
	for _, a := range all {
		ip, ok := toAddr(a.IP)
		if !ok {
			continue
		}
		bits, _ := a.Mask.Size()
		s.addrs = append(s.addrs, addrState{
			index: a.LinkIndex, prefix: netip.PrefixFrom(ip, bits), global: a.Scope == unix.RT_SCOPE_UNIVERSE,
			temporary: a.Flags&unix.IFA_F_TEMPORARY != 0, deprecated: a.Flags&unix.IFA_F_DEPRECATED != 0,
			checking: a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == unix.IFA_F_TENTATIVE,
			unusable: a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 && a.Flags&unix.IFA_F_OPTIMISTIC == 0,
		})
	}
	return err
}

// listRoutes lists those of main, those of the CLAT, and those of other tables that may lead to
// a NAT64 gateway of this machine.
func (k *kernel) listRoutes(s *snapshot) error {
	s.routes = nil
	device := s.indexOf(k.device)
	add := func(r netlink.Route) bool {
		if len(s.routes) < maxRoutes || isDefault(r) || r.Table == hostnet.Table || r.LinkIndex == device {
			s.addRoute(r)
		}
		return true
	}
	filter := &netlink.Route{Table: unix.RT_TABLE_UNSPEC} // all tables
	err := k.handle.RouteListFilteredIter(netlink.FAMILY_V4, filter, netlink.RT_FILTER_TABLE, add)
	if err != nil {
		return err
	}
	return k.handle.RouteListFilteredIter(netlink.FAMILY_V6, filter, netlink.RT_FILTER_TABLE, add)
}

func isDefault(r netlink.Route) bool {
	if r.Dst == nil {
		return true
	}
	bits, _ := r.Dst.Mask.Size()
	return bits == 0
}

// addRoute adds the next hops of a route that matters.
func (s *snapshot) addRoute(r netlink.Route) {
	six := r.Family == netlink.FAMILY_V6
	dst := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if six {
		dst = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	if r.Dst != nil {
		ip, ok := toAddr(r.Dst.IP)
		if !ok {
			return
		}
		bits, _ := r.Dst.Mask.Size()
		dst = netip.PrefixFrom(ip, bits)
	}
	const noFrom = 1 // of more: the CLAT's default route and the halves of a VPN
	switch {
	case r.Table == unix.RT_TABLE_LOCAL || r.Tos != 0:
		return
	case !six && dst.Bits() > noFrom, six && r.Table == mainTable && dst.Addr().IsLinkLocalUnicast():
		return
	}
	state := routeState{
		index: r.LinkIndex, dst: dst, table: r.Table, metric: r.Priority, mtu: r.MTU,
		unicast: r.Type == unix.RTN_UNICAST, linkDown: r.Flags&(unix.RTNH_F_LINKDOWN|unix.RTNH_F_DEAD) != 0,
	}
	state.src, _ = toAddr(r.Src)
	state.via, _ = toAddr(r.Gw)
	if len(r.MultiPath) == 0 {
		s.routes = append(s.routes, state)
	}
	for _, hop := range r.MultiPath {
		state.index = hop.LinkIndex
		state.via, _ = toAddr(hop.Gw)
		state.linkDown = hop.Flags&(unix.RTNH_F_LINKDOWN|unix.RTNH_F_DEAD) != 0
		s.routes = append(s.routes, state)
	}
}

// listRules lists the rules of the CLAT's table.
func (k *kernel) listRules(s *snapshot) error {
	s.rules = nil
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all, err := k.handle.RuleList(family)
		if err != nil {
			return err
		}
		for _, r := range all {
			if r.Table == hostnet.Table {
				s.rules = append(s.rules, hostnet.Rule{
					Six: family == netlink.FAMILY_V6, Priority: r.Priority, Table: r.Table,
					From: toPrefix(r.Src), To: toPrefix(r.Dst), In: r.IifName,
				})
			}
		}
	}
	return nil
}

// toAddr turns an address of package net into one of netip. IPv4 is never mapped to IPv6.
func toAddr(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip)
	return a.Unmap(), ok
}

func toPrefix(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	ip, _ := toAddr(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(ip, bits)
}
