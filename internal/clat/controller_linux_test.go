package clat

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/mdlayher/ndp"

	"github.com/steppe-nat64/steppe/internal/hostnet"
)

// TestReal follows a router, with the kernel: prefixes, networks, links.
func TestReal(t *testing.T) {
	r := newReal(t, nil)
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b::/96", 600)
	rep := r.on("64:ff9b::/96")
	if rep.Mode != Own || rep.MTU != 1472 || rep.Uplink != "eth0" || !netip.MustParsePrefix(net1).Contains(rep.Host6) {
		t.Errorf("report: %+v", rep)
	}
	if got := r.route4("9.9.1.2"); !strings.Contains(got, "dev clat src 192.0.0.1") || !strings.Contains(got, "mtu 1472") {
		t.Errorf("route: %s", got)
	}

	// Another prefix, while the first one is withdrawn.
	r.advertise("2001:db8:1::", 3600, 1800, "2001:db8:64::/64", 600)
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b::/96", 0)
	r.on("2001:db8:64::/64")
	r.advertise("2001:db8:1::", 3600, 1800, "2001:db8:64::/64", 0)
	r.await("no prefix", func(rep Report) bool { return rep.State == Searching && rep.Carrier == ByNone })
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b::/96", 600)
	r.on("64:ff9b::/96")

	// Another network: the first one is deprecated.
	r.advertise("2001:db8:1::", 3600, 0, "64:ff9b::/96", 600)
	r.advertise("2001:db8:2::", 3600, 1800, "64:ff9b::/96", 600)
	r.await("renumbered", func(rep Report) bool {
		return rep.State == On && netip.MustParsePrefix(net2).Contains(rep.Host6)
	})

	r.host.MTU("eth0", 1400)
	r.await("MTU", func(rep Report) bool { return rep.State == On && rep.MTU == 1372 })
	r.host.MTU("eth0", 1500)

	r.host.Down("eth0")
	r.await("no uplink", func(rep Report) bool { return rep.State == Searching && rep.Uplink == "" })
	r.host.Up("eth0")
	rep = r.on("64:ff9b::/96")

	// Suspended for a moment: nothing changes.
	r.c.Resumed()
	if again := r.on("64:ff9b::/96"); again.Host6 != rep.Host6 || again.Since != rep.Since {
		t.Errorf("resumed: %+v, before: %+v", again, rep)
	}
}

// TestRealNative has native IPv4 and a VPN come and go. Connections by the CLAT stay with it.
func TestRealNative(t *testing.T) {
	r := newReal(t, nil)
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b::/96", 600)
	r.on("64:ff9b::/96")
	r.host.Addr("eth0", "192.0.2.2/24")
	for _, route := range [][]string{
		{"default", "via", "192.0.2.1", "dev", "eth0", "metric", "100"},
		{"default", "via", "192.0.2.1", "dev", "eth0", "metric", "30000"},
		{"0.0.0.0/1", "dev", "eth0"},
	} {
		r.ip(append([]string{"route", "add"}, route...)...)
		r.await("native", func(rep Report) bool { return rep.NativeDevice == "eth0" && rep.Carrier == ByNative })
		r.awaitRoute("9.9.1.2", "dev eth0")
		r.awaitRoute("9.9.1.2 from 192.0.0.1", "dev clat")
		r.ip(append([]string{"route", "del"}, route...)...)
		r.await("no native", func(rep Report) bool { return rep.NativeDevice == "" && rep.Carrier == ByCLAT })
		r.awaitRoute("9.9.1.2", "dev clat")
	}
	// The default route of a VPN without a NAT64 takes IPv6, but not the CLAT's.
	r.lab.Link(r.host, "vpn", r.router, "inside", 1400)
	r.ip("-6", "route", "add", "default", "dev", "vpn", "metric", "10")
	r.awaitRoute("64:ff9b::909:102 from 2001:db8:1::77 iif clat", "dev eth0")
	r.ip("address", "del", "192.0.2.2/24", "dev", "eth0")
}

