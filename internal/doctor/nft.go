package doctor

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// parseNft reads what nft -j list ruleset prints: libnftables-json(5). What it
// does not understand becomes a condition that may hold or not, or an action
// that may be anything.
func parseNft(text []byte) ([]Chain, error) {
	var ruleset struct {
		Objects []struct {
			Table *struct {
				Family, Name string
				Flags        any // a word, or several
			}
			Chain *struct {
				Family, Table, Name, Type, Hook, Policy string
				Prio                                    int
				Dev                                     any // a name, or several
			}
			Set, Map *nftSet
			Rule     *struct {
				Family, Table, Chain string
				Expr                 []map[string]any
			}
		} `json:"nftables"`
	}
	if err := json.Unmarshal(text, &ruleset); err != nil {
		return nil, fmt.Errorf("doctor: ruleset of nft: %w", err)
	}
	var chains []Chain
	at := make(map[[3]string]int) // index into chains
	sets := make(map[[3]string]any)
	owned := make(map[[2]string]bool)
	for _, o := range ruleset.Objects {
		if t := o.Table; t != nil && t.Flags != nil {
			owned[[2]string{t.Family, t.Name}] = slices.Contains(nftValues(t.Flags), "owner")
		}
		for _, s := range []*nftSet{o.Set, o.Map} {
			if s != nil {
				sets[[3]string{s.Family, s.Table, s.Name}] = map[string]any{"set": s.Elem}
			}
		}
		if c := o.Chain; c != nil {
			at[[3]string{c.Family, c.Table, c.Name}] = len(chains)
			chains = append(chains, Chain{
				Tool: toolNft, Family: c.Family, Table: c.Table, Name: c.Name,
				Kind: c.Type, Hook: c.Hook, Priority: c.Prio, Drops: c.Policy == "drop",
				Devices: nftDevices(c.Dev), Owned: owned[[2]string{c.Family, c.Table}],
			})
		}
	}
	for _, o := range ruleset.Objects {
		if o.Rule == nil {
			continue
		}
		if i, found := at[[3]string{o.Rule.Family, o.Rule.Table, o.Rule.Chain}]; found {
			for _, s := range o.Rule.Expr {
				look := func(name string) (any, bool) {
					set, found := sets[[3]string{o.Rule.Family, o.Rule.Table, name}]
					return set, found
				}
				nftNamed(s["match"], "right", look)
				nftNamed(s["vmap"], "data", look)
				nftNamed(nftTargets(s["dnat"]), "data", look)
			}
			chains[i].Rules = append(chains[i].Rules, nftRules(o.Rule.Expr)...)
		}
	}
	return chains, nil
}

// An nftSet is a set or a map with a name.
type nftSet struct {
	Family, Table, Name string
	Elem                []any
}

// nftNamed puts the elements of a set or a map in the place of its name, @name, in a
// field of a statement.
func nftNamed(body any, field string, look func(name string) (any, bool)) {
	m, _ := body.(map[string]any)
	value, _ := m[field].(string)
	if name, named := strings.CutPrefix(value, "@"); named {
		if set, found := look(name); found {
			m[field] = set
		}
	}
}

// nftDevices reads the interfaces of a chain.
func nftDevices(dev any) []string {
	if dev == nil {
		return nil
	}
	return nftValues(dev)
}

// lacksDevices reports whether a chain is one of interfaces that nft did not name: in
// JSON, nft 1.0 does not.
func (c Chain) lacksDevices() bool {
	return (c.Hook == "ingress" || c.Hook == "egress") && len(c.Devices) == 0
}

// takeDevices takes the interfaces of chains from what nft list chains prints.
func (fs *Filters) takeDevices(text string) {
	var table [2]string // family and name
	chain := ""
	for line := range strings.Lines(text) {
		f := strings.Fields(strings.TrimRight(line, "{;\n "))
		switch {
		case len(f) == 3 && f[0] == "table":
			table = [2]string{f[1], f[2]}
		case len(f) == 2 && f[0] == "chain":
			chain = f[1]
		case len(f) > 4 && f[0] == "type" && strings.HasPrefix(f[4], "device"):
			for i := range fs.Chains {
				if c := &fs.Chains[i]; c.Tool == toolNft && c.Family == table[0] && c.Table == table[1] && c.Name == chain {
					c.Devices = hookDevices(line)
				}
			}
		}
	}
}

