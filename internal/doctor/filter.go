package doctor

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Filters are the rules of the packet filters.
type Filters struct {
	Chains []Chain
	// Unseen says why there may be more rules; empty if there are not.
	Unseen string
}

// A Chain is a list of rules, as nftables and iptables have it.
type Chain struct {
	Tool                tool
	Program             string // of iptables, that the chain can be changed with
	Family, Table, Name string // the family as nftables names it: ip, ip6, inet, netdev
	// Of chains that packets come to by themselves: what for (filter, nat), where
	// (prerouting, forward), in which order there, and what becomes of a packet at the
	// end.
	Kind, Hook string
	Priority   int
	Devices    []string // of chains of single interfaces (ingress, egress)
	Drops      bool
	Owned      bool // the table belongs to a running program, which alone can change it
	Rules      []rule
}

// A tool is what made a chain.
type tool uint8

const (
	toolNft tool = iota
	toolIPTables
)

// A rule does something with the packets that meet its conditions.
type rule struct {
	conds  []cond
	action action
	target string // of jump and go
}

// An action is what becomes of a packet.
type action uint8

const (
	pass action = iota // nothing: the next rule
	accept
	drop
	masquerade // or another change of the source
	redirect   // or another change of the destination
	jump       // to a chain, and back
	goTo
	back    // to the chain before
	unsure  // anything
	untrack // nothing but that connection tracking leaves the packet alone
)

// A cond is a condition on a packet. What is not understood may hold or not.
type cond struct {
	field  field
	not    bool
	values []string // any of them; interfaces, prefixes, ranges a-b, families, states
	// tuples is there instead where several fields are looked at together: all
	// conditions of any of them hold.
	tuples [][]cond
}

// A field is what a condition looks at.
type field uint8

const (
	unknown field = iota
	inInterface
	outInterface
	source4
	source6
	target4
	target6
	family
	state
	protocol
	targetPort // of TCP and UDP
)

// A flow is a packet on its way through the filters. What is empty is not known.
type flow struct {
	six      bool
	in, out  string
	src, dst netip.Addr
	state    string // new, established, invalid
	proto    string // tcp, udp, icmp
	port     int    // that it is for; only with a proto, -1 if that has none
}

// Three answers to whether a condition holds.
type answer uint8

const (
	no answer = iota
	maybe
	yes
)

func (a answer) negated() answer { return yes - a }

func sure(holds bool) answer {
	if holds {
		return yes
	}
	return no
}

// hold says whether all conditions hold for a flow.
func hold(conds []cond, f flow) answer {
	all := yes
	for i := range conds {
		all = min(all, conds[i].holds(f))
	}
	return all
}

// holds says whether the condition holds for a flow.
func (c *cond) holds(f flow) answer {
	result := no
	for _, v := range c.values {
		result = max(result, c.matches(v, f))
	}
	for _, t := range c.tuples {
		result = max(result, hold(t, f))
	}
	if c.field == unknown && c.tuples == nil {
		result = maybe
	}
	if c.not {
		return result.negated()
	}
	return result
}

// matches says whether a single value fits.
func (c *cond) matches(value string, f flow) answer {
	named := strings.HasPrefix(value, "@") // a set that is not known
	switch c.field {
	case inInterface, outInterface, family, state, protocol, targetPort:
		if named {
			return maybe
		}
	}
	switch c.field {
	case inInterface:
		return matchName(value, f.in)
	case outInterface:
		return matchName(value, f.out)
	case source4, source6:
		return matchAddr(value, f.src, f.six == (c.field == source6))
	case target4, target6:
		return matchAddr(value, f.dst, f.six == (c.field == target6))
	case family:
		return sure((value == "ipv6" || value == "ip6") && f.six || (value == "ipv4" || value == "ip") && !f.six)
	case state:
		if f.state == "" {
			return maybe
		}
		return sure(value == f.state)
	case protocol:
		if f.proto == "" {
			return maybe
		}
		return sure(value == f.proto || value == protocolNumber[f.proto])
	case targetPort:
		if f.proto == "" {
			return maybe
		}
		return matchPort(value, f.port)
	}
	return maybe
}

// protocolNumber has the numbers of protocols, as filters may show them.
var protocolNumber = map[string]string{"tcp": "6", "udp": "17", "icmp": "1"}

// matchPort compares a port with a port or a range.
func matchPort(value string, port int) answer {
	low, high, err := ports(value)
	if err != nil {
		return maybe // a name
	}
	return sure(low <= port && port <= high)
}

// ports reads a port or a range of them.
func ports(value string) (low, high int, err error) {
	from, to, ranged := strings.Cut(value, "-")
	if !ranged {
		to = from
	}
	if low, err = strconv.Atoi(from); err == nil {
		high, err = strconv.Atoi(to)
	}
	return low, high, err
}

