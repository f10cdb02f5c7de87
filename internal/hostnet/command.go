package hostnet

import (
	"fmt"
	"net/netip"
	"strings"
)

// Command returns the command for a shell that makes the change, as a person would type it.
// That of an Accept has FAMILY, TABLE and CHAIN for what the machine has: see Commands.
func (c Change) Command() string { return c.kind().command() }

func (s *Sysctl) command() string {
	set := "sysctl -w " + word(s.Name+"="+s.Value)
	if s.forwards() {
		return `grep -lx 1 /proc/sys/net/ipv6/conf/*/accept_ra | grep -v /all/ | while read -r f; do echo 2 >"$f"; done; ` + set
	}
	return set
}

// word quotes what a shell would split or change.
func word(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("/._-=:@%+,", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func (l *Link) command() string {
	if l.MTU == 0 {
		return "ip link set dev " + l.Device + " up"
	}
	return fmt.Sprintf("ip link set dev %s mtu %d up", l.Device, l.MTU)
}

func (a *Address) command() string {
	s := fmt.Sprintf("ip address add %v dev %s", a.Prefix, a.Device)
	if a.Prefix.Addr().Is6() {
		s += " nodad"
	}
	return s
}

func (r *Route) command() string {
	var b strings.Builder
	b.WriteString("ip")
	if r.Dst.Addr().Is6() {
		b.WriteString(" -6")
	}
	fmt.Fprintf(&b, " route add %s", destination(r.Dst))
	if r.Via.IsValid() {
		fmt.Fprintf(&b, " via %v", r.Via)
	}
	fmt.Fprintf(&b, " dev %s", r.Device)
	if r.Src.IsValid() {
		fmt.Fprintf(&b, " src %v", r.Src)
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"table", r.Table}, {"metric", r.Metric}, {"mtu", r.MTU}} {
		if n.value != 0 {
			fmt.Fprintf(&b, " %s %d", n.name, n.value)
		}
	}
	return b.String()
}

func destination(p netip.Prefix) string {
	if p.Bits() == 0 {
		return "default"
	}
	return p.String()
}

func (r *Rule) command() string {
	var b strings.Builder
	b.WriteString("ip")
	if r.Six {
		b.WriteString(" -6")
	}
	b.WriteString(" rule add")
	if r.From.IsValid() {
		fmt.Fprintf(&b, " from %v", r.From)
	}
	if r.To.IsValid() {
		fmt.Fprintf(&b, " to %v", r.To)
	}
	if r.In != "" {
		fmt.Fprintf(&b, " iif %s", r.In)
	}
	fmt.Fprintf(&b, " priority %d table %d", r.Priority, r.Table)
	return b.String()
}

func (n *NAT) command() string { return tableCommands(n.Table, n.chains) }

func (g *Guard) command() string {
	return tableCommands(g.Table, func(six bool) []ownChain { return g.chains(six, g.Uplink != "") })
}

// tableCommands returns the commands for the tables of a name in both families.
func tableCommands(name string, chains func(six bool) []ownChain) string {
	var list []string
	for _, six := range []bool{false, true} {
		if of := chains(six); len(of) > 0 {
			list = append(list, tableText(family(six), name, of))
		}
	}
	return strings.Join(list, "; ")
}

func (a *Accept) command() string {
	var list []string
	for _, r := range a.rules("FAMILY") {
		list = append(list, "nft 'insert rule FAMILY TABLE CHAIN "+r.text("FAMILY")+"'")
	}
	return strings.Join(list, "; ")
}
