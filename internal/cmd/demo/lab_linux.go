package main

import (
	"net/netip"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// lab is the laboratory of the demo. MTUs stand on the links:
//
//	            IPv6                IPv4                   ┌─1500─ server
//	client ─────9000───── gateway ──9000── router ─────────┼─1400─ narrow ─1500─ far
//	                    nat64 (9000)                       └─9000─ jumbo
//	second ─1500─ narrow6 ─1300─┘
//
// The second host is for the second part, in which it shares an IPv4 address with the
// client.
//
// The client's default route has the MTU of 1500 that a router advertisement
// would tell it; only the way to jumbo makes use of the large frames.
//
// IPv4 addresses are of 9.9.0.0/16. Nothing leaves the laboratory, and the
// well-known prefix is not for private or documentation addresses (RFC 6052
// §3.1), so the hosts need such as are in use elsewhere.
type lab struct {
	*netlab.Lab
	client, gateway, router, server, narrow, far, jumbo *netlab.Host
	second, narrow6                                     *netlab.Host
}

const (
	prefix64 = "64:ff9b::/96"
	pool     = "192.168.255.0/24"

	clientAddr  = "2001:db8:1::2"  // as which the client opens connections
	serviceAddr = "2001:db8:1::80" // as which it serves, by the static map
	service4    = "9.9.100.1"      // the IPv4 form of serviceAddr
	secondAddr  = "2001:db8:3::2"
	gatewayAddr = "2001:db8:1::1"
	taygaAddr   = "2001:db8:1::64"

	gateway4   = "9.9.0.1"
	router4    = "9.9.0.2"
	server4    = "9.9.1.2"
	far4       = "9.9.4.2"
	farShared4 = "9.9.4.3" // far, in the second part: its path MTU is not known yet
	jumbo4     = "9.9.3.2"

	ethernetMTU = 1500
	jumboMTU    = 9000
	narrowMTU   = 1400
	narrow6MTU  = 1300
)

func build(l *netlab.Lab) *lab {
	x := &lab{
		Lab:    l,
		client: l.Host("client"), gateway: l.Host("gateway"), router: l.Host("router"),
		server: l.Host("server"), narrow: l.Host("narrow"), far: l.Host("far"), jumbo: l.Host("jumbo"),
		second: l.Host("second"), narrow6: l.Host("narrow6"),
	}
	l.Link(x.client, "eth0", x.gateway, "eth0", jumboMTU)
	l.Link(x.gateway, "eth1", x.router, "eth0", jumboMTU)
	l.Link(x.router, "eth1", x.server, "eth0", ethernetMTU)
	l.Link(x.router, "eth2", x.narrow, "eth0", narrowMTU)
	l.Link(x.narrow, "eth1", x.far, "eth0", ethernetMTU)
	l.Link(x.router, "eth3", x.jumbo, "eth0", jumboMTU)
	l.Link(x.gateway, "eth2", x.narrow6, "eth0", narrow6MTU)
	l.Link(x.narrow6, "eth1", x.second, "eth0", ethernetMTU)
	for _, router := range []*netlab.Host{x.gateway, x.router, x.narrow, x.narrow6} {
		router.Forwarding()
	}

	x.client.Addr("eth0", clientAddr+"/64")
	x.client.Addr("eth0", serviceAddr+"/64")
	x.client.AddRoute(netlab.Route{Dst: "::/0", Via: gatewayAddr, Src: clientAddr, MTU: ethernetMTU})
	x.client.AddRoute(netlab.Route{Dst: embed(jumbo4).String(), Via: gatewayAddr, Src: clientAddr})

	x.second.Addr("eth0", secondAddr+"/64")
	x.second.DefaultRoute("2001:db8:3::1", "")
	x.narrow6.Addr("eth1", "2001:db8:3::1/64")
	x.narrow6.Addr("eth0", "2001:db8:2::2/64")
	x.narrow6.DefaultRoute("2001:db8:2::1", "")
	x.gateway.Addr("eth2", "2001:db8:2::1/64")
	x.gateway.Route("2001:db8:3::/64", "2001:db8:2::2", "")

	x.gateway.Addr("eth0", gatewayAddr+"/64")
	x.gateway.Addr("eth1", gateway4+"/24")
	x.gateway.DefaultRoute(router4, "")
	x.gateway.Nft(`table ip nat {
		chain postrouting {
			type nat hook postrouting priority srcnat
			ip saddr ` + pool + ` oifname "eth1" masquerade
		}
	}`)

	x.router.Addr("eth0", router4+"/24")
	x.router.Addr("eth1", "9.9.1.1/24")
	x.router.Addr("eth2", "9.9.2.1/24")
	x.router.Addr("eth3", "9.9.3.1/24")
	x.router.Route("9.9.4.0/24", "9.9.2.2", "")
	x.router.Route(service4, gateway4, "")

	x.server.Addr("eth0", server4+"/24")
	x.server.DefaultRoute("9.9.1.1", "")
	x.narrow.Addr("eth0", "9.9.2.2/24")
	x.narrow.Addr("eth1", "9.9.4.1/24")
	x.narrow.DefaultRoute("9.9.2.1", "")
	x.far.Addr("eth0", far4+"/24")
	x.far.Addr("eth0", farShared4+"/24")
	x.far.DefaultRoute("9.9.4.1", "")
	x.jumbo.Addr("eth0", jumbo4+"/24")
	x.jumbo.DefaultRoute("9.9.3.1", "")
	return x
}

// disableOffloads makes all links carry finished packets.
func (x *lab) disableOffloads() {
	for _, h := range []*netlab.Host{x.client, x.gateway, x.router, x.server, x.narrow, x.far, x.jumbo, x.second, x.narrow6} {
		h.DisableOffloads("eth0")
	}
	x.gateway.DisableOffloads("eth1")
	x.gateway.DisableOffloads("eth2")
	x.narrow6.DisableOffloads("eth1")
	x.router.DisableOffloads("eth1")
	x.router.DisableOffloads("eth2")
	x.router.DisableOffloads("eth3")
	x.narrow.DisableOffloads("eth1")
}

// embed returns the IPv6 form of an IPv4 address: RFC 6052 §2.2, for a /96.
func embed(ipv4 string) netip.Addr {
	a := netip.MustParsePrefix(prefix64).Addr().As16()
	b := netip.MustParseAddr(ipv4).As4()
	copy(a[12:], b[:])
	return netip.AddrFrom16(a)
}

// at joins an address and a port.
func at(addr netip.Addr, port uint16) string {
	return netip.AddrPortFrom(addr, port).String()
}
