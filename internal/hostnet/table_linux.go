package hostnet

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/nftables"
)

// An ownTable is a table of nftables that a change makes, in each family that has chains.
type ownTable struct {
	name   string
	chains func(six bool) []ownChain
}

func (n *NAT) table() ownTable { return ownTable{n.Table, n.chains} }

// table depends on whether other programs, too, want that packets of the uplink are forwarded.
func (g *Guard) table(h *host) ownTable {
	alone := false
	if g.Uplink != "" && h.sets("net/ipv6/conf/"+g.Uplink+"/force_forwarding") {
		all, err := h.read("net/ipv6/conf/all/forwarding")
		alone = err == nil && all == "0"
	}
	return ownTable{g.Table, func(six bool) []ownChain { return g.chains(six, alone) }}
}

// rules returns the rules of all chains.
func (t ownTable) rules(six bool) (list []nftRule) {
	for _, c := range t.chains(six) {
		list = append(list, c.rules...)
	}
	return list
}

// hooks are those of chains, by their names.
var hooks = map[string]*nftables.ChainHook{
	"input": nftables.ChainHookInput, "forward": nftables.ChainHookForward, "postrouting": nftables.ChainHookPostrouting,
}

// priorities are those of chains, by their words.
var priorities = map[string]*nftables.ChainPriority{
	"filter": nftables.ChainPriorityFilter, "srcnat": nftables.ChainPriorityNATSource, "srcnat + 50": nftables.ChainPriorityRef(*nftables.ChainPriorityNATSource + 50),
}

// eachFamily calls f for both families of tables.
func eachFamily(f func(family nftables.TableFamily, six bool) error) error {
	return firstError(f(nftables.TableFamilyIPv4, false), f(nftables.TableFamilyIPv6, true))
}

// look reports whether the table is there, with all its rules.
func (t ownTable) look(h *host) (bool, error) {
	n, err := h.tables()
	if err != nil {
		return false, err
	}
	all := true
	err = n.stable(func(uint32) error {
		all = true
		return eachFamily(func(family nftables.TableFamily, six bool) error {
			want := t.rules(six)
			there, rules, err := n.content(family, t.name)
			if err != nil {
				return err
			}
			all = all && there == (len(want) > 0) && len(rules) == len(want)
			for i := range min(len(want), len(rules)) {
				all = all && comment(rules[i]) == want[i].comment
			}
			return nil
		})
	})
	return all, err
}

// content returns whether a table is there, and its rules.
func (n *nft) content(family nftables.TableFamily, name string) (there bool, rules []*nftables.Rule, err error) {
	table, err := n.table(family, name)
	if err != nil || table == nil {
		return false, nil, err
	}
	chains, err := n.chains(family)
	if err != nil {
		return false, nil, err
	}
	for _, c := range chains {
		if c.Table.Name != name {
			continue
		}
		list, err := n.rules(c)
		if err != nil {
			return false, nil, err
		}
		rules = append(rules, list...)
	}
	return true, rules, nil
}

var errForeign = errors.New("has rules of another program")

// ours reports whether a table is there that a Manager has made: all its rules have our
// comments. A table without rules may be one that another program has flushed.
func (n *nft) ours(family nftables.TableFamily, name string) (bool, error) {
	there, rules, err := n.content(family, name)
	if err != nil || !there {
		return false, err
	}
	for _, r := range rules {
		if !strings.HasPrefix(comment(r), tagPrefix) {
			return false, fmt.Errorf("nftables: the table %s %s %w", familyName(family), name, errForeign)
		}
	}
	return true, nil
}

// make makes the table anew, in one transaction.
func (t ownTable) make(h *host) error {
	n, err := h.tables()
	if err != nil {
		return err
	}
	there := map[nftables.TableFamily]bool{}
	err = eachFamily(func(family nftables.TableFamily, _ bool) (err error) {
		there[family], err = n.ours(family, t.name)
		return err
	})
	if err != nil {
		return err
	}
	eachFamily(func(family nftables.TableFamily, six bool) error {
		table := &nftables.Table{Name: t.name, Family: family}
		if there[family] {
			n.conn.AddTable(table) // that it can be deleted, whatever another program does
			n.conn.DelTable(table)
		}
		if chains := t.chains(six); len(chains) > 0 {
			add(n.conn, table, chains)
		}
		return nil
	})
	return n.flush("make the table " + t.name)
}

// add adds a table to a transaction.
func add(conn *nftables.Conn, table *nftables.Table, chains []ownChain) {
	conn.AddTable(table)
	accept := nftables.ChainPolicyAccept
	for _, c := range chains {
		chain := conn.AddChain(&nftables.Chain{
			Name: c.hook, Table: table, Type: nftables.ChainType(c.kind), Hooknum: hooks[c.hook], Priority: priorities[c.priority], Policy: &accept,
		})
		for _, r := range c.rules {
			conn.AddRule(r.rule(chain, false))
		}
	}
}

// remove removes the table.
func (t ownTable) remove(h *host) error {
	n, err := h.tables()
	if err == nil {
		_, err = n.generation()
	}
	if err != nil {
		return ignoreNone(err)
	}
	return eachFamily(func(family nftables.TableFamily, _ bool) error {
		there, err := n.ours(family, t.name)
		if errors.Is(err, errForeign) {
			return nil
		}
		if err != nil || !there {
			return err
		}
		n.conn.DelTable(&nftables.Table{Name: t.name, Family: family})
		err = n.flush("delete the table " + t.name)
		if gone(err) { // another program was faster
			return nil
		}
		return err
	})
}

func (n *NAT) look(h *host) (bool, error)           { return n.table().look(h) }
func (*NAT) adopt(*host, *entry) error              { return nil } // the comments say that it is ours
func (*NAT) note(*host, *entry) error               { return nil }
func (n *NAT) make(h *host, _ *entry, _ kind) error { return n.table().make(h) }
func (n *NAT) undo(h *host, _ *entry) error         { return n.table().remove(h) }

func (g *Guard) look(h *host) (bool, error)           { return g.table(h).look(h) }
func (*Guard) adopt(*host, *entry) error              { return nil }
func (*Guard) note(*host, *entry) error               { return nil }
func (g *Guard) make(h *host, _ *entry, _ kind) error { return g.table(h).make(h) }
func (g *Guard) undo(h *host, _ *entry) error         { return g.table(h).remove(h) }
