package clat

import (
	"errors"
	"fmt"
	"reflect"
	"time"
)

// work has the machine and the translator be as the network asks for.
func (c *Controller) work(now time.Time) {
	u, ok := c.choose(now)
	var p plan
	if ok {
		if p, ok = c.cfg.plan(c.snap, u, c.host.forces()); !ok {
			c.problem("route", fmt.Errorf("no route to %s over %s", u.prefix, u.uplink))
			u = use{}
		} else {
			c.problem("route", nil)
		}
	}
	c.used = u
	if cl := c.current; cl != nil && cl.addr != u.host6 && ok && c.next == nil {
		c.drop(cl) // no uplink needs it any more
	}
	c.makeSo(now, p)
}

// choose returns what the CLAT works by: the target, once its address is taken, and until then
// what it works by now, if that is still valid.
func (c *Controller) choose(now time.Time) (u use, ok bool) {
	target, prefix := c.target(now)
	if target == nil || !prefix.IsValid() {
		return use{}, false
	}
	if u, ok := c.useOf(target, now); ok {
		return u, true
	}
	for _, up := range c.uplinks {
		found := c.prefix(up, now)
		if up.link.index == c.used.index && found.Prefix.IsValid() && c.stillHas(c.used) {
			u := c.used
			u.prefix, u.source, u.router = found.Prefix, c.sourceOf(up), found.Router
			return u, !u.prefix.Contains(u.host6)
		}
	}
	return use{}, false
}

// stillHas reports whether the address of a use is the CLAT's still.
func (c *Controller) stillHas(u use) bool {
	if u.mode == Shared {
		n := c.snap.sources(u.index)
		for _, a := range n {
			if a.Addr() == u.shared {
				return true
			}
		}
		return !u.shared.IsValid()
	}
	return c.current != nil && c.current.to.index == u.index && c.current.addr == u.host6
}

// useOf returns what the CLAT works by on an uplink with a prefix, if it has the address.
func (c *Controller) useOf(up *uplink, now time.Time) (u use, ok bool) {
	found := c.prefix(up, now)
	n := c.needs(up, found.Prefix)
	u = use{
		index: up.link.index, uplink: up.link.name, prefix: found.Prefix, source: c.sourceOf(up), router: found.Router,
		mode: n.mode, why: n.why,
	}
	switch {
	case n.err != "":
		return use{}, false
	case n.mode == Shared:
		u.host6, u.shared = sharedHost6(c.cfg.Secret), n.addr
	case c.current == nil || c.current.to != n.to():
		return use{}, false
	default:
		u.host6 = c.current.addr
	}
	if !u.prefix.Contains(u.host6) {
		c.problem("inside", nil)
	} else {
		c.problem("inside", fmt.Errorf("%s is inside the prefix %s", u.host6, u.prefix))
		return use{}, false
	}
	return u, true
}

func (c *Controller) sourceOf(u *uplink) string {
	if c.cfg.Prefix.IsValid() {
		return SourceConfiguration
	}
	return sourceWord(u.counts.Source)
}

// makeSo makes the machine and the translator be as planned, and again if another program has
// changed that. What fails is tried again, with pauses that grow.
func (c *Controller) makeSo(now time.Time, p plan) {
	if !reflect.DeepEqual(p, c.plan) {
		c.plan, c.done = p, false
		c.try.sooner(now)
	}
	if len(p.changes) == 0 && c.done {
		c.filtered = false // nothing of ours is there
		return
	}
	if !c.done {
		if c.ready(c.try.wait(now)) {
			c.attempt(now)
		}
		return
	}
	if (c.filtered || !c.snap.intact(p.changes)) && c.ready(c.repair.wait(now)) {
		c.repair.did(now)
		c.attempt(now)
	}
}

// attempt makes it so, and looks at the result.
func (c *Controller) attempt(now time.Time) {
	c.filtered = false
	err := c.apply()
	c.done = err == nil
	if err == nil {
		c.try.succeeded()
	} else {
		c.try.failed(now)
		c.ready(c.try.wait(now))
	}
	c.problem("apply", err)
	if s, err := c.host.snapshot(); err == nil {
		c.snap = s
	} else {
		c.dirty = true
		c.ready(leastLook)
	}
}

// apply tells the translator before packets come to it, and after none come any more.
func (c *Controller) apply() error {
	if !c.plan.translation.Prefix.IsValid() {
		err := c.cfg.Apply(c.plan.changes)
		return errors.Join(err, c.update())
	}
	if err := c.update(); err != nil {
		return err
	}
	return c.cfg.Apply(c.plan.changes)
}

func (c *Controller) update() error {
	t := c.plan.translation
	if t == c.translated {
		return nil
	}
	if err := c.cfg.Update(t); err != nil {
		return fmt.Errorf("translator: %w", err)
	}
	c.translated = t
	return nil
}
