package hostnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"
)

// Table is the number of the routing table of a CLAT or gateway, and the priority of its
// rules.
const Table = 464

// A Change is one setting of a machine. Exactly one field is set.
type Change struct {
	Sysctl  *Sysctl  `json:",omitempty"`
	Link    *Link    `json:",omitempty"`
	Address *Address `json:",omitempty"`
	Route   *Route   `json:",omitempty"`
	Rule    *Rule    `json:",omitempty"`
	NAT     *NAT     `json:",omitempty"`
	Guard   *Guard   `json:",omitempty"`
	Accept  *Accept  `json:",omitempty"`
}

// A Sysctl is the value of a file below /proc/sys/net: "net/ipv6/conf/eth0/accept_ra", "2".
// Before IPv6 forwarding is turned on, each interface whose accept_ra is 1 gets 2: the kernel
// would remove its default route, and ignore router advertisements (accept_ra in
// Documentation/networking/ip-sysctl.rst). Undo restores them, too.
type Sysctl struct{ Name, Value string }

// A Link is a network device that is up.
type Link struct {
	Device string
	MTU    int // 0: as it is
}

// An Address is one of a device, IPv4 or IPv6. An IPv6 address is used without duplicate
// address detection.
type Address struct {
	Device string
	Prefix netip.Prefix // the address, with the length of its network
}

// A Route is one to a device, or to a router on its link.
type Route struct {
	Device string
	Dst    netip.Prefix
	Via    netip.Addr // the router; may be zero
	Src    netip.Addr // the source address that the kernel chooses; may be zero
	Table  int        // 0: main
	Metric int        // 0: the kernel's default, which is 0 for IPv4 and 1024 for IPv6
	MTU    int        // 0: the device's
}

// A Rule has packets routed by a table. A zero prefix is any address, an empty In any
// device.
type Rule struct {
	Six             bool // IPv6
	Priority, Table int
	From, To        netip.Prefix
	In              string
}

// NAT is a table of nftables: connections from Sources that came in from the device In
// and leave by Out get the source address To, or that of the device Out (masquerading) if To
// is zero. In and Out may be empty. Packets without In are those of the machine itself, too.
// To has the family of all Sources.
type NAT struct {
	Table   string // see TableName
	In, Out string
	Sources []netip.Prefix
	To      netip.Addr
}

// Guard is a table of nftables: forwarded IPv6 packets to Device are dropped unless they
// belong to a connection that Device has begun, or are ICMP errors about one. Forwarded IPv4
// packets pass: those to the device of a CLAT come from the machine's own side. But the address
// of the programs (192.0.0.1) is for Device alone: a neighbour could send packets to it by any
// interface, and connections over Device would leave with it by another that has native IPv4.
//
// While the machine forwards IPv6 packets that Uplink receives only because an earlier change has
// set its force_forwarding, those to other devices are dropped: its neighbours would reach the
// networks of VPNs and containers by it.
type Guard struct {
	Table, Device string
	Uplink        string `json:",omitempty"`
}

// Accept lets connections pass the firewall of the machine: in each chain of nftables that
// forwarded packets go through and that may drop them, in tables that are not ours, packets
// from Device with Src and Dst are accepted by a first rule, and the answers to them by a
// second. A zero prefix is any address, of the other's family or of both.
// Iptables-nft has such chains; those of iptables-legacy are beyond the reach of nftables.
type Accept struct {
	Device   string
	Src, Dst netip.Prefix
	Into     bool // the connections go to Device, and the answers come from it
}

// TableName returns the name of a table of nftables for a device and a purpose, such as
// "nat".
func TableName(device, purpose string) string { return tagPrefix + device + "-" + purpose }

// mostChanges is how many changes a Manager makes, and mostSources how many prefixes a NAT
// has.
const (
	mostChanges = 256
	mostSources = 64
)

// kind returns the field that is set, or nil if it is not exactly one.
func (c Change) kind() kind {
	var list []kind
	add := func(set bool, k kind) {
		if set {
			list = append(list, k)
		}
	}
	add(c.Sysctl != nil, c.Sysctl)
	add(c.Link != nil, c.Link)
	add(c.Address != nil, c.Address)
	add(c.Route != nil, c.Route)
	add(c.Rule != nil, c.Rule)
	add(c.NAT != nil, c.NAT)
	add(c.Guard != nil, c.Guard)
	add(c.Accept != nil, c.Accept)
	if len(list) != 1 {
		return nil
	}
	return list[0]
}

