package clat

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"time"
)

// A claimTo is an address, or the network for one, on an uplink.
type claimTo struct {
	index int
	net   netip.Prefix // zero for a given address
	addr  netip.Addr   // zero for a stable address of net
}

// A candidate is an address that is or will be the CLAT's own.
type candidate struct {
	to     claimTo
	addr   netip.Addr         // that is taken; not valid: none is
	cancel context.CancelFunc // not nil while it is being checked
	fails  int
	try    backoff
}

// assumed is where an address is chosen for while no prefix is known: the check for duplicates
// then runs while the prefix is looked for.
var assumed = netip.MustParsePrefix("64:ff9b::/96")

// target returns the best uplink with a prefix, or else the best one; nil if none leads
// anywhere.
func (c *Controller) target(now time.Time) (u *uplink, prefix netip.Prefix) {
	for _, u := range c.uplinks {
		if p := c.prefix(u, now).Prefix; p.IsValid() && u.link.routed {
			return u, p
		}
	}
	if len(c.uplinks) == 0 || !c.uplinks[0].link.routed {
		return nil, prefix
	}
	return c.uplinks[0], prefix
}

// needs returns which address suits the target, with what was tried so far.
func (c *Controller) needs(u *uplink, prefix netip.Prefix) need {
	if !prefix.IsValid() {
		prefix = assumed
	}
	n := c.snap.need(c.cfg.Address, u.link, prefix)
	why, crowded := c.crowded[n.to()]
	if n.mode != Own || !crowded || c.cfg.Address.Mode != Auto {
		return n
	}
	shared := c.snap.need(Address{Mode: Shared}, u.link, prefix)
	shared.why = why
	return shared
}

// to returns what has to be claimed, zero if nothing has.
func (n need) to() claimTo {
	switch {
	case n.err != "" || n.mode == Shared:
		return claimTo{}
	case n.mode == Fixed:
		return claimTo{index: n.index, addr: n.addr}
	}
	return claimTo{index: n.index, net: n.net}
}

// claim claims the address that the target needs. The current one stays until that is taken.
func (c *Controller) claim(now time.Time) {
	if c.current != nil && !c.possible(c.current.to) {
		c.drop(c.current)
	}
	var to claimTo
	if u, prefix := c.target(now); u != nil {
		n := c.needs(u, prefix)
		to = n.to()
		c.soon = n.soon
		if n.err != "" && !n.soon && prefix.IsValid() {
			c.problem("address", errors.New(n.err))
		} else {
			c.problem("address", nil)
		}
	}
	if c.next != nil && c.next.to != to {
		c.drop(c.next)
	}
	if to == (claimTo{}) || c.current != nil && c.current.to == to {
		return
	}
	if c.next == nil {
		c.next = &candidate{to: to}
	}
	if c.next.cancel == nil && c.ready(c.next.try.wait(now)) {
		c.begin(c.next)
	}
}

// possible reports whether an address can still be used.
func (c *Controller) possible(to claimTo) bool {
	for _, u := range c.uplinks {
		if u.link.index == to.index {
			return !to.net.IsValid() || c.snap.has(to.index, to.net)
		}
	}
	return false
}

// begin begins the check of an address.
func (c *Controller) begin(cl *candidate) {
	ctx, cancel := context.WithCancel(context.Background())
	cl.cancel = cancel
	maps.DeleteFunc(c.lost, func(_ netip.Addr, at time.Time) bool { return time.Since(at) > lostTime })
	lost := maps.Clone(c.lost)
	s := Stable{Secret: c.cfg.Secret, Prefix: cl.to.net}
	if l := c.snap.link(cl.to.index); l != nil {
		s.Interface = l.name
	}
	before, over := c.checked, make(chan struct{})
	c.checked = over
	c.running.Go(func() {
		defer close(over)
		if before != nil {
			<-before // a check that was given up may be of the same address
		}
		addr, err := cl.to.addr, error(nil)
		if addr.IsValid() {
			err = c.claimer.Claim(ctx, cl.to.index, addr)
		} else {
			addr, err = c.claimer.ClaimStable(ctx, cl.to.index, s, func(a netip.Addr) bool { return !lost[a].IsZero() })
		}
		cancel()
		if !c.send(func() { c.claimed(cl, addr, err) }) && err == nil {
			c.claimer.Release(cl.to.index, addr)
		}
	})
}

// maxFails is how often the check of an address may fail for other reasons than a duplicate
// until that of the machine is used instead.
const maxFails = 3

// claimed takes the result of a check.
func (c *Controller) claimed(cl *candidate, addr netip.Addr, err error) {
	switch {
	case c.next != cl: // not wanted any more
		if err == nil && (c.current == nil || c.current.addr != addr) {
			c.claimer.Release(cl.to.index, addr)
		}
		return
	case err == nil:
		old := c.current
		c.next, cl.cancel, cl.addr = nil, nil, addr
		c.current = cl
		c.problem("claim", nil)
		if old != nil && old.addr != addr {
			c.claimer.Release(old.to.index, old.addr)
		}
		return
	}
	cl.cancel = nil
	cl.fails++
	cl.try.failed(time.Now())
	c.problem("claim", err)
	duplicate := errors.Is(err, ErrDuplicate)
	if duplicate {
		c.countConflict()
	}
	if cl.to.net.IsValid() && c.cfg.Address.Mode == Auto && (duplicate || cl.fails == maxFails) {
		c.crowded[cl.to] = fmt.Sprintf("there is no address of its own: %v", err)
	}
}

const (
	maxLost  = 64               // addresses that are remembered that other nodes took
	lostTime = 10 * time.Minute // until they are tried again
)

// conflict takes it that another node uses an address of the CLAT.
func (c *Controller) conflict(x Conflict) {
	c.send(func() {
		c.countConflict()
		if len(c.lost) >= maxLost {
			clear(c.lost)
		}
		c.lost[x.Addr] = time.Now()
		c.problem("conflict", fmt.Errorf("%s has the address %s of the CLAT, too: it is given up", x.By, x.Addr))
		if c.current != nil && c.current.to.index == x.Index && c.current.addr == x.Addr {
			c.current = nil // released already
		}
	})
}

func (c *Controller) countConflict() {
	c.mu.Lock()
	c.report.Conflicts++
	c.mu.Unlock()
}

// drop gives a claim up.
func (c *Controller) drop(cl *candidate) {
	if cl.cancel != nil {
		cl.cancel()
	}
	if cl.addr.IsValid() {
		c.claimer.Release(cl.to.index, cl.addr)
	}
	if c.current == cl {
		c.current = nil
	}
	if c.next == cl {
		c.next = nil
	}
}

func (c *Controller) dropClaims() {
	for _, cl := range []*candidate{c.current, c.next} {
		if cl != nil {
			c.drop(cl)
		}
	}
}
