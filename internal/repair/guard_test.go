package repair

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/steppe-nat64/steppe/internal/doctor"
)

// hub is a machine with an IPv6 default route by router advertisements, and IPv4 hosts on
// the network of eth1.
func hub(acceptRA int) *doctor.Machine {
	p := netip.MustParsePrefix
	routes := []doctor.Route{
		{Link: "eth0", Dst: p("::/0"), Via: netip.MustParseAddr("fe80::1")},
		{Link: "eth1", Dst: p("198.51.100.0/24"), Connected: true},
		{Link: "eth1", Dst: p("0.0.0.0/0"), Via: netip.MustParseAddr("198.51.100.254")},
		{Link: "nat64", Dst: p("192.168.255.0/24")},
		{Link: "lo", Dst: p("198.51.100.1/32"), Local: true},
	}
	return &doctor.Machine{
		Links: []doctor.Link{
			{Name: "eth0", Advertised: true, Addrs: []netip.Prefix{p("2001:db8::1/64")}},
			{Name: "eth1", Addrs: []netip.Prefix{p("198.51.100.1/24")}},
			{Name: "nat64", Tun: true},
		},
		Setting: func(path string) (int, bool) {
			if path == "ipv6/conf/eth0/accept_ra" {
				return acceptRA, true
			}
			return 0, true
		},
		Route: func(a netip.Addr) (best doctor.Route) {
			for _, r := range routes {
				if r.Dst.Contains(a) && (best.Link == "" || r.Dst.Bits() > best.Dst.Bits()) {
					best = r
				}
			}
			return best
		},
	}
}

// Each thing that a command may touch, for connections from several sides.
func TestEndangered(t *testing.T) {
	const (
		near  = "198.51.100.7 198.51.100.1"  // on the network of eth1
		far   = "203.0.113.7 198.51.100.1"   // by its router
		six   = "2001:db8:9::7 2001:db8::1"  // by the router that advertises
		below = "192.168.255.7 198.51.100.1" // through the translator
		lost  = "203.0.113.7 10.0.0.1"       // to an address that is not here
	)
	set := func(name string, from, to int) doctor.Touch {
		return doctor.Touch{Kind: doctor.Setting, Name: name, Old: from, New: to}
	}
	about := func(kind doctor.Kind, prefix, link string) doctor.Touch {
		t := doctor.Touch{Kind: kind, Link: link}
		if prefix != "" {
			t.Prefix = netip.MustParsePrefix(prefix)
		}
		return t
	}
	for _, test := range []struct {
		name     string
		of       string
		touch    doctor.Touch
		acceptRA int
		undo     bool
		cut      bool
	}{
		{"default-route-beside-a-better-one", near, about(doctor.RouteTo, "0.0.0.0/0", "nat64"), 0, false, false},
		{"default-route", far, about(doctor.RouteTo, "0.0.0.0/0", "nat64"), 0, false, true},
		{"default-route-back", far, about(doctor.RouteTo, "0.0.0.0/0", "nat64"), 0, true, true},
		{"default-route-of-the-other-family", six, about(doctor.RouteTo, "0.0.0.0/0", "nat64"), 0, false, false},
		{"route-to-the-peer", near, about(doctor.RouteTo, "198.51.100.7/32", "nat64"), 0, false, true},
		{"route-to-the-router", far, about(doctor.RouteTo, "198.51.100.254/32", "nat64"), 0, false, true},
		{"route-elsewhere", far, about(doctor.RouteTo, "192.168.255.0/24", "nat64"), 0, false, false},
		{"route-of-a-connection-that-is-not-known", lost, about(doctor.RouteTo, "192.168.255.0/24", "nat64"), 0, false, true},
		{"link-that-it-passes", below, about(doctor.LinkState, "", "nat64"), 0, true, true},
		{"link", near, about(doctor.LinkState, "", "nat64"), 0, true, false},
		{"daemon-that-it-passes", below, about(doctor.Daemon, "", "nat64"), 0, false, true},
		{"daemon", far, about(doctor.Daemon, "", "nat64"), 0, false, false},
		{"offload-of-its-link", near, about(doctor.Offload, "", "eth1"), 0, false, true},
		{"offload", near, about(doctor.Offload, "", "eth0"), 0, false, false},
		{"own-address", near, about(doctor.Address, "198.51.100.1/24", "nat64"), 0, false, true},
		{"address", near, about(doctor.Address, "192.0.0.1/29", "nat64"), 0, false, false},
		{"proxy-for-the-peer", near, about(doctor.Proxy, "198.51.100.7/32", "eth0"), 0, false, true},
		{"proxy-on-its-link", near, about(doctor.Proxy, "198.51.100.9/32", "eth1"), 0, false, true},
		{"filter-of-its-device", below, about(doctor.Filter, "", "nat64"), 0, true, true},
		{"filter", near, about(doctor.Filter, "", "nat64"), 0, true, false},
		{"notrack-of-its-address", near, about(doctor.Filter, "198.51.100.1/32", ""), 0, false, true},
		{"table", near, about(doctor.Table, "", ""), 0, true, false},
		{"rule-of-the-device", below, about(doctor.Rule, "", "nat64"), 0, false, true},
		{"file", lost, about(doctor.File, "", ""), 0, false, false},
		{"forwarding-4", far, set("ipv4/ip_forward", 0, 1), 0, false, false},
		{"forwarding-4-back", far, set("ipv4/ip_forward", 0, 1), 0, true, false},
		{"forwarding-4-back-for-what-may-be-forwarded", lost, set("ipv4/ip_forward", 0, 1), 0, true, true},
		{"forwarding-6-deletes-the-route", six, set("ipv6/conf/all/forwarding", 0, 1), 1, false, true},
		{"forwarding-6-keeps-the-route", six, set("ipv6/conf/all/forwarding", 0, 1), 2, false, false},
		{"forwarding-6", near, set("ipv6/conf/all/forwarding", 0, 1), 1, false, false},
		{"accept_ra", six, set("ipv6/conf/eth0/accept_ra", 1, 2), 1, false, false},
		{"accept_ra-back", six, set("ipv6/conf/eth0/accept_ra", 1, 2), 2, true, true},
		{"rp_filter", far, set("ipv4/conf/all/rp_filter", 1, 0), 0, false, false},
		{"rp_filter-back", far, set("ipv4/conf/all/rp_filter", 1, 0), 0, true, true},
		{"rp_filter-of-another-link-back", far, set("ipv4/conf/nat64/rp_filter", 1, 2), 0, true, false},
		{"disable_ipv6-back", six, set("ipv6/conf/eth0/disable_ipv6", 1, 0), 0, true, true},
		{"disable_ipv6-of-the-device-back", six, set("ipv6/conf/nat64/disable_ipv6", 1, 0), 0, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			ends := strings.Fields(test.of)
			c := Connection{Peer: netip.MustParseAddr(ends[0]), Local: netip.MustParseAddr(ends[1])}
			why := Endangered([]Connection{c}, hub(test.acceptRA), []doctor.Touch{test.touch}, test.undo)
			assert.Equal(t, test.cut, why != "", why)
		})
	}
}