// hookDevices reads the interfaces in the first line of a chain.
func hookDevices(line string) (names []string) {
	_, list, _ := strings.Cut(line, "device")
	list, _, _ = strings.Cut(list, " priority")
	for name := range strings.FieldsFuncSeq(strings.TrimPrefix(list, "s"), func(r rune) bool { return strings.ContainsRune(` ={},"`, r) }) {
		names = append(names, name)
	}
	return names
}

// nftRules turns the statements of a rule into rules: as many as a verdict map
// has entries, else one.
func nftRules(statements []map[string]any) []rule {
	var conds []cond
	var before []rule
	for _, s := range statements {
		for name, body := range s {
			switch name {
			case "notrack":
				before = append(before, rule{conds: slices.Clone(conds), action: untrack})
			case "match":
				conds = append(conds, nftMatch(body))
			case "vmap":
				return append(before, nftMap(conds, body)...)
			case "counter", "log", "comment", "mangle", "meta", "ct helper", "set", "flow":
				// nothing that keeps a packet from going on
			default:
				r := nftVerdict(name, body)
				r.conds = conds
				if m := nftTargets(body); r.action == redirect && m != nil {
					r.conds = append(slices.Clone(conds), nftIn(m))
				}
				if r.action == pass { // not understood: it may stop the packet here or not
					conds = append(conds, cond{})
					continue
				}
				return append(before, r)
			}
		}
	}
	return append(before, rule{conds: conds})
}

// nftVerdict reads a statement that decides.
func nftVerdict(name string, body any) rule {
	target := func() string {
		m, _ := body.(map[string]any)
		s, _ := m["target"].(string)
		return s
	}
	switch name {
	case "accept":
		return rule{action: accept}
	case "drop", "reject":
		return rule{action: drop}
	case "masquerade", "snat":
		return rule{action: masquerade}
	case "dnat", "redirect":
		return rule{action: redirect}
	case "return":
		return rule{action: back}
	case "jump":
		return rule{action: jump, target: target()}
	case "goto":
		return rule{action: goTo, target: target()}
	case "queue", "tproxy":
		return rule{action: unsure}
	case "xt": // a match or target of iptables that nft has no words for
		m, _ := body.(map[string]any)
		switch m["name"] {
		case "MASQUERADE", "SNAT", "NETMAP":
			return rule{action: masquerade}
		case "DNAT", "REDIRECT":
			return rule{action: redirect}
		case "REJECT":
			return rule{action: drop}
		case nil:
			return rule{action: unsure}
		}
	}
	return rule{} // limit, quota, connlimit, …
}

// nftTargets returns the map by which a dnat chooses its target, nil if it has a single one.
func nftTargets(body any) any {
	m, _ := body.(map[string]any)
	for _, part := range []string{"addr", "port"} {
		if target, _ := m[part].(map[string]any); target["map"] != nil {
			return target["map"]
		}
	}
	return nil
}

// nftIn is the condition that a map has an element for the packet.
func nftIn(targets any) cond {
	m, _ := targets.(map[string]any)
	data, _ := m["data"].(map[string]any)
	set, _ := data["set"].([]any)
	var keys []any
	for _, entry := range set {
		if pair, _ := entry.([]any); len(pair) == 2 {
			keys = append(keys, pair[0])
		}
	}
	return nftCond(m["key"], map[string]any{"set": keys})
}

// nftMap reads a verdict map: one rule for each of its entries.
func nftMap(conds []cond, body any) (rules []rule) {
	m, _ := body.(map[string]any)
	data, _ := m["data"].(map[string]any)
	set, anonymous := data["set"].([]any)
	if !anonymous {
		return []rule{{conds: conds, action: unsure}}
	}
	for _, entry := range set {
		pair, _ := entry.([]any)
		if len(pair) != 2 {
			return []rule{{conds: conds, action: unsure}}
		}
		verdict, _ := pair[1].(map[string]any)
		for name, body := range verdict {
			r := nftVerdict(name, body)
			r.conds = append(slices.Clone(conds), nftCond(m["key"], pair[0]))
			rules = append(rules, r)
		}
	}
	return rules
}

