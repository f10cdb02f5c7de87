package doctor

import (
	"cmp"
	"slices"
	"strings"
)

// parseIPTables reads what iptables-save or ip6tables-save prints. What it does
// not understand becomes a condition that may hold or not.
func parseIPTables(text string, six bool) (chains []Chain) {
	fam := "ip"
	if six {
		fam = "ip6"
	}
	table := ""
	at := make(map[string]int) // index into chains of this table
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
			clear(at)
		case strings.HasPrefix(line, ":"):
			name, rest, _ := strings.Cut(line[1:], " ")
			policy, _, _ := strings.Cut(rest, " ")
			c := Chain{Tool: toolIPTables, Family: fam, Table: table, Name: name, Drops: policy == "DROP"}
			if policy != "-" { // or else a chain of the user's
				c.Kind, c.Hook, c.Priority = table, strings.ToLower(name), iptablesPriority[table]
			}
			at[name] = len(chains)
			chains = append(chains, c)
		case strings.HasPrefix(line, "-A "):
			words := split(line[3:])
			if i, found := at[words[0]]; found {
				chains[i].Rules = append(chains[i].Rules, iptablesRule(words[1:], six))
			}
		}
	}
	return chains
}

// iptablesPriority says in which order the tables have a packet:
// linux/netfilter_ipv4.h.
var iptablesPriority = map[string]int{"raw": -300, "mangle": -150, "nat": -100, "security": 50}

// iptablesRule reads a rule from the words after -A CHAIN.
func iptablesRule(words []string, six bool) (r rule) {
	source, target := source4, target4
	if six {
		source, target = source6, target6
	}
	not := false
	for i := 0; i < len(words); i++ {
		arg := ""
		if i+1 < len(words) {
			arg = words[i+1]
		}
		c := cond{not: not, values: []string{arg}}
		not = false
		switch words[i] {
		case "!":
			not = true
			continue
		case "-s":
			c.field = source
		case "-d":
			c.field = target
		case "-i":
			c.field = inInterface
		case "-o":
			c.field = outInterface
		case "-p":
			c.field = protocol
		case "--dport", "--dports":
			c.field, c.values = targetPort, iptablesPorts(arg)
		case "--ctstate", "--state":
			c.field, c.values = state, strings.Split(strings.ToLower(arg), ",")
		case "-m", "--comment":
			i++ // what follows tells what it matches
			continue
		case "-j":
			r.action, r.target = iptablesTarget(arg)
			if arg == "CT" && slices.Contains(words[i:], "--notrack") {
				r.action = untrack
			}
			return r // what follows are options of the target
		case "-g":
			r.action, r.target = goTo, arg
			return r
		default:
			c = cond{}
			for i+1 < len(words) && !strings.HasPrefix(words[i+1], "-") && words[i+1] != "!" {
				i++
			}
			r.conds = append(r.conds, c)
			continue
		}
		if c.field == inInterface || c.field == outInterface {
			c.values[0] = strings.Replace(c.values[0], "+", "*", 1)
		}
		r.conds = append(r.conds, c)
		i++
	}
	return r
}

// iptablesPorts reads ports and ranges of them, which may lack an end.
func iptablesPorts(arg string) (values []string) {
	for v := range strings.SplitSeq(arg, ",") {
		if low, high, ranged := strings.Cut(v, ":"); ranged {
			v = cmp.Or(low, "0") + "-" + cmp.Or(high, "65535")
		}
		values = append(values, v)
	}
	return values
}

// iptablesTarget reads a target: a verdict or the name of a chain.
func iptablesTarget(name string) (action, string) {
	switch name {
	case "ACCEPT":
		return accept, ""
	case "DNAT", "REDIRECT":
		return redirect, ""
	case "DROP", "REJECT":
		return drop, ""
	case "MASQUERADE", "SNAT", "NETMAP":
		return masquerade, ""
	case "RETURN":
		return back, ""
	case "LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "CT", "DSCP", "TOS", "CLASSIFY", "AUDIT", "TRACE", "SET", "TTL", "HL", "CHECKSUM":
		return pass, ""
	case "NOTRACK":
		return untrack, ""
	case "QUEUE", "NFQUEUE", "TPROXY", "TEE", "SYNPROXY":
		return unsure, ""
	}
	return jump, name
}

// split cuts a line into words, some of which are quoted.
func split(line string) (words []string) {
	var b strings.Builder
	quoted, any := false, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line):
			i++
			b.WriteByte(line[i])
		case c == '"':
			quoted, any = !quoted, true
		case c == ' ' && !quoted:
			if b.Len() > 0 || any {
				words = append(words, b.String())
			}
			b.Reset()
			any = false
		default:
			b.WriteByte(c)
		}
	}
	if b.Len() > 0 || any || len(words) == 0 {
		words = append(words, b.String())
	}
	return words
}
