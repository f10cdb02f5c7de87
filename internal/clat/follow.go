package clat

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/steppe-nat64/steppe/internal/pref64"
)

// An uplink is an interface on which a prefix is looked for.
type uplink struct {
	link   linkState
	finder finder             // nil: there is none at present
	cancel context.CancelFunc // of the finder
	try    backoff            // of the finder

	routedAt time.Time // when it began to lead somewhere, for retry; zero: nothing is to be done
	trouble  error     // the last one with the search
	refused  bool      // a prefix was

	found   pref64.Found // what the finder has found
	renewed time.Time    // until then, no prefix is no reason to drop the one in use

	counts  pref64.Found // what counts now
	last    netip.Prefix // that counted last
	changes damper       // of the prefix
}

// renew has the prefix looked for anew.
func (u *uplink) renew(now time.Time) {
	if u.finder != nil {
		u.renewed = now.Add(renewal)
		u.finder.Restart()
	}
	u.try.succeeded()
}

// forget begins anew with links that were down: they may be on another network. Addresses on
// them have to be checked again: RFC 4862 §5.3.
func (c *Controller) forget(down map[int]bool) {
	for _, u := range c.uplinks {
		if down[u.link.index] {
			u.stop()
		}
	}
	c.uplinks = slices.DeleteFunc(c.uplinks, func(u *uplink) bool { return down[u.link.index] })
	for _, cl := range []*candidate{c.current, c.next} {
		if cl != nil && down[cl.to.index] {
			c.drop(cl)
		}
	}
	for to := range c.crowded {
		if down[to.index] {
			delete(c.crowded, to)
		}
	}
}

// follow looks for prefixes on these interfaces, and on no others.
func (c *Controller) follow(list []linkState, now time.Time) {
	var uplinks []*uplink
	for _, l := range list {
		i := slices.IndexFunc(c.uplinks, func(u *uplink) bool { return u.link.index == l.index && u.link.name == l.name })
		if i < 0 {
			uplinks = append(uplinks, &uplink{link: l})
			continue
		}
		if l.routed && !c.uplinks[i].link.routed {
			c.uplinks[i].routedAt = now
		}
		c.uplinks[i].link = l
		uplinks = append(uplinks, c.uplinks[i])
	}
	for _, u := range c.uplinks {
		if !slices.Contains(uplinks, u) {
			u.stop()
			c.problem("find "+u.link.name, nil)
		}
	}
	c.uplinks = uplinks
	for _, u := range c.uplinks {
		c.findOn(u, now)
	}
}

// findOn has a finder run on an uplink, unless the prefix is configured.
func (c *Controller) findOn(u *uplink, now time.Time) {
	if c.cfg.Prefix.IsValid() {
		u.found = pref64.Found{Prefix: c.cfg.Prefix}
		return
	}
	if u.finder != nil {
		c.askAgain(u, now)
		return
	}
	if !c.ready(u.try.wait(now)) {
		return
	}
	f, err := c.find(u.link.name, func(err error) { c.send(func() { c.findReports(u, err) }) })
	if err != nil {
		u.try.failed(now)
		c.ready(u.try.wait(now))
		c.problem("find "+u.link.name, err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	u.finder, u.cancel = f, cancel
	c.running.Go(func() {
		err := f.Run(ctx, func(found pref64.Found) {
			c.send(func() {
				u.found = found
				if found.Prefix.IsValid() {
					u.trouble = nil
				}
			})
		})
		cancel()
		f.Close()
		c.send(func() { c.findEnded(u, f, err) })
	})
}

// setOwn takes the networks of this machine, which finders look at now and then: they begin
// anew if that changes what they have found or refused.
func (c *Controller) setOwn(own []netip.Prefix) {
	if slices.Equal(own, *c.own.Load()) {
		return
	}
	c.own.Store(&own)
	for _, u := range c.uplinks {
		overlaps := func(o netip.Prefix) bool { return u.found.Prefix.Overlaps(o) }
		if u.finder != nil && (u.refused || slices.ContainsFunc(own, overlaps)) {
			u.found, u.refused, u.renewed = pref64.Found{}, false, time.Time{}
			u.finder.Restart()
		}
	}
}

// askAgain has a finder begin anew that found nothing while the uplink led nowhere: it
// pauses for long then. An advertisement that has brought the route is waited for.
func (c *Controller) askAgain(u *uplink, now time.Time) {
	if u.routedAt.IsZero() || !c.ready(u.routedAt.Add(leastPause).Sub(now)) {
		return
	}
	u.routedAt = time.Time{}
	if !u.found.Prefix.IsValid() {
		u.finder.Restart()
	}
}

// stop ends the finder of an uplink, which is not used any more.
func (u *uplink) stop() {
	if u.cancel != nil {
		u.cancel()
	}
	u.finder = nil
}

// findEnded takes the end of a finder that was not stopped.
func (c *Controller) findEnded(u *uplink, f finder, err error) {
	if u.finder != f {
		return
	}
	u.finder, u.found = nil, pref64.Found{}
	u.try.failed(time.Now())
	c.problem("find "+u.link.name, err)
}

// findReports takes what goes wrong with the search.
func (c *Controller) findReports(u *uplink, err error) {
	if refused := (pref64.Refused{}); errors.As(err, &refused) {
		c.mu.Lock()
		c.report.RefusedPrefixes++
		c.mu.Unlock()
		u.refused = true
		c.problem("refused", fmt.Errorf("%s: %w", u.link.name, err))
		return
	}
	u.trouble = fmt.Errorf("%s: %w", u.link.name, err)
}

// prefix returns the prefix of an uplink that counts. One that is withdrawn ends at once. One
// that replaces another, again and again, does so with pauses that grow.
func (c *Controller) prefix(u *uplink, now time.Time) pref64.Found {
	found := u.found
	switch {
	case found.Prefix == u.counts.Prefix:
		u.counts = found
		return found
	case !found.Prefix.IsValid():
		if !c.ready(u.renewed.Sub(now)) {
			return u.counts
		}
	case found.Prefix == u.last && !u.counts.Prefix.IsValid():
		if !c.ready(min(u.changes.wait(now), leastPause)) {
			return u.counts
		}
	default:
		if !c.ready(u.changes.wait(now)) {
			return u.counts
		}
		u.changes.did(now)
	}
	if u.counts.Prefix.IsValid() && u.link.index == c.used.index {
		c.mu.Lock()
		c.report.PrefixChanges++
		c.mu.Unlock()
	}
	if found.Prefix.IsValid() {
		u.last = found.Prefix
	}
	u.counts = found
	return found
}