// TestRealRepair has other programs delete what the CLAT has made.
func TestRealRepair(t *testing.T) {
	r := newReal(t, nil)
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b::/96", 600)
	r.on("64:ff9b::/96")
	r.ip("route", "del", "default", "dev", "clat")
	r.awaitRoute("9.9.1.2", "dev clat src 192.0.0.1")
	r.ip("rule", "del", "priority", "464")
	r.awaitText([]string{"ip", "rule"}, "from 192.0.0.1 lookup 464")
	r.ip("address", "flush", "dev", "clat")
	r.awaitRoute("9.9.1.2", "dev clat src 192.0.0.1")
	r.host.Nft("flush ruleset")
	r.awaitText([]string{"nft", "list", "ruleset"}, hostnet.TableName("clat", "guard"))
	r.ip("link", "set", "clat", "down")
	r.awaitRoute("9.9.1.2", "dev clat src 192.0.0.1")
}

// TestRealShared has an uplink with one address alone.
func TestRealShared(t *testing.T) {
	r := newReal(t, nil)
	r.host.Sysctl("net/ipv6/conf/eth0/autoconf", "0")
	r.host.Addr("eth0", "2001:db8:1::5/128")
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b::/96", 600)
	if rep := r.on("64:ff9b::/96"); rep.Mode != Shared || !strings.Contains(rep.Why, "no room") {
		t.Errorf("report: %+v", rep)
	}
	r.awaitText([]string{"nft", "list", "ruleset"}, "snat to 2001:db8:1::5")
}

// TestRealConflict has the other node take the address of the CLAT.
func TestRealConflict(t *testing.T) {
	r := newReal(t, nil)
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b::/96", 600)
	addr := r.on("64:ff9b::/96").Host6
	r.router.Addr("down", addr.String()+"/64") // without detection
	r.conn.WriteTo(&ndp.NeighborAdvertisement{Override: true, TargetAddress: addr, Options: []ndp.Option{r.linkLayer()}}, nil, netip.MustParseAddr("ff02::1"))
	r.conn.WriteTo(&ndp.NeighborAdvertisement{Override: true, TargetAddress: addr, Options: []ndp.Option{r.linkLayer()}}, nil, netip.MustParseAddr("ff02::1"))
	rep := r.await("another address", func(rep Report) bool { return rep.State == On && rep.Host6 != addr })
	if rep.Mode != Own || rep.Conflicts == 0 {
		t.Errorf("report: %+v", rep)
	}
}

func (r *real) linkLayer() ndp.Option {
	mac, err := r.router.HardwareAddr("down")
	if err != nil {
		r.t.Fatal(err)
	}
	return &ndp.LinkLayerAddress{Direction: ndp.Target, Addr: mac}
}

// TestRealGateway has a NAT64 gateway on the same machine: its prefix is not the network's.
func TestRealGateway(t *testing.T) {
	r := newReal(t, nil)
	r.ip("tuntap", "add", "nat64", "mode", "tun")
	r.ip("link", "set", "nat64", "up")
	r.ip("-6", "route", "add", "64:ff9b::/96", "dev", "nat64")
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b::/96", 600)
	r.await("refused", func(rep Report) bool { return rep.State == Searching && rep.RefusedPrefixes > 0 })
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b:1::/96", 600)
	r.on("64:ff9b:1::/96")
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b:1::/96", 0)
	r.await("none", func(rep Report) bool { return rep.State == Searching })
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b::/96", 600)
	r.ip("link", "del", "nat64")
	r.on("64:ff9b::/96")
}

// TestRealOther does not start beside another CLAT, and stops when one comes.
func TestRealOther(t *testing.T) {
	r := newReal(t, nil)
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b::/96", 600)
	r.on("64:ff9b::/96")
	r.ip("address", "add", "192.0.0.3/32", "dev", "eth0")
	r.await("off", func(rep Report) bool { return rep.State == Off && strings.Contains(rep.LastError, "NetworkManager") })
	var other *OtherError
	err := r.host.Do(func() error {
		_, err := Open(r.c.cfg)
		return err
	})
	if !errors.As(err, &other) || other.Device != "eth0" {
		t.Errorf("Open: %v", err)
	}
	r.ip("address", "del", "192.0.0.3/32", "dev", "eth0")
	r.on("64:ff9b::/96")
}