// nftMatch reads a condition.
func nftMatch(body any) cond {
	m, _ := body.(map[string]any)
	c := nftCond(m["left"], m["right"])
	switch m["op"] {
	case "==", "in":
	case "!=":
		if c.ofPort() {
			c.tuples[0][1].not = true
			break
		}
		c.not = true
	default:
		return cond{}
	}
	return c
}

// nftCond reads what is looked at and the values that it may have. Of an empty set it
// makes a condition that may hold or not.
func nftCond(left, right any) cond {
	m, _ := left.(map[string]any)
	fields, _ := m["concat"].([]any)
	if len(fields) == 0 {
		c := cond{field: nftField(left), values: nftValues(right)}
		if len(c.values) == 0 {
			return cond{}
		}
		if proto := nftTransport(left); c.field == targetPort && proto != "" {
			return cond{tuples: [][]cond{{{field: protocol, values: []string{proto}}, c}}}
		}
		return c
	}
	var c cond
	for _, elem := range nftElements(right) {
		m, _ := elem.(map[string]any)
		parts, _ := m["concat"].([]any)
		if len(parts) != len(fields) {
			return cond{}
		}
		var t []cond
		for i, p := range parts {
			t = append(t, nftCond(fields[i], p))
		}
		c.tuples = append(c.tuples, t)
	}
	return c
}

// nftTransport returns the protocol that a field is one of, empty if it is of several.
func nftTransport(left any) string {
	m, _ := left.(map[string]any)
	payload, _ := m["payload"].(map[string]any)
	if name, _ := payload["protocol"].(string); name != "th" {
		return name
	}
	return ""
}

// ofPort reports whether a condition is one on a port of a protocol, and so on both.
func (c *cond) ofPort() bool {
	return len(c.tuples) == 1 && len(c.tuples[0]) == 2 && c.tuples[0][0].field == protocol && c.tuples[0][1].field == targetPort
}

// nftElements returns the elements of a set, or the one value that stands in its place.
func nftElements(right any) []any {
	m, _ := right.(map[string]any)
	set, ok := m["set"].([]any)
	if !ok {
		set = []any{right}
	}
	for i, x := range set {
		if m, _ := x.(map[string]any); m["elem"] != nil { // with a counter, a timeout, …
			elem, _ := m["elem"].(map[string]any)
			set[i] = elem["val"]
		}
	}
	return set
}

// nftField reads the left side of a condition.
func nftField(left any) field {
	m, _ := left.(map[string]any)
	for kind, body := range m {
		b, _ := body.(map[string]any)
		key, _ := b["key"].(string)
		of, _ := b["protocol"].(string)
		part, _ := b["field"].(string)
		switch kind + " " + key + of + " " + part {
		case "meta iif ", "meta iifname ":
			return inInterface
		case "meta oif ", "meta oifname ":
			return outInterface
		case "meta nfproto ", "meta protocol ":
			return family
		case "ct state ":
			return state
		case "payload ip saddr":
			return source4
		case "payload ip daddr":
			return target4
		case "payload ip6 saddr":
			return source6
		case "payload ip6 daddr":
			return target6
		case "meta l4proto ", "payload ip protocol", "payload ip6 nexthdr":
			return protocol
		case "payload tcp dport", "payload udp dport", "payload th dport":
			return targetPort
		}
	}
	return unknown
}

// nftValues reads the right side of a condition: a value, or a set of them.
func nftValues(right any) (values []string) {
	switch v := right.(type) {
	case string:
		return []string{v}
	case float64:
		return []string{strconv.FormatFloat(v, 'f', -1, 64)}
	case []any:
		for _, x := range v {
			values = append(values, nftValues(x)...)
		}
		return values
	case map[string]any:
		if set, ok := v["set"]; ok {
			return nftValues(set)
		}
		if elem, ok := v["elem"].(map[string]any); ok { // with a counter, a timeout, …
			return nftValues(elem["val"])
		}
		if p, ok := v["prefix"].(map[string]any); ok {
			bits, _ := p["len"].(float64)
			return []string{fmt.Sprintf("%v/%d", p["addr"], int(bits))}
		}
		if r, ok := v["range"].([]any); ok && len(r) == 2 {
			return []string{fmt.Sprintf("%v-%v", r[0], r[1])}
		}
	}
	return []string{"@" + strings.TrimSpace(fmt.Sprint(right))} // may hold or not
}
