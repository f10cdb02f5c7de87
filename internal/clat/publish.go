package clat

import (
	"errors"
	"fmt"
	"time"
)

// publish makes the report, and logs what has changed.
func (c *Controller) publish(now time.Time) {
	if c.other != nil {
		c.problem("other", c.other)
	} else {
		c.problem("other", nil)
	}
	best, prefix := c.target(now)
	uplink, why := c.where(best)
	c.problem("uplink", why)
	if best != nil && !prefix.IsValid() && best.trouble != nil {
		c.problem("search", best.trouble)
	} else {
		c.problem("search", nil)
	}
	c.mu.Lock()
	r := &c.report
	if state := c.state(); r.State != state {
		r.State, r.Since = state, now
	}
	r.NativeDevice, _ = c.snap.native(c.cfg.Device)
	switch {
	case r.NativeDevice != "":
		r.Carrier = ByNative
	case r.State == On:
		r.Carrier = ByCLAT
	default:
		r.Carrier = ByNone
	}
	r.Uplink = uplink
	r.Prefix, r.Source, r.Router = c.used.prefix, c.used.source, c.used.router
	r.Host4, r.Host6 = c.plan.translation.Host4, c.plan.translation.Host6
	r.Mode, r.Why, r.MTU = c.used.mode, c.used.why, c.plan.mtu
	if !r.Prefix.IsValid() && prefix.IsValid() {
		r.Prefix, r.Source, r.Router = prefix, c.sourceOf(best), best.counts.Router
	}
	summary := r.summary()
	c.mu.Unlock()
	if summary != c.summary {
		c.summary = summary
		c.log(Info, summary)
	}
}

// where returns the uplink that is used, or would be, and why there is none.
func (c *Controller) where(best *uplink) (string, error) {
	switch {
	case c.used.prefix.IsValid():
		return c.used.uplink, nil
	case best != nil:
		return best.link.name, nil
	case c.other != nil:
		return "", nil
	case c.cfg.Uplink != "":
		return "", fmt.Errorf("%s is down, has no IPv6 address, or is not there", c.cfg.Uplink)
	}
	return "", errors.New("no interface has an IPv6 default route")
}

func (c *Controller) state() State {
	_, prefix := c.target(time.Now())
	switch {
	case c.other != nil:
		return Off
	case len(c.plan.changes) > 0 && c.translated == c.plan.translation && c.snap.intact(c.plan.changes):
		return On
	case !prefix.IsValid():
		return Searching
	case c.soon, c.next != nil && c.next.fails == 0:
		return Checking
	}
	return Off
}

// summary says in one sentence what a report does.
func (r *Report) summary() string {
	native := ""
	if r.NativeDevice != "" {
		native = fmt.Sprintf("; %s has native IPv4, which new connections take", r.NativeDevice)
	}
	switch r.State {
	case On:
		from := r.Source
		if r.Router.IsValid() {
			from += " of " + r.Router.String()
		}
		return fmt.Sprintf("CLAT on: uplink %s, prefix %s (%s), address %s (%s: %s), MTU %d%s",
			r.Uplink, r.Prefix, from, r.Host6, r.Mode, r.Why, r.MTU, native)
	case Searching:
		if r.Uplink == "" {
			return "CLAT searching for an uplink" + native
		}
		return fmt.Sprintf("CLAT searching for the NAT64 prefix of %s%s", r.Uplink, native)
	case Checking:
		return fmt.Sprintf("CLAT checking an address on %s%s", r.Uplink, native)
	}
	return "CLAT off" + native
}

// problem takes an error of a kind, or that there is none any more. The same one is logged
// once. No error ends the CLAT.
func (c *Controller) problem(kind string, err error) {
	if err == nil {
		delete(c.problems, kind)
		return
	}
	text := oneLine(err.Error())
	if c.problems[kind] == text {
		return
	}
	c.problems[kind] = text
	c.mu.Lock()
	c.report.LastError, c.report.ErrorTime = text, time.Now()
	c.mu.Unlock()
	c.log(Warning, text)
}

// maxLine is the length of the longest sentence that is logged or reported, in bytes.
const maxLine = 1000

// oneLine replaces line breaks, and cuts a text that is too long.
func oneLine(s string) string {
	b := []byte(s[:min(len(s), maxLine)])
	for i, ch := range b {
		if ch < ' ' {
			b[i] = ' '
		}
	}
	return string(b)
}

// log logs a sentence, unless there were too many of late.
func (c *Controller) log(s Severity, text string) {
	if c.cfg.Log == nil {
		return
	}
	ok, left := c.limit.allow(time.Now())
	if left > 0 {
		text += fmt.Sprintf(" (%d sentences before were not logged)", left)
	}
	if ok {
		c.cfg.Log(s, text)
	}
}
