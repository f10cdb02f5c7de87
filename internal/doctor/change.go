package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Change is what a command changes, and how that is undone. The zero value is for a
// finding without a command.
type Change struct {
	Do   string // run by sh as root
	Undo string // the same; empty if no command brings the state before back
	// Restarts: Do starts a daemon that runs, anew. That needs no Undo.
	Restarts bool
	// Keeps: what Do does is not to be undone.
	Keeps   bool
	Touches []Touch
}

// A Kind says what a Touch is about.
type Kind string

const (
	Setting   Kind = "setting"  // Name: a path below /proc/sys/net
	RouteTo   Kind = "route"    // Prefix, Link, Table
	Rule      Kind = "rule"     // of policy routing for packets that come in on Link; Text as State has it
	Address   Kind = "address"  // Prefix on Link
	LinkState Kind = "link"     // Link is set up, or gets an MTU
	Device    Kind = "device"   // the TUN device Link is made
	Filter    Kind = "filter"   // a rule for packets of Link or Prefix: Family, Table, Chain in Name, Text as listed
	Table     Kind = "table"    // a table of nftables: Name is its family and name; for packets of Prefix
	IPTables  Kind = "iptables" // a rule: Text is the command that looks for it; for packets of Link or Prefix
	Proxy     Kind = "proxy"    // Prefix is answered for on Link
	Offload   Kind = "offload"  // Name: a feature of Link
	Queueing  Kind = "queueing" // the queueing discipline of Link
	File      Kind = "file"     // Name is edited
	Node      Kind = "node"     // Name is made, a file that is gone after the next boot
	Module    Kind = "module"   // Name is loaded into the kernel
	Daemon    Kind = "daemon"   // the one whose status socket is Name, with the device Link
	Unit      Kind = "unit"     // the service Name of systemd, with the device Link
)

// Known reports whether commands touch things of a kind.
func Known(k Kind) bool {
	switch k {
	case Setting, RouteTo, Rule, Address, LinkState, Device, Filter, Table, IPTables, Proxy, Offload, Queueing, File, Node, Module, Daemon, Unit:
		return true
	}
	return false
}

// A Touch is one thing of the machine that a command changes. State reads it.
type Touch struct {
	Kind   Kind         `json:"kind"`
	Name   string       `json:"name,omitempty"`
	Link   string       `json:"link,omitempty"`
	Prefix netip.Prefix `json:"prefix,omitzero"`
	Table  int          `json:"table,omitempty"`
	Text   string       `json:"text,omitempty"`
	// Of a Setting: before and after the command.
	Old int `json:"old,omitempty"`
	New int `json:"new,omitempty"`
}

// String names what is touched.
func (t Touch) String() string {
	switch t.Kind {
	case Setting:
		return "net/" + t.Name
	case RouteTo, Proxy:
		return fmt.Sprintf("%s %s", t.Kind, t.Prefix)
	case Address:
		return fmt.Sprintf("address %s on %s", t.Prefix, t.Link)
	case LinkState, Device, Queueing:
		return t.Link
	case Offload:
		return t.Name + " of " + t.Link
	case Rule, IPTables:
		return "rule " + t.Text
	case Filter:
		return fmt.Sprintf("rule %q of %s", t.Text, t.Name)
	case Table:
		return "table " + t.Name
	}
	return t.Name
}

// also returns both changes, c before d.
func (c Change) also(d Change) Change {
	switch {
	case c.Do == "":
		return d
	case d.Do == "":
		return c
	}
	all := Change{Do: c.Do + " && " + d.Do, Touches: append(c.Touches[:len(c.Touches):len(c.Touches)], d.Touches...)}
	if c.Undo != "" && d.Undo != "" {
		all.Undo = d.Undo + " && " + c.Undo
	}
	return all
}

// set changes a kernel setting. What the kernel changes with it is brought back, too.
func (e *examination) set(path string, value int) Change {
	old, known := e.Machine.Setting(path)
	c := Change{Do: e.write(path, value), Touches: []Touch{{Kind: Setting, Name: path, Old: old, New: value}}}
	if !known {
		return c
	}
	undo := []string{e.write(path, old)}
	again := func(path string, value int) {
		if v, ok := e.Machine.Setting(path); ok && v == value {
			undo = append(undo, e.write(path, value))
		}
	}
	family := ""
	switch path {
	case "ipv4/ip_forward":
		family = "ipv4"
		again("ipv4/conf/all/accept_redirects", 0) // inet_forward_change sets it if forwarding is switched off
	case "ipv6/conf/all/forwarding":
		family = "ipv6"
	}
	if family != "" && old == 0 {
		again(family+"/conf/default/forwarding", 1)
		for _, l := range e.Machine.Links {
			again(family+"/conf/"+l.Name+"/forwarding", 1)
		}
	}
	c.Undo = strings.Join(undo, " && ")
	return c
}

