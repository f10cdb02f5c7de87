package autogw

import (
	"fmt"
	"strings"
)

// config returns the tayga.conf. It has no routes: they stand in a table of their own.
func (p *Plan) config() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("tun-device %s", Device)
	line("tun-up yes")
	line("prefix %v", Prefix)
	line("ipv4-addr %v", p.IPv4)
	line("ipv6-addr %v", p.IPv6)
	word := "dynamic-pool"
	if p.Shared {
		word = "stateful-pool"
	}
	for _, x := range p.Pool {
		line("%s %v", word, x)
	}
	if p.Shared {
		line("# A quarter of all sessions and half of the ports would be for each /64.")
		line("stateful-max-per-prefix 128 1000")
	}
	line("# No client has an address inside the prefix: with one, it could forge any IPv4 source.")
	line("embedded-source drop")
	return b.String()
}
