package autogw

import (
	"fmt"
	"net/netip"
	"strings"
)

// A Need is something that clients need besides the translator, with the lines for a program
// that provides it.
type Need struct {
	What    string
	Recipes []Recipe
}

// A Recipe is a file of a program.
type Recipe struct {
	Program string
	File    string
	Text    string
}

// Needs lists what clients need: a resolver with DNS64, and routes.
func (p *Plan) Needs() []Need {
	return []Need{
		{"a resolver with DNS64", []Recipe{
			{"BIND 9", "/etc/bind/named.conf.options", p.bind()},
			{"unbound", "/etc/unbound/unbound.conf.d/dns64.conf", p.unbound()},
		}},
		{"a route to " + Prefix.String() + ", and the address of the resolver, by router advertisements", []Recipe{
			{"radvd (nat64prefix needs 2.20)", "/etc/radvd.conf", p.radvd()},
		}},
	}
}

// own lists the addresses of this machine that clients can ask.
func (p *Plan) own() (list []netip.Addr) {
	for _, l := range p.LANs {
		if l.Own.IsValid() {
			list = append(list, l.Own)
		}
	}
	return list
}

// nets lists the networks of clients.
func (p *Plan) nets() (list []netip.Prefix) {
	for _, l := range p.LANs {
		nets := l.Clients
		if len(nets) == 0 {
			nets = l.Nets
		}
		list = append(list, nets...)
	}
	return list
}

// items writes each item with what ends it.
func items[T any](list []T, end string) string {
	var b strings.Builder
	for _, x := range list {
		fmt.Fprintf(&b, " %v%s", x, end)
	}
	return b.String()
}

func (p *Plan) bind() string {
	clients := items(p.nets(), ";")
	return fmt.Sprintf(`options {
	directory "/var/cache/bind";
	listen-on { 127.0.0.1; };
	listen-on-v6 { ::1;%s };
	allow-query { localhost;%s };
	dns64 %v { clients {%s }; };
};
`, items(p.own(), ";"), clients, Prefix, clients)
}

func (p *Plan) unbound() string {
	var b strings.Builder
	b.WriteString("server:\n\tmodule-config: \"dns64 validator iterator\"\n")
	fmt.Fprintf(&b, "\tdns64-prefix: %v\n", Prefix)
	for _, a := range append([]netip.Addr{netip.IPv6Loopback()}, p.own()...) {
		fmt.Fprintf(&b, "\tinterface: %v\n", a)
	}
	for _, n := range p.nets() {
		fmt.Fprintf(&b, "\taccess-control: %v allow\n", n)
	}
	return b.String()
}

// radvd is for this machine as the router of the clients. Where it is not, on an interface that
// leads to other hosts as well, it advertises the route to the prefix alone.
func (p *Plan) radvd() string {
	var b strings.Builder
	for _, l := range p.LANs {
		fmt.Fprintf(&b, "interface %s {\n\tAdvSendAdvert on;\n", l.Link)
		if len(l.Clients) > 0 {
			b.WriteString("\tAdvDefaultLifetime 0;\n")
		} else {
			for _, n := range l.Nets {
				if n.Bits() == 64 {
					fmt.Fprintf(&b, "\tprefix %v { };\n", n)
				}
			}
		}
		fmt.Fprintf(&b, "\troute %v { };\n", Prefix)
		if l.Own.IsValid() {
			fmt.Fprintf(&b, "\tRDNSS %v { };\n", l.Own)
		}
		fmt.Fprintf(&b, "\tnat64prefix %v { };\n};\n", Prefix)
	}
	return b.String()
}
