//go:build linux

package fastpath

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
	"github.com/steppe-nat64/steppe/translate"
)

// A tunnelKind is a tunnel between the client, by IPv6, and the server, by IPv4.
type tunnelKind struct {
	name      string
	six, four string // what ip link add needs, at the client and at the server
	mtu       int    // inside
	inner     string // the families that pass it: 4, 6 or both
	// complete is what becomes of packets to the client whose checksums and segments are
	// complete. Those of the client are always translated.
	complete Reason
}

var tunnelKinds = []tunnelKind{
	{"vxlan", "vxlan id 7 dstport 4789", "vxlan id 7 dstport 4789 udpcsum df set", 1300, "46", ByHost},
	{"vxlan-without-df", "vxlan id 7 dstport 4789", "vxlan id 7 dstport 4789 udpcsum", 1200, "4", ByHost},
	{"vxlan-to-be-cut", "vxlan id 7 dstport 4789", "vxlan id 7 dstport 4789 udpcsum", 1300, "46", Size},
	{"vxlan-without-checksum", "vxlan id 7 dstport 4789", "vxlan id 7 dstport 4789 noudpcsum", 1200, "4", NoChecksum},
	{"geneve", "geneve id 7", "geneve id 7 udpcsum df set", 1300, "46", ByHost},
	{"ipip", "ip6tnl mode ipip6 encaplimit none", "ipip", 1300, "4", ByHost},
	{"6in4", "ip6tnl mode ip6ip6 encaplimit none", "sit", 1300, "6", ByHost},
	{"gre", "ip6gre encaplimit none", "gre", 1300, "46", ByHost},
}

// TestTunnels sends TCP through tunnels across the program. Where hosts offload, the kernel
// leaves the checksums inside a tunnel unfinished, and its packets are super-packets: the program
// must take neither for those of the outer header, and leaves them to the translator. The gateway
// completes checksums before packets leave it: otherwise a receiver trusts the outer one, too.
// Where hosts do not offload, the program translates the packets of the tunnel.
func TestTunnels(t *testing.T) {
	for _, k := range tunnelKinds {
		for _, offloads := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/offloads=%v", k.name, offloads), func(t *testing.T) {
				l := newGatewayLab(t, false)
				l.gateway.DisableOffloads("lan0")
				l.gateway.DisableOffloads("wan0")
				if !offloads {
					l.client.DisableOffloads("eth0")
					l.server.DisableOffloads("eth0")
				}
				k.add(t, l.client, k.six, "2001:db8:a::2", labServer)
				k.add(t, l.server, k.four, "203.0.113.2", "198.51.100.2")
				for _, family := range k.inner {
					l.through(t, family)
				}
				to4, to6 := Offload, Offload
				if !offloads {
					to4, to6 = ByHost, k.complete
				} else if k.complete == NoChecksum {
					to6 = NoChecksum
				}
				l.mostly(t, translate.V6ToV4, to4)
				l.mostly(t, translate.V4ToV6, to6)
				for _, h := range []*netlab.Host{l.client, l.server} {
					if n := badChecksums(t, h); n != 0 {
						t.Errorf("%s received %d packets with a wrong checksum", h.Name(), n)
					}
				}
			})
		}
	}
}

// add makes one end of a tunnel. It skips the test if the kernel has no such tunnel, unless
// the environment says that it has all.
func (k *tunnelKind) add(t *testing.T, h *netlab.Host, kind, local, remote string) {
	t.Helper()
	args := fmt.Sprintf("link add tunnel mtu %d type %s remote %s", k.mtu, kind, remote)
	if !strings.HasPrefix(kind, "geneve") { // which has no such thing
		args += " local " + local
	}
	out, err := h.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil && strings.Contains(string(out), "Unknown device type") && os.Getenv("STEPPE_REQUIRE_TUNNELS") != "1" {
		t.Skipf("this kernel has no tunnels of type %s", strings.Fields(kind)[0])
	}
	if err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

// through transfers data through the tunnel, both ways, by addresses of a family.
func (l *gatewayLab) through(t *testing.T, family rune) {
	t.Helper()
	client, server, bits := "10.5.0.6", "10.5.0.4", 24
	if family == '6' {
		client, server, bits = "fd00:5::6", "fd00:5::4", 64
	}
	l.client.Addr("tunnel", fmt.Sprintf("%s/%d", client, bits))
	l.server.Addr("tunnel", fmt.Sprintf("%s/%d", server, bits))
	l.client.Up("tunnel")
	l.server.Up("tunnel")
	addr := netip.MustParseAddr(server)
	if _, err := l.client.Ping(addr, netlab.Echo{Size: 1000, Timeout: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(addr, 7000).String()
	if _, err := l.client.Upload(to, 3<<20, 30*time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := l.client.Download(to, 3<<20, 30*time.Second); err != nil {
		t.Fatal(err)
	}
}

// mostly checks that nearly all bytes of a direction have been counted with one reason.
func (l *gatewayLab) mostly(t *testing.T, d translate.Direction, want Reason) {
	t.Helper()
	counts, err := l.path.Counts()
	if err != nil {
		t.Fatal(err)
	}
	var by, all uint64
	for _, c := range counts {
		if c.Direction != d {
			continue
		}
		t.Log(c.Direction, c.Reason, c.Packets, c.Bytes, c.Segments)
		if all += c.Bytes; c.Reason == want {
			by = c.Bytes
		}
	}
	if all < 3<<20 || by*100 < all*95 {
		t.Errorf("%v: %d of %d bytes are counted as %v", d, by, all, want)
	}
}
