package autogw

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// snapshot reads a machine from lines as of ip(8):
//
//	link eth1 [kind bridge] [master br0] [down] [running] [p2p]
//	addr eth1 2001:db8:1::1/64
//	route [local|blackhole|unreachable] 0.0.0.0/0 [via 198.51.100.1] [dev eth0[,eth1]] [metric 100] [table 254]
//
// There is a loopback interface, and each address has the routes that the kernel adds.
func snapshot(t testing.TB, text string) *Machine {
	t.Helper()
	m := &Machine{Links: []Link{{Name: "lo", Up: true, Running: true, Loopback: true}}}
	addTo := func(name, prefix string) {
		for i := range m.Links {
			if m.Links[i].Name == name {
				p := netip.MustParsePrefix(prefix)
				m.Links[i].Addrs = append(m.Links[i].Addrs, p)
				m.Routes = append(m.Routes, kernelRoutes(m.Links[i], p)...)
				return
			}
		}
		t.Fatalf("addr: no link %s", name)
	}
	addTo("lo", "127.0.0.1/8")
	addTo("lo", "::1/128")
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		if len(w) == 0 || w[0] == "#" {
			continue
		}
		switch w[0] {
		case "link":
			m.Links = append(m.Links, linkLine(t, w[1:]))
		case "addr":
			addTo(w[1], w[2])
		case "route":
			m.Routes = append(m.Routes, routeLine(t, w[1:]))
		default:
			t.Fatalf("line %q", line)
		}
	}
	return m
}

func linkLine(t testing.TB, w []string) Link {
	l := Link{Name: w[0], Up: true}
	for i := 1; i < len(w); i++ {
		switch w[i] {
		case "kind":
			i++
			l.Kind = w[i]
		case "master":
			i++
			l.Master = w[i]
		case "down":
			l.Up = false
		case "running":
			l.Running = true
		case "p2p":
			l.Point = true
		default:
			t.Fatalf("link: word %q", w[i])
		}
	}
	return l
}

func routeLine(t testing.TB, w []string) (r Route) {
	r.Table = tableMain
	if i := slices.Index([]string{"local", "blackhole", "unreachable"}, w[0]); i >= 0 {
		r.Type, w = []RouteType{Local, Refuses, Refuses}[i], w[1:]
		if i == 0 {
			r.Table = 255
		}
	}
	r.Dst = netip.MustParsePrefix(w[0])
	for i := 1; i+1 < len(w); i += 2 {
		n, _ := strconv.Atoi(w[i+1])
		switch w[i] {
		case "via":
			r.Via = netip.MustParseAddr(w[i+1])
		case "dev":
			r.Links = strings.Split(w[i+1], ",")
		case "metric":
			r.Metric = n
		case "table":
			r.Table = n
		default:
			t.Fatalf("route: word %q", w[i])
		}
	}
	return r
}

// kernelRoutes returns what the kernel adds for an address.
func kernelRoutes(l Link, p netip.Prefix) []Route {
	host := netip.PrefixFrom(p.Addr(), p.Addr().BitLen())
	list := []Route{{Dst: host, Links: []string{l.Name}, Table: 255, Type: Local}}
	switch {
	case l.Loopback && p.Addr().Is4():
		return append(list, Route{Dst: p.Masked(), Links: []string{l.Name}, Table: 255, Type: Local})
	case p.IsSingleIP():
		return list
	}
	list = append(list, Route{Dst: p.Masked(), Links: []string{l.Name}, Table: tableMain})
	if p.Addr().Is4() && p.Bits() < 31 {
		end := address(number(p.Masked().Addr()) | (1<<(32-p.Bits()) - 1))
		list = append(list, Route{Dst: netip.PrefixFrom(end, 32), Links: []string{l.Name}, Table: 255, Type: Special})
	}
	return list
}

// summary returns a plan, or why there is none, in a line.
func summary(p *Plan, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	s := "wan " + p.WAN
	for _, l := range p.LANs {
		s += " lan " + l.Link
		if len(l.Clients) > 0 {
			s += fmt.Sprint(l.Clients)
		}
	}
	if p.Shared {
		return s + " share " + join(p.Pool)
	}
	return s + " pool " + join(p.Pool)
}
