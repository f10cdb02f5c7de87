package testbed

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
)

// SharedConf are lines of tayga.conf with which all hosts but the client share the
// addresses of a pool, which may be followed by a range of ports. The client leases an
// address.
func SharedConf(pool string) []string {
	addrs, _, _ := strings.Cut(pool, " ")
	return []string{
		"dynamic-pool-clients 2001:db8:c::/64", "stateful-clients " + Hosts.String(),
		"stateful-pool " + pool, "tun-route " + addrs,
	}
}

// SubscriberHost returns a host of Hosts in one of 65,000 prefixes of length 64.
func SubscriberHost(subscriber uint16, n uint32) netip.Addr {
	a := Host(n).As16()
	a[6], a[7] = byte(subscriber>>8), byte(subscriber)
	return netip.AddrFrom16(a)
}

// DNSPort is where the server takes datagrams without an answer, too, but sessions end
// after the time of DNS.
const DNSPort = 53

// Query6 is a datagram of a host to DNSPort: one session for each port.
func Query6(host netip.Addr, port uint16) []byte {
	return packettest.IP(packettest.Header{Src: host, Dst: ServerIn6}, packettest.UDP(port, DNSPort, []byte("query")))
}

// SYN6 is the first segment of a connection to a port that no server listens on.
func SYN6(host netip.Addr, port uint16) []byte {
	return packettest.IP(packettest.Header{Src: host, Dst: VoidIn6}, packettest.SYN(port, 80, packettest.MSS(1440)))
}

// SYN4 is the first segment of a connection from a foreign address to one of this side.
func SYN4(n uint32, dst netip.AddrPort) []byte {
	src := foreign4.Addr().As4()
	src[3] = byte(1 + n%250)
	h := packettest.Header{Src: netip.AddrFrom4(src), Dst: dst.Addr()}
	return packettest.IP(h, packettest.SYN(uint16(1024+n/250), dst.Port(), packettest.MSS(1460)))
}

// Shared is what --status --json says about shared addresses.
type Shared struct {
	Total, HalfOpen, Inbound, HeldSYN int
	Bindings, Hosts                   int
	Memory                            int
	Made, Ended                       uint64
	Denied                            map[string]uint64 // packets by direction and reason
}

// Shared asks the binary.
func (b *Bed) Shared() (s Shared, err error) {
	out, err := b.Gateway.Command(b.tayga, "-c", b.Path("tayga.conf"), "--status", "--json").Output()
	if err != nil {
		return s, err
	}
	type use struct{ Used int }
	var all struct {
		Pool *struct {
			Total    use
			HalfOpen use `json:"half_open"`
			Inbound  use `json:"opened_from_ipv4"`
			HeldSYN  use `json:"held_syns"`
			Bindings []struct{ Bindings int }
			Hosts    int
			Memory   int                         `json:"memory_bytes"`
			Made     []struct{ Sessions uint64 } `json:"sessions_made"`
			Ended    []struct{ Sessions uint64 } `json:"sessions_ended"`
			Denied   []struct {
				Direction, Reason string
				Packets           uint64
			}
		} `json:"stateful_pool"`
	}
	if err := json.Unmarshal(out, &all); err != nil {
		return s, err
	}
	p := all.Pool
	if p == nil {
		return s, fmt.Errorf("testbed: --status knows no stateful pool: %s", out)
	}
	s = Shared{Total: p.Total.Used, HalfOpen: p.HalfOpen.Used, Inbound: p.Inbound.Used, HeldSYN: p.HeldSYN.Used,
		Hosts: p.Hosts, Memory: p.Memory, Denied: make(map[string]uint64)}
	for _, n := range p.Bindings {
		s.Bindings += n.Bindings
	}
	for _, n := range p.Made {
		s.Made += n.Sessions
	}
	for _, n := range p.Ended {
		s.Ended += n.Sessions
	}
	for _, d := range p.Denied {
		s.Denied[d.Direction+" "+d.Reason] = d.Packets
	}
	return s, nil
}
