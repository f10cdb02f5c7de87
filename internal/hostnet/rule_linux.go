package hostnet

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func (r *Rule) netlink() *netlink.Rule {
	rule := netlink.NewRule()
	rule.Family = version(r.Six)
	rule.Priority, rule.Table, rule.IifName = r.Priority, r.Table, r.In
	if some(r.From) {
		rule.Src = toNet(r.From)
	}
	if some(r.To) {
		rule.Dst = toNet(r.To)
	}
	return rule
}

// rules returns the rules of the priority and table.
func (r *Rule) rules(h *host) ([]netlink.Rule, error) {
	all, err := list(func() ([]netlink.Rule, error) { return h.nl.RuleList(version(r.Six)) })
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	return slices.DeleteFunc(all, func(other netlink.Rule) bool {
		return other.Priority != r.Priority || other.Table != r.Table
	}), nil
}

// is reports whether a rule is this one: about the same packets, and no fewer.
func (r *Rule) is(other netlink.Rule) bool {
	return r.covers(other) &&
		fromNet(other.Src, r.Six) == whole(r.From, r.Six) && fromNet(other.Dst, r.Six) == whole(r.To, r.Six) && other.IifName == r.In &&
		other.Mark == 0 && other.Mask == nil && other.Tos == 0 && other.TunID == 0 && other.OifName == "" &&
		other.Dport == nil && other.Sport == nil && other.IPProto == 0 && other.UIDRange == nil &&
		other.SuppressIfgroup == -1 && other.SuppressPrefixlen == -1 && other.Goto == -1 && !other.Invert
}

// whole returns a prefix, all addresses of the family for none.
func whole(p netip.Prefix, six bool) netip.Prefix {
	if some(p) {
		return p
	}
	return fromNet(nil, six)
}

// covers reports whether the kernel might take a rule for this one when it is asked to
// delete this one: it compares only what it is given (rule_find in net/core/fib_rules.c).
func (r *Rule) covers(other netlink.Rule) bool {
	return (!some(r.From) || fromNet(other.Src, r.Six) == r.From) && (!some(r.To) || fromNet(other.Dst, r.Six) == r.To) &&
		(r.In == "" || other.IifName == r.In)
}

func (r *Rule) look(h *host) (bool, error) {
	all, err := r.rules(h)
	return slices.ContainsFunc(all, r.is), err
}

func (*Rule) adopt(_ *host, e *entry) error {
	e.Found = true
	return nil
}

func (*Rule) note(*host, *entry) error { return nil }

func (r *Rule) make(h *host, _ *entry, _ kind) error {
	if err := h.nl.RuleAdd(r.netlink()); err != nil {
		return fmt.Errorf("%s: %w", r.command(), err)
	}
	return nil
}

func (r *Rule) undo(h *host, _ *entry) error {
	all, err := r.rules(h)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(other netlink.Rule) bool { return !r.covers(other) })
	switch i := slices.IndexFunc(all, r.is); {
	case i < 0:
		return nil
	case i > 0:
		return fmt.Errorf("the rule of priority %d can't be deleted: the kernel would delete a similar one before it", r.Priority)
	}
	err = h.nl.RuleDel(r.netlink())
	if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("delete the rule of priority %d: %w", r.Priority, err)
	}
	return nil
}