// matchName compares an interface with a name, which may end in a wildcard.
func matchName(value, name string) answer {
	if name == "" {
		return maybe
	}
	if stem, wild := strings.CutSuffix(value, "*"); wild {
		return sure(strings.HasPrefix(name, stem))
	}
	return sure(value == name)
}

// matchAddr compares an address with an address, a prefix, a range or the name
// of a set, if it is of the right family.
func matchAddr(value string, a netip.Addr, familyFits bool) answer {
	if !familyFits {
		return no
	}
	if !a.IsValid() || strings.HasPrefix(value, "@") {
		return maybe
	}
	if from, to, ranged := strings.Cut(value, "-"); ranged {
		lo, err1 := netip.ParseAddr(from)
		hi, err2 := netip.ParseAddr(to)
		if err1 != nil || err2 != nil {
			return maybe
		}
		return sure(lo.Compare(a) <= 0 && a.Compare(hi) <= 0)
	}
	if p, err := netip.ParsePrefix(value); err == nil {
		return sure(p.Contains(a))
	}
	if b, err := netip.ParseAddr(value); err == nil {
		return sure(a == b)
	}
	return maybe
}

// A fate is a set of what may become of a packet.
type fate uint8

const (
	mayPass       fate = 1 << iota // accepted
	mayDrop                        // dropped
	mayMasquerade                  // sent on with another source
	mayGoOn                        // comes to the end of the chain
	mayUntrack                     // not tracked, whatever else becomes of it
	mayRedirect                    // accepted, for another destination
)

// fate says what may become of a flow in a base chain. It takes time linear in the
// length of the rules, however they jump.
func (fs *Filters) fate(base *Chain, f flow) fate {
	got := fs.walk(base, f) &^ mayUntrack
	if got&mayRedirect != 0 {
		got = got&^mayRedirect | mayPass
	}
	return got
}

// redirects reports whether a base chain changes the destination of a flow, whatever
// conditions hold that are not understood.
func (fs *Filters) redirects(base *Chain, f flow) bool {
	return fs.walk(base, f)&^mayUntrack == mayRedirect
}

// untracks reports whether a base chain may keep a flow from connection tracking.
func (fs *Filters) untracks(base *Chain, f flow) bool { return fs.walk(base, f)&mayUntrack != 0 }

func (fs *Filters) walk(base *Chain, f flow) fate {
	w := walk{flow: f, chains: make(map[chainName]*Chain, len(fs.Chains)), fates: map[*Chain]fate{}}
	for i := range slices.Backward(fs.Chains) {
		c := &fs.Chains[i]
		w.chains[c.name(c.Name)] = c
	}
	got := w.through(base)
	if got&mayGoOn != 0 {
		got &^= mayGoOn
		if base.Drops {
			got |= mayDrop
		} else {
			got |= mayPass
		}
	}
	return got
}

// A chainName is what a chain is found by.
type chainName struct {
	tool                tool
	family, table, name string
}

// name returns the full name of a chain of the same table.
func (c *Chain) name(short string) chainName {
	return chainName{c.Tool, c.Family, c.Table, short}
}

// A walk takes a flow through chains, each of them once.
type walk struct {
	flow   flow
	chains map[chainName]*Chain
	fates  map[*Chain]fate
}

const anything = mayPass | mayDrop | mayMasquerade | mayRedirect | mayGoOn

// through says what may become of the flow in a chain.
func (w *walk) through(c *Chain) (got fate) {
	if known, ok := w.fates[c]; ok {
		return known
	}
	w.fates[c] = anything // should it come back to itself, which no kernel accepts
	defer func() { w.fates[c] = got }()
	for i := range c.Rules {
		r := &c.Rules[i]
		holds := hold(r.conds, w.flow)
		if holds == no {
			continue
		}
		then := w.act(c, r)
		leaves := r.action == back || r.action == goTo // the chain, at the latest
		if leaves {
			got |= then
		} else {
			got |= then &^ mayGoOn
		}
		if holds == yes && (leaves || then&mayGoOn == 0) {
			return got
		}
	}
	return got | mayGoOn
}

// act says what a rule does with the flow once it meets the conditions.
func (w *walk) act(c *Chain, r *rule) fate {
	switch r.action {
	case accept:
		return mayPass
	case drop:
		return mayDrop
	case masquerade:
		return mayMasquerade
	case redirect:
		return mayRedirect
	case jump, goTo:
		if to := w.chains[c.name(r.target)]; to != nil {
			return w.through(to)
		}
		return anything
	case unsure:
		return anything
	case untrack:
		return mayGoOn | mayUntrack
	}
	return mayGoOn
}
