package pref64

import (
	"net/netip"
	"strings"
)

// ParseResolvConf returns the resolvers of a resolv.conf(5) in their order, each once, the first
// maxServers of them. Lines that are no resolver are left out.
func ParseResolvConf(text string) []netip.Addr {
	var all []netip.Addr
	seen := map[netip.Addr]bool{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(f[1])
		if err != nil || seen[a] || a.IsMulticast() {
			continue
		}
		if seen[a] = true; len(all) < maxServers {
			all = append(all, a)
		}
	}
	return all
}
