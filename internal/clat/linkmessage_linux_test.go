package clat

import (
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// TestParseLink reads what the kernel says of links: the lowest MTU, the kind and the state.
func TestParseLink(t *testing.T) {
	lab := netlab.New(t)
	host, far := lab.Host("host"), lab.Host("far")
	lab.Link(host, "eth0", far, "down", 1500)
	host.Sysctl("net/ipv6/conf/eth0/mtu", "1400")
	var all []linkState
	if err := host.Do(func() error {
		if err := netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "clat"}, Mode: netlink.TUNTAP_MODE_TUN}); err != nil {
			return err
		}
		req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
		req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
		return req.ExecuteIter(unix.NETLINK_ROUTE, unix.RTM_NEWLINK, func(b []byte) bool {
			if l, ok := parseLink(b); ok {
				all = append(all, l)
			}
			return true
		})
	}); err != nil {
		t.Fatal(err)
	}
	s := &snapshot{links: all}
	eth, lo, tun := s.linkByName("eth0"), s.linkByName("lo"), s.linkByName("clat")
	if eth == nil || !eth.works() || eth.mtu != 1500 || eth.mtu6 != 1400 || eth.kind != "veth" || eth.direct || eth.port {
		t.Errorf("eth0: %+v", eth)
	}
	if lo == nil || !lo.loopback || lo.works() {
		t.Errorf("lo: %+v", lo)
	}
	if tun == nil || tun.kind != "tun" || tun.up || !tun.direct {
		t.Errorf("clat: %+v", tun)
	}
}

// FuzzNetlink has messages that no kernel sends.
func FuzzNetlink(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{20, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4})
	f.Add([]byte{
		40, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // RTM_NEWLINK
		0, 0, 0, 0, 2, 0, 0, 0, 0x41, 0, 0, 0, 0, 0, 0, 0, // index 2, up and running
		8, 0, 3, 0, 'e', 't', 'h', 0, // IFLA_IFNAME
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		messages(b, func(kind uint16, body []byte) {
			if l, ok := parseLink(body); ok && (l.index <= 0 || l.name == "" || l.mtu6 < 0) {
				t.Errorf("%+v", l)
			}
		})
		parseLink(b)
	})
}
