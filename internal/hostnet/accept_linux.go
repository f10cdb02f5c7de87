package hostnet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A ruleset is the tables of other programs.
type ruleset struct {
	nft    *nft
	tables []*nftables.Table
	chains []*nftables.Chain
	rules  map[*nftables.Chain][]*nftables.Rule // read when they are asked for
}

// foreign lists the tables and chains of other programs.
func (n *nft) foreign() (*ruleset, error) {
	s := &ruleset{nft: n, rules: map[*nftables.Chain][]*nftables.Rule{}}
	for _, f := range families {
		chains, err := n.chains(f)
		if err != nil {
			return nil, err
		}
		for _, c := range chains {
			if !strings.HasPrefix(c.Table.Name, tagPrefix) {
				s.chains = append(s.chains, c)
			}
		}
		err = n.do("list tables", func() error {
			tables, err := n.conn.ListTablesOfFamily(f)
			s.tables = append(s.tables, tables...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *ruleset) of(c *nftables.Chain) ([]*nftables.Rule, error) {
	if rules, ok := s.rules[c]; ok {
		return rules, nil
	}
	rules, err := s.nft.rules(c)
	if err == nil {
		s.rules[c] = rules
	}
	return rules, err
}

// forward returns the chains where packets are forwarded or dropped.
func (s *ruleset) forward() (list []*nftables.Chain) {
	for _, c := range s.chains {
		if c.Hooknum != nil && *c.Hooknum == *nftables.ChainHookForward && c.Type == nftables.ChainTypeFilter {
			list = append(list, c)
		}
	}
	return list
}

// flags returns the flags of a table, which the library does not take out of network order.
func flags(t *nftables.Table) uint32 {
	return binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, t.Flags))
}

// tableOwner is NFT_TABLE_F_OWNER of linux/netfilter/nf_tables.h.
const tableOwner = 2

// owned reports whether the table of a chain belongs to a running program, which alone can
// change it ("flags owner").
func (s *ruleset) owned(c *nftables.Chain) bool {
	return slices.ContainsFunc(s.tables, func(t *nftables.Table) bool {
		return t.Name == c.Table.Name && t.Family == c.Table.Family && flags(t)&tableOwner != 0
	})
}

// drops reports whether a chain may drop packets.
func (s *ruleset) drops(c *nftables.Chain) (bool, error) {
	if c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop {
		return true, nil
	}
	rules, err := s.of(c)
	if err != nil {
		return false, err
	}
	return s.anyDrops(c, rules, map[string]bool{c.Name: true})
}

// anyDrops reports whether one of the rules of a chain may drop packets, or a rule of a chain
// that it goes to.
func (s *ruleset) anyDrops(c *nftables.Chain, rules []*nftables.Rule, seen map[string]bool) (bool, error) {
	for _, r := range rules {
		if strings.HasPrefix(comment(r), tagPrefix) {
			continue
		}
		for _, e := range r.Exprs {
			if mayDrop(e) {
				return true, nil
			}
			v, ok := e.(*expr.Verdict)
			if !ok || v.Kind != expr.VerdictJump && v.Kind != expr.VerdictGoto || seen[v.Chain] {
				continue
			}
			seen[v.Chain] = true
			for _, to := range s.chains {
				if to.Name != v.Chain || to.Table.Name != c.Table.Name || to.Table.Family != c.Table.Family {
					continue
				}
				more, err := s.of(to)
				if err != nil {
					return false, err
				}
				if drops, err := s.anyDrops(to, more, seen); drops || err != nil {
					return drops, err
				}
			}
		}
	}
	return false, nil
}

// mayDrop reports whether an expression may drop a packet by itself. Verdicts of maps are not
// looked at: they may change at any time.
func mayDrop(e expr.Any) bool {
	switch e := e.(type) {
	case *expr.Verdict:
		return e.Kind == expr.VerdictDrop || e.Kind == expr.VerdictQueue || e.Kind == expr.VerdictStolen
	case *expr.Reject, *expr.Queue, *expr.SynProxy:
		return true
	case *expr.Lookup:
		return e.IsDestRegSet && e.DestRegister == unix.NFT_REG_VERDICT
	case *expr.Target:
		return slices.Contains([]string{"DROP", "REJECT", "NFQUEUE", "QUEUE", "SYNPROXY", "TARPIT"}, e.Name)
	}
	return false
}

// iptables reports whether a chain is one of iptables-nft.
func iptables(c *nftables.Chain) bool {
	return c.Table.Family != nftables.TableFamilyINet && c.Table.Name == "filter" && c.Name == "FORWARD"
}

// placed is a chain with those of its rules that belong to a change.
type placed struct {
	chain *nftables.Chain
	ours  []*nftables.Rule
	want  []nftRule // those that it has to have
	there bool      // it has them, before any that may drop
	owned bool
}

// places returns the chains that the change is about, or was.
func (a *Accept) places(s *ruleset) (list []placed, err error) {
	for _, c := range s.forward() {
		rules, err := s.of(c)
		if err != nil {
			return nil, err
		}
		p := placed{chain: c, owned: s.owned(c)}
		last := -1 // of ours
		for i, r := range rules {
			if comment(r) == a.tag() {
				p.ours, last = append(p.ours, r), i
			}
		}
		drops, err := s.drops(c)
		if err != nil {
			return nil, err
		}
		if drops {
			p.want = a.rules(familyName(c.Table.Family))
		}
		early, err := s.anyDrops(c, rules[:last+1], map[string]bool{c.Name: true})
		if err != nil {
			return nil, err
		}
		p.there = len(p.ours) == len(p.want) && !early
		if len(p.want) > 0 || len(p.ours) > 0 {
			list = append(list, p)
		}
	}
	return list, nil
}

func (a *Accept) look(h *host) (bool, error) {
	n, err := h.tables()
	if err != nil {
		return false, err
	}
	all := true
	err = n.stable(func(uint32) error {
		s, err := n.foreign()
		if err != nil {
			return err
		}
		list, err := a.places(s)
		all = !slices.ContainsFunc(list, func(p placed) bool { return !p.there && !p.owned })
		return err
	})
	return all, err
}

func (*Accept) adopt(*host, *entry) error { return nil } // the comments say that it is ours

func (*Accept) note(*host, *entry) error { return nil }

// make inserts the rules and deletes ours that are in the wrong place.
func (a *Accept) make(h *host, _ *entry, _ kind) error {
	n, err := h.tables()
	if err != nil {
		return err
	}
	return n.stable(func(generation uint32) error {
		s, err := n.foreign()
		if err != nil {
			return err
		}
		list, err := a.places(s)
		if err != nil {
			return err
		}
		var stale []*nftables.Rule
		for _, p := range list {
			if !p.there && !p.owned {
				stale = append(stale, p.ours...)
			}
		}
		// First the old ones, under the condition that nothing has changed: the list is
		// right then.
		if err := n.deleteRules(stale, generation); err != nil {
			return err
		}
		var errs error
		for _, p := range list {
			if p.there || p.owned {
				continue
			}
			for _, r := range slices.Backward(p.want) {
				n.conn.InsertRule(r.rule(p.chain, iptables(p.chain)))
			}
			c := p.chain
			errs = errors.Join(errs, n.flush(fmt.Sprintf("accept in the chain %s %s %s", familyName(c.Table.Family), c.Table.Name, c.Name)))
		}
		if errs != nil {
			return &keptError{errs}
		}
		return nil
	})
}

// undo deletes our rules in all tables of others, also where other programs have moved or
// restored them.
func (a *Accept) undo(h *host, _ *entry) error {
	n, err := h.tables()
	if err != nil {
		return ignoreNone(err)
	}
	return ignoreNone(n.stable(func(generation uint32) error {
		s, err := n.foreign()
		if err != nil {
			return err
		}
		var ours []*nftables.Rule
		for _, c := range s.forward() {
			rules, err := s.of(c)
			if err != nil {
				return err
			}
			for _, r := range rules {
				if comment(r) == a.tag() && !s.owned(c) {
					ours = append(ours, r)
				}
			}
		}
		return n.deleteRules(ours, generation)
	}))
}

// warnings returns what may drop packets nevertheless.
func (a *Accept) warnings(h *host) error {
	var list []error
	if n, err := h.tables(); err == nil {
		s, err := n.foreign()
		if err != nil {
			return err
		}
		places, err := a.places(s)
		if err != nil {
			return err
		}
		for _, p := range places {
			if p.owned && !p.there {
				list = append(list, fmt.Errorf("%w: table %s %s", ErrOwned, familyName(p.chain.Table.Family), p.chain.Table.Name))
			}
		}
	}
	for f, fd := range h.legacy {
		text, err := readAll(fd, 4096)
		if err == nil && slices.ContainsFunc(bytes.Fields(text), func(b []byte) bool { return string(b) == "filter" }) && len(a.rules(f)) > 0 {
			list = append(list, fmt.Errorf("%s: %w", f, ErrLegacy))
		}
	}
	return errors.Join(list...)
}

// openLegacy opens the lists of tables of iptables-legacy, where the kernel has its module.
func (h *host) openLegacy() {
	h.legacy = map[string]int{}
	for f, name := range map[string]string{"ip": "ip_tables_names", "ip6": "ip6_tables_names"} {
		if fd, err := unix.Open("/proc/thread-self/net/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			h.legacy[f] = fd
		}
	}
}