// write returns the command that changes a kernel setting.
func (e *examination) write(path string, value int) string {
	if e.Machine.Tools.Sysctl {
		name := "net/" + path
		if !strings.Contains(name, ".") { // as some names of interfaces do
			name = strings.ReplaceAll(name, "/", ".")
		}
		return words("sysctl", "-w", fmt.Sprintf("%s=%d", name, value))
	}
	return fmt.Sprintf("echo %d >%s", value, quote("/proc/sys/net/"+path))
}

// linkUp sets the device up, and linkMTU gives it an MTU.
func linkUp(name string) Change {
	return Change{words("ip", "link", "set", name, "up"), words("ip", "link", "set", name, "down"), false, false, []Touch{{Kind: LinkState, Link: name}}}
}

func linkMTU(l Link, mtu int) Change {
	set := func(mtu int) string { return words("ip", "link", "set", l.Name, "mtu", itoa(mtu)) }
	return Change{set(mtu), set(l.MTU), false, false, []Touch{{Kind: LinkState, Link: l.Name}}}
}

// makeDevice makes the device. One that is there gets another owner by it, which no
// command undoes.
func (e *examination) makeDevice() Change {
	name := e.Conf.TunDevice
	c := Change{Do: e.command("--mktun"), Touches: []Touch{{Kind: Device, Link: name}}}
	if _, there := e.Machine.link(name); there {
		c.Keeps = true
	} else {
		c.Undo = e.command("--rmtun")
	}
	return c
}

// addAddress gives an interface an address. The kernel removes the IPv4 routes to an
// interface with its last IPv4 address.
func (e *examination) addAddress(l Link, p netip.Prefix) Change {
	c := Change{
		Do:      words("ip", "addr", "add", p.String(), "dev", l.Name),
		Undo:    words("ip", "addr", "del", p.String(), "dev", l.Name),
		Touches: []Touch{{Kind: Address, Prefix: p, Link: l.Name}},
	}
	if p.Addr().Is4() && !l.hasIPv4(p) {
		c.Undo += e.again(l.Name)
	}
	return c
}

// again returns the end of a command line, which makes the IPv4 routes to an interface
// again that there are now.
func (e *examination) again(link string) (more string) {
	if e.Machine.Specs == nil {
		return ""
	}
	for _, s := range e.Machine.Specs(link, netip.Prefix{}, 0) {
		more += " && " + words(append([]string{"ip", "route", "replace"}, s...)...)
	}
	return more
}

// hasIPv4 reports whether an interface has an IPv4 address other than p.
func (l *Link) hasIPv4(p netip.Prefix) bool {
	for _, a := range l.Addrs {
		if a != p && a.Addr().Is4() {
			return true
		}
	}
	return false
}

// leadHere adds the route for p to the device, or replaces another one.
func (e *examination) leadHere(verb string, p netip.Prefix, table []string, number int) Change {
	tun := e.Conf.TunDevice
	line := func(verb string) string {
		return words(append([]string{"ip", "route", verb, p.String(), "dev", tun}, table...)...)
	}
	c := Change{Do: line(verb), Undo: line("del"), Touches: []Touch{{Kind: RouteTo, Prefix: p, Link: tun, Table: number}}}
	if verb == "replace" {
		c.restore(e, p, number)
		c.Do = e.preferred(p, number) + c.Do
	}
	return c
}

// preferred deletes routes of IPv6 for a prefix that would be preferred to one that is added:
// a replacement takes the place of one with its own metric, 1024.
func (e *examination) preferred(p netip.Prefix, table int) (command string) {
	if e.Machine.Specs == nil || p.Addr().Is4() {
		return ""
	}
	const metric = 1024 // IP6_RT_PRIO_USER
	for _, s := range e.Machine.Specs("", p, table) {
		i := slices.Index(s, "metric")
		if i < 0 || i+1 == len(s) {
			continue
		}
		if n, err := strconv.Atoi(s[i+1]); err == nil && n < metric {
			command += words(append([]string{"ip", "route", "del"}, s...)...) + " && "
		}
	}
	return command
}

// restore has the undo of a change make the routes again that there are now.
func (c *Change) restore(e *examination, p netip.Prefix, table int) {
	var specs [][]string
	if e.Machine.Specs != nil {
		specs = e.Machine.Specs("", p, table)
	}
	if len(specs) == 0 {
		c.Undo = ""
		return
	}
	for _, s := range specs {
		line := words(append([]string{"ip", "route", "replace"}, s...)...)
		if c.Undo != "" {
			line = " && " + line
		}
		c.Undo += line
	}
}

// leadAway deletes a route to the device.
func (e *examination) leadAway(r Route) Change {
	tun := e.Conf.TunDevice
	c := Change{
		Do:      words(append([]string{"ip", "route", "del", r.Dst.String(), "dev", tun}, r.table()...)...),
		Touches: []Touch{{Kind: RouteTo, Prefix: r.Dst, Link: tun, Table: r.Table}},
	}
	c.restore(e, r.Dst, r.Table)
	return c
}

