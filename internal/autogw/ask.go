package autogw

import (
	"context"
	"net"
	"net/netip"
)

// Resolves reports whether this machine answers the clients with DNS64: whether an address of
// it has IPv6 addresses inside the prefix for ipv4only.arpa, which has only IPv4 addresses (RFC
// 7050).
func (p *Plan) Resolves(ctx context.Context) bool {
	for _, own := range p.own() {
		r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp", netip.AddrPortFrom(own, 53).String())
		}}
		addrs, _ := r.LookupNetIP(ctx, "ip6", "ipv4only.arpa.")
		for _, a := range addrs {
			if Prefix.Contains(a) {
				return true
			}
		}
	}
	return false
}
