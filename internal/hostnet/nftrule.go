package hostnet

import (
	"fmt"
	"net/netip"
	"strings"
)

// An nftRule is a rule of nftables. Zero fields match all packets.
type nftRule struct {
	in, out  string
	version  int // 4 or 6; 0: both
	src, dst netip.Prefix
	answers  bool // packets of known connections only, and related ones
	do       action
	to       netip.Addr // of actionSNAT
	comment  string
}

// An action is what a rule does with the packets that match.
type action uint8

const (
	actionAccept action = iota
	actionDrop
	actionMasquerade
	actionSNAT
)

// text returns the rule as nft(8) takes it, for a chain of a family: "ip", "ip6", or others.
func (r nftRule) text(family string) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if r.in != "" {
		add("iifname %q", r.in)
	}
	if r.out != "" {
		add("oifname %q", r.out)
	}
	src, dst := some(r.src), some(r.dst)
	if r.version != 0 && family != "ip" && family != "ip6" && !src && !dst {
		add("meta nfproto ipv%d", r.version)
	}
	if src {
		add("%s saddr %s", familyOf(r.src), short(r.src))
	}
	if dst {
		add("%s daddr %s", familyOf(r.dst), short(r.dst))
	}
	if r.answers {
		add("ct state established,related")
	}
	switch r.do {
	case actionAccept:
		add("accept")
	case actionDrop:
		add("drop")
	case actionMasquerade:
		add("masquerade")
	case actionSNAT:
		add("snat to %v", r.to)
	}
	add("comment %q", r.comment)
	return strings.Join(parts, " ")
}

// iptables returns the command that inserts the rule into FORWARD of iptables-nft.
func (r nftRule) iptables(six bool) string {
	program := "iptables"
	if six {
		program = "ip6tables"
	}
	parts := []string{program, "-I", "FORWARD"}
	if r.in != "" {
		parts = append(parts, "-i", r.in)
	}
	if r.out != "" {
		parts = append(parts, "-o", r.out)
	}
	if some(r.src) {
		parts = append(parts, "-s", r.src.String())
	}
	if some(r.dst) {
		parts = append(parts, "-d", r.dst.String())
	}
	if r.answers {
		parts = append(parts, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED")
	}
	return strings.Join(append(parts, "-m", "comment", "--comment", fmt.Sprintf("%q", r.comment), "-j", "ACCEPT"), " ")
}

// some reports whether a prefix excludes addresses of its family.
func some(p netip.Prefix) bool { return p.IsValid() && p.Bits() > 0 }

// short writes a prefix as nft(8) does.
func short(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func familyOf(p netip.Prefix) string { return family(p.Addr().Is6()) }

// family returns the name of a family of tables.
func family(six bool) string {
	if six {
		return "ip6"
	}
	return "ip"
}

// The comment of a rule says to which change it belongs.

func (n *NAT) tag() string    { return Change{NAT: n}.tag(n.Table) }
func (g *Guard) tag() string  { return Change{Guard: g}.tag(g.Table) }
func (a *Accept) tag() string { return Change{Accept: a}.tag(TableName(a.Device, "accept")) }

// An ownChain is a chain of a table that is ours. Its hook is its name, too.
type ownChain struct {
	kind, hook, priority string // as nft(8) has them
	rules                []nftRule
}

// text returns the chain as nft(8) takes it.
func (c ownChain) text(family string) string {
	var rules strings.Builder
	for _, r := range c.rules {
		rules.WriteString(r.text(family) + "; ")
	}
	return fmt.Sprintf("chain %s { type %s hook %s priority %s; policy accept; %s}", c.hook, c.kind, c.hook, c.priority, rules.String())
}

// tableText returns the command for a table.
func tableText(family, name string, chains []ownChain) string {
	var list strings.Builder
	for _, c := range chains {
		list.WriteString(c.text(family) + "; ")
	}
	return fmt.Sprintf("nft 'table %s %s { %s}'", family, name, list.String())
}

// chains returns the chains of the table for a family.
func (n *NAT) chains(six bool) []ownChain {
	var rules []nftRule
	for _, p := range n.Sources {
		if p.Addr().Is6() != six {
			continue
		}
		r := nftRule{in: n.In, out: n.Out, src: p, do: actionMasquerade, comment: n.tag()}
		if n.To.IsValid() {
			r.do, r.to = actionSNAT, n.To
		}
		rules = append(rules, r)
	}
	if rules == nil {
		return nil
	}
	return []ownChain{{"nat", "postrouting", "srcnat", rules}}
}

// chains returns the chains of the table for a family; alone says that what the uplink receives is
// forwarded for the device alone. The last chain comes after the masquerading of clients, whose
// connections native IPv4 may have taken over.
func (g *Guard) chains(six, alone bool) []ownChain {
	tag := g.tag()
	if six {
		rules := []nftRule{
			{out: g.Device, answers: true, do: actionAccept, comment: tag},
			{out: g.Device, do: actionDrop, comment: tag},
		}
		if alone {
			rules = append(rules, nftRule{in: g.Uplink, do: actionDrop, comment: tag})
		}
		return []ownChain{{"filter", "forward", "filter", rules}}
	}
	return []ownChain{
		{"filter", "input", "filter", []nftRule{
			{in: g.Device, dst: programs, do: actionAccept, comment: tag},
			{in: "lo", dst: programs, do: actionAccept, comment: tag},
			{dst: programs, do: actionDrop, comment: tag},
		}},
		{"filter", "postrouting", "srcnat + 50", []nftRule{
			{out: g.Device, src: programs, do: actionAccept, comment: tag},
			{out: "lo", src: programs, do: actionAccept, comment: tag},
			{src: programs, do: actionDrop, comment: tag},
		}},
	}
}

// rules returns the rules for a chain of a family, in the order in which they are in it.
func (a *Accept) rules(family string) []nftRule {
	there := nftRule{in: a.Device, src: a.Src, dst: a.Dst, comment: a.tag()}
	// ICMP errors are answers, too, and come from any router on the way: without them there is no
	// path MTU discovery.
	back := nftRule{out: a.Device, dst: a.Src, answers: true, comment: a.tag()}
	if a.Into {
		there.in, there.out, back.in, back.out = "", a.Device, a.Device, ""
	}
	for _, p := range []netip.Prefix{a.Src, a.Dst} {
		if !p.IsValid() {
			continue
		}
		version := 4
		if p.Addr().Is6() {
			version = 6
		}
		there.version, back.version = version, version
	}
	if there.version == 4 && family == "ip6" || there.version == 6 && family == "ip" {
		return nil
	}
	return []nftRule{there, back}
}