// kind is what each kind of change has on all systems.
type kind interface {
	check() error
	command() string
	place() string // changes of the same place replace each other
	operations
}

// Check reports why a change can't be made on any machine.
func (c Change) Check() error {
	k := c.kind()
	if k == nil {
		return errors.New("a change has to have exactly one field")
	}
	return k.check()
}

// String is the command, or a word for what is none.
func (c Change) String() string {
	if c.kind() == nil {
		return "invalid change"
	}
	return c.Command()
}

// key is the same for changes that are the same.
func (c Change) key() string {
	b, err := json.Marshal(c)
	if err != nil { // there are only strings, numbers and addresses
		panic(err)
	}
	return string(b)
}

// tagPrefix is how the comments begin that mark the rules of nftables that are ours.
const tagPrefix = "tayga-"

// tag is the comment of the rules that belong to a change. The number is made of all fields.
func (c Change) tag(name string) string {
	h := fnv.New32a()
	h.Write([]byte(c.key()))
	return fmt.Sprintf("%s %08x", name, h.Sum32())
}

func (s *Sysctl) check() error {
	if err := checkSysctlName(s.Name); err != nil {
		return err
	}
	if s.Value == "" || len(s.Value) > 64 || strings.Join(strings.Fields(s.Value), " ") != s.Value || !printable(s.Value) {
		return fmt.Errorf("sysctl %s: value %q", s.Name, s.Value)
	}
	return nil
}

func (s *Sysctl) place() string { return "sysctl " + s.Name }

func checkSysctlName(name string) error {
	parts := strings.Split(name, "/")
	// The kernel takes almost any name for an interface.
	bad := len(name) > 128 || len(parts) < 3 || parts[0] != "net" || !utf8.ValidString(name) ||
		strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f })
	for _, p := range parts {
		bad = bad || p == "" || p == "." || p == ".."
	}
	if bad {
		return fmt.Errorf("sysctl name %q: want net/…/…", name)
	}
	return nil
}

func (l *Link) check() error {
	if l.MTU < 0 || l.MTU > 65535 {
		return fmt.Errorf("MTU %d of %s", l.MTU, l.Device)
	}
	return checkDevice(l.Device)
}

func (l *Link) place() string { return "link " + l.Device }

func (a *Address) check() error {
	if !a.Prefix.IsValid() || a.Prefix.Addr().Zone() != "" || a.Prefix.Addr().Is4In6() || a.Prefix.Addr().IsUnspecified() || a.Prefix.Addr().IsMulticast() {
		return fmt.Errorf("address %v of %s", a.Prefix, a.Device)
	}
	return checkDevice(a.Device)
}

func (a *Address) place() string { return fmt.Sprintf("address %v %s", a.Prefix, a.Device) }

func (r *Route) check() error {
	err := checkPrefix(r.Dst)
	if err == nil {
		err = checkDevice(r.Device)
	}
	if err != nil {
		return fmt.Errorf("route to %v: %w", r.Dst, err)
	}
	for _, a := range []netip.Addr{r.Via, r.Src} {
		if a.IsValid() && (a.Is4() != r.Dst.Addr().Is4() || a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast()) {
			return fmt.Errorf("route to %v: address %v", r.Dst, a)
		}
	}
	if r.Table < 0 || r.Table > 1<<31-1 || r.Metric < 0 || r.Metric > 1<<31-1 || r.MTU < 0 || r.MTU > 65535 {
		return fmt.Errorf("route to %v: table %d, metric %d, MTU %d", r.Dst, r.Table, r.Metric, r.MTU)
	}
	return nil
}

func (r *Route) place() string {
	return fmt.Sprintf("route %v table %d metric %d", r.Dst, r.table(), r.metric())
}

// table is the number of the table, with that of main.
func (r *Route) table() int {
	if r.Table == 0 {
		return 254
	}
	return r.Table
}

// metric is what the kernel makes of the metric.
func (r *Route) metric() int {
	if r.Metric == 0 && r.Dst.Addr().Is6() {
		return 1024
	}
	return r.Metric
}

