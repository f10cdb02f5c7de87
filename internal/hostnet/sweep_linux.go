package hostnet

import (
	"strings"

	"github.com/google/nftables"
)

// sweep removes what is marked as a device's of nftables and not in its journal: what was
// saved with the rules of the machine and came back when it started, or the journal was
// lost.
func (h *host) sweep(device string) error {
	n, err := h.tables()
	if err != nil {
		return ignoreNone(err)
	}
	return ignoreNone(n.stable(func(generation uint32) error {
		s, err := n.foreign()
		if err != nil {
			return err
		}
		var rules []*nftables.Rule
		for _, c := range s.forward() {
			all, err := s.of(c)
			if err != nil {
				return err
			}
			for _, r := range all {
				if strings.HasPrefix(comment(r), TableName(device, "accept ")) && !s.owned(c) {
					rules = append(rules, r)
				}
			}
		}
		if err := n.deleteRules(rules, generation); err != nil {
			return err
		}
		return n.sweepTables(s.tables, Policy{Device: device})
	}))
}

// sweepTables deletes the tables of a device.
func (n *nft) sweepTables(tables []*nftables.Table, p Policy) error {
	for _, t := range tables {
		if p.ownTable(t.Name) != nil || t.Family == nftables.TableFamilyINet {
			continue
		}
		if ours, err := n.ours(t.Family, t.Name); err != nil || !ours {
			continue // another program's, or gone
		}
		n.conn.DelTable(&nftables.Table{Name: t.Name, Family: t.Family})
		if err := n.flush("delete the table " + t.Name); err != nil && !gone(err) {
			return err
		}
	}
	return nil
}