// proxy has the machine answer for an address of another host.
func proxy(a netip.Addr, link string) Change {
	line := func(verb string) string { return words("ip", "neigh", verb, "proxy", a.String(), "dev", link) }
	return Change{line("add"), line("del"), false, false, []Touch{{Kind: Proxy, Prefix: netip.PrefixFrom(a, a.BitLen()), Link: link}}}
}

// switched switches an offload of an interface.
func switched(l Link, name, feature string, on bool) Change {
	line := func(on bool) string {
		state := "off"
		if on {
			state = "on"
		}
		return words("ethtool", "-K", l.Name, name, state)
	}
	return Change{line(on), line(!on), false, false, []Touch{{Kind: Offload, Link: l.Name, Name: feature}}}
}

// edited is a command that edits the configuration file, of which the program that runs
// it keeps a copy.
func (e *examination) edited(command string) Change {
	return Change{Do: command, Touches: []Touch{{Kind: File, Name: e.Conf.File}}}
}

// packetsOf names the prefixes that rules of a packet filter are for.
func packetsOf(conditions []condition, link string) (touches []Touch) {
	for _, m := range conditions {
		t := Touch{}
		if strings.HasSuffix(m.match, "addr") {
			t.Prefix, _ = netip.ParsePrefix(m.value)
		} else {
			t.Link = link
		}
		touches = append(touches, t)
	}
	return touches
}

// nftRule inserts rules at the head of a chain of nftables, or adds them at its end. A
// rule is deleted by its number, which is looked up by its text.
func nftRule(verb, family, table, chain string, rules []string, about []Touch) Change {
	var do, undo []string
	for i, r := range rules {
		do = append(do, fmt.Sprintf("%s rule %s %s %s %s", verb, family, table, chain, r))
		shown := asListed(r)
		pattern := `/^[[:blank:]]*` + basicRegexp(shown) + ` # handle /{s/.*# handle //p;q}`
		undo = append([]string{words("nft", "delete", "rule", family, table, chain, "handle") +
			` "$(` + words("nft", "-a", "list", "chain", family, table, chain) + " | " + words("sed", "-n", pattern) + `)"`}, undo...)
		about[i].Kind, about[i].Name, about[i].Text = Filter, strings.Join([]string{family, table, chain}, " "), shown
	}
	return Change{words("nft", strings.Join(do, "; ")), strings.Join(undo, " && "), false, false, about}
}

// asListed returns a rule as nft lists it: a prefix of a single address is the address.
func asListed(rule string) string {
	words := strings.Fields(rule)
	for i, w := range words {
		if p, err := netip.ParsePrefix(w); err == nil && p.IsSingleIP() {
			words[i] = p.Addr().String()
		}
	}
	return strings.Join(words, " ")
}

// basicRegexp returns a basic regular expression that fits a text, between slashes.
func basicRegexp(text string) string {
	var b strings.Builder
	for _, r := range text {
		if strings.ContainsRune(`.[]*^$\/`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// iptablesRules inserts rules (-I) or appends them (-A), each given by its program and
// words with the option at the place of "".
func iptablesRules(option string, rules [][]string, about []Touch) Change {
	with := func(rule []string, option string) string {
		args := append([]string{}, rule...)
		for i := range args {
			if args[i] == "" {
				args[i] = option
			}
		}
		return words(args...)
	}
	var c Change
	for i, r := range rules {
		t := about[i]
		t.Kind, t.Text = IPTables, with(r, "-C")
		c = c.also(Change{with(r, option), with(r, "-D"), false, false, []Touch{t}})
	}
	return c
}

// ownTable makes a chain of a table of nftables that is the doctor's, and adds rules to
// it. The undo removes what there was not before.
func (e *examination) ownTable(chain, kind string, rules []string, about []Touch) Change {
	const family, table = "ip", "tayga"
	c := nftRule("add", family, table, chain, rules, about)
	made := fmt.Sprintf("add table %s %s; add chain %s %s %s { %s; }; ", family, table, family, table, chain, kind)
	var do []string
	for _, r := range rules {
		do = append(do, fmt.Sprintf("add rule %s %s %s %s", family, table, chain, r))
	}
	c.Do = words("nft", made+strings.Join(do, "; "))
	ours, there := false, false
	for i := range e.Machine.Filters.Chains {
		f := &e.Machine.Filters.Chains[i]
		if f.Tool == toolNft && f.Family == family && f.Table == table {
			ours, there = true, there || f.Name == chain
		}
	}
	switch {
	case !ours:
		c.Undo = words("nft", "delete", "table", family, table)
		c.Touches = append(c.Touches, Touch{Kind: Table, Name: family + " " + table})
	case !there:
		c.Undo = words("nft", "delete", "chain", family, table, chain)
	}
	return c
}

// MaxFile is how long a configuration file may be of which a copy is kept.
const MaxFile = 16 << 20
