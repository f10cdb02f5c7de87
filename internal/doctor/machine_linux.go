package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/fastpath"
	"github.com/steppe-nat64/steppe/internal/qdisc"
	"github.com/steppe-nat64/steppe/tun"
)

// Look finds out what there is to know about this machine, as seen from the
// network namespace of the process.
func Look() (*Machine, error) {
	m := &Machine{
		Setting:    setting,
		LocalPorts: localPorts,
		Route:      route,
		Policy:     policy(),
		Forwarded:  forwarded, TableRoute: tableRoute,
		RoutesTo: routesTo,
		Specs:    specs,
		Proxied:  proxied,
		Attached: attachedTo,
		Active:   active, NoNftables: noNftables(),
		Resolve:   resolve,
		TunDriver: tunDriver(), NoFastPath: fastpath.Supported(),
		Tools: Tools{Sysctl: find("sysctl") != "", Nft: find("nft") != "", IPTables: find("iptables") != ""},
	}
	m.Filters = filters()
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("doctor: list interfaces: %w", err)
	}
	for _, l := range links {
		link, err := look(l)
		if err != nil {
			return nil, fmt.Errorf("doctor: look at %s: %w", l.Attrs().Name, err)
		}
		m.Links = append(m.Links, link)
	}
	return m, nil
}

// look finds out what an interface is like.
func look(l netlink.Link) (Link, error) {
	a := l.Attrs()
	link := Link{
		Name:     a.Name,
		Kind:     l.Type(),
		Index:    a.Index,
		MTU:      a.MTU,
		Up:       a.RawFlags&unix.IFF_UP != 0,
		Running:  a.RawFlags&unix.IFF_RUNNING != 0,
		Loopback: a.RawFlags&unix.IFF_LOOPBACK != 0,
	}
	if t, ok := l.(*netlink.Tuntap); ok {
		link.Tun = t.Mode == netlink.TUNTAP_MODE_TUN
		link.Running = link.Running || attached(t)
		if i, err := tun.Inspect(a.Name); err == nil {
			link.Ownerless = i.Ownerless()
		}
	}
	link.Physical = physical(a.Name)
	link.GRO = offload(a.Name, unix.ETHTOOL_GGRO) != 0
	link.LRO = offload(a.Name, unix.ETHTOOL_GFLAGS)&ethFlagLRO != 0
	if link.GRO {
		link.ListGRO, _ = feature(a.Name, "rx-gro-list")
		on, possible := feature(a.Name, "rx-udp-gro-forwarding")
		link.NoUDPGRO = possible && !on
	}
	if link.Tun {
		link.Bypassed, _ = qdisc.Bypassed(a.Index)
	}
	addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return link, err
	}
	for _, x := range addrs {
		ip, ok := netip.AddrFromSlice(x.IP)
		bits, _ := x.Mask.Size()
		if !ok {
			continue
		}
		p := netip.PrefixFrom(ip.Unmap(), bits)
		link.Addrs = append(link.Addrs, p)
		if p.Addr().Is6() && p.Addr().IsGlobalUnicast() && x.Flags&unix.IFA_F_PERMANENT == 0 {
			link.Advertised = true
		}
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{LinkIndex: a.Index, Protocol: unix.RTPROT_RA},
		netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL)
	link.Advertised = link.Advertised || err == nil && len(routes) > 0
	return link, nil
}

// attached reports whether a process has a TUN device: one that is down has no
// carrier to tell. The kernel counts the queues of a device that may have several,
// and one that is not persistent is not there without a process.
func attached(t *netlink.Tuntap) bool {
	switch {
	case t.Flags&netlink.TUNTAP_MULTI_QUEUE != 0:
		return t.Queues+t.DisabledQueues > 0
	case t.NonPersist:
		return true
	}
	return locked(t.Name)
}

// locked reports whether a daemon of ours has the named TUN device, by the socket
// that package tun binds for that, and anybody else may. It has to do for a single
// queue and for kernels before 4.17.
func locked(name string) bool {
	text, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasSuffix(line, " @steppe-tun/"+name+"\n") {
			return true
		}
	}
	return false
}

// setting reads a number below /proc/sys/net.
func setting(path string) (int, bool) {
	text, err := os.ReadFile("/proc/sys/net/" + path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return n, err == nil
}

// localPorts reads the range of ports of local sockets.
func localPorts() (low, high int, ok bool) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 0, 0, false
	}
	n, err := fmt.Sscan(string(text), &low, &high)
	return low, high, n == 2 && err == nil
}

// proxied looks for a proxy entry among the neighbours.
func proxied(a netip.Addr, link string) bool {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return false
	}
	family := netlink.FAMILY_V4
	if a.Is6() {
		family = netlink.FAMILY_V6
	}
	entries, err := netlink.NeighProxyList(l.Attrs().Index, family)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if e.IP.Equal(a.AsSlice()) && e.LinkIndex == l.Attrs().Index {
			return true
		}
	}
	return false
}

// resolve asks the servers of /etc/resolv.conf.
func resolve(ctx context.Context, name string) ([]netip.Addr, error) {
	r := net.Resolver{PreferGo: true}
	return r.LookupNetIP(ctx, "ip6", name)
}

// tunDriver looks for /dev/net/tun.
func tunDriver() TunDriver {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	switch {
	case err == nil:
		f.Close()
		return TunUsable
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return TunAbsent
	case !errors.Is(err, os.ErrNotExist):
		return TunUsable // for root, that is
	}
	misc, _ := os.ReadFile("/proc/misc")
	for _, line := range strings.Split(string(misc), "\n") {
		if f := strings.Fields(line); len(f) == 2 && f[1] == "tun" {
			return TunNoNode
		}
	}
	return TunAbsent
}

// find returns the path of a program, also of one for root that is not in
// everybody's PATH; empty if there is none.
func find(program string) string {
	for _, name := range []string{program, "/usr/sbin/" + program, "/sbin/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}