func (r *Rule) check() error {
	for _, p := range []netip.Prefix{r.From, r.To} {
		if p == (netip.Prefix{}) {
			continue
		}
		if err := checkPrefix(p); err != nil {
			return fmt.Errorf("rule: %w", err)
		}
		if p.Addr().Is6() != r.Six {
			return fmt.Errorf("rule: %v is of the other family", p)
		}
	}
	if r.Priority < 1 || r.Priority > 1<<31-1 || r.Table < 1 || r.Table > 1<<31-1 {
		return fmt.Errorf("rule: priority %d, table %d", r.Priority, r.Table)
	}
	if r.In == "" {
		return nil
	}
	return checkDevice(r.In)
}

func (r *Rule) place() string { return fmt.Sprintf("rule %+v", *r) }

func (n *NAT) check() error {
	if err := checkTable(n.Table); err != nil {
		return err
	}
	if len(n.Sources) == 0 || len(n.Sources) > mostSources {
		return fmt.Errorf("NAT %s: %d sources", n.Table, len(n.Sources))
	}
	for _, p := range n.Sources {
		if err := checkPrefix(p); err != nil {
			return fmt.Errorf("NAT %s: %w", n.Table, err)
		}
		if n.To.IsValid() && (n.To.Is4() != p.Addr().Is4() || n.To.Zone() != "" || n.To.Is4In6() || n.To.IsUnspecified() || n.To.IsMulticast()) {
			return fmt.Errorf("NAT %s: %v to %v", n.Table, p, n.To)
		}
	}
	return checkDevices(n.In, n.Out)
}

func (n *NAT) place() string { return "table " + n.Table }

func (g *Guard) check() error {
	if err := checkTable(g.Table); err != nil {
		return err
	}
	return firstError(checkDevice(g.Device), checkDevices(g.Uplink))
}

func (g *Guard) place() string { return "table " + g.Table }

func (a *Accept) check() error {
	for _, p := range []netip.Prefix{a.Src, a.Dst} {
		if p == (netip.Prefix{}) {
			continue
		}
		if err := checkPrefix(p); err != nil {
			return fmt.Errorf("accept: %w", err)
		}
	}
	if a.Src.IsValid() && a.Dst.IsValid() && a.Src.Addr().Is4() != a.Dst.Addr().Is4() {
		return fmt.Errorf("accept: %v and %v are of two families", a.Src, a.Dst)
	}
	return checkDevice(a.Device)
}

func (a *Accept) place() string { return fmt.Sprintf("accept %+v", *a) }

func checkPrefix(p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return errors.New("invalid prefix")
	case p.Addr().Is4In6():
		return fmt.Errorf("%v is an IPv4 address mapped to IPv6", p)
	case p.Masked() != p:
		return fmt.Errorf("%v has host bits set", p)
	}
	return nil
}

// checkDevice checks the name of a device: one that the kernel takes, and that commands and
// tables of nftables take as it is.
func checkDevice(name string) error {
	ok := name != "" && len(name) <= 15 && name != "." && name != ".." && name != "all" && name != "default"
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		ok = ok && (letter || i > 0 && strings.IndexByte("._-@:+", c) >= 0)
	}
	if !ok {
		return fmt.Errorf("device name %q", name)
	}
	return nil
}

func checkDevices(names ...string) error {
	for _, name := range names {
		if name == "" {
			continue
		}
		if err := checkDevice(name); err != nil {
			return err
		}
	}
	return nil
}

// checkTable checks the name of a table, which nft(8) takes without quotes.
func checkTable(name string) error {
	ok := len(name) > 1 && len(name) <= 64 && (name[0] >= 'a' && name[0] <= 'z' || name[0] >= 'A' && name[0] <= 'Z')
	for _, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		ok = ok && (letter || strings.IndexByte("._-", c) >= 0)
	}
	if !ok {
		return fmt.Errorf("table name %q", name)
	}
	return nil
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// compact returns changes without those that are listed before. Two that differ, but are of
// one place, are an error.
func compact(want []Change) ([]Change, error) {
	if len(want) > mostChanges {
		return nil, fmt.Errorf("%d changes, of %d at most", len(want), mostChanges)
	}
	var list []Change
	places := map[string]string{}
	for _, c := range want {
		if err := c.Check(); err != nil {
			return nil, err
		}
		place, key := c.kind().place(), c.key()
		switch other, ok := places[place]; {
		case !ok:
			places[place] = key
			list = append(list, c)
		case other != key:
			return nil, fmt.Errorf("two values for %s", place)
		}
	}
	return slices.Clip(list), nil
}
