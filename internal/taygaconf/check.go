package taygaconf

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/steppe-nat64/steppe/translate"
)

// check checks what depends on several lines, in TAYGA's order, and
// fills in what follows from other directives. Of two lines that cannot stand
// together the later is blamed.
func (r *reader) check(getenv func(string) (string, bool)) {
	if r.c.CLAT.On {
		r.checkCLAT(getenv)
		return
	}
	if len(r.c.Prefixes)+len(r.c.Maps) == 0 && r.c.MapFile == "" && !r.badTable {
		r.missing("prefix", "prefix 64:ff9b::/96", "nor is there a map or a map-file")
	}
	r.checkStateDirectory(getenv)
	if _, given := r.at["ipv4-addr"]; !given {
		r.missing("ipv4-addr", "ipv4-addr 192.168.255.1", "")
	}
	r.checkTable()
	r.checkOwn6()
	if _, given := r.at["tun-device"]; !given {
		r.missing("tun-device", "tun-device nat64", "")
	}
	r.checkDevice()
	r.checkPool()
	r.checkStateful()
	r.checkSwitches("embedded-source", r.c.EmbeddedSource)
	r.checkSwitches("loop-check", r.c.LoopCheck)
	r.checkNoCLAT()
}

// missing reports that the file ended without a directive.
func (r *reader) missing(directive, example, more string) {
	if more != "" {
		more = ", " + more
	}
	r.errorf(max(r.line, 1), directive, "missing at the end of the file%s: add a line such as %q", more, example)
}

// later returns the later one of the lines of some directives.
func (r *reader) later(directives ...string) int {
	line := 0
	for _, d := range directives {
		line = max(line, r.at[d])
	}
	return line
}

// checkStateDirectory lets systemd's StateDirectory= stand in for data-dir.
func (r *reader) checkStateDirectory(getenv func(string) (string, bool)) {
	if _, given := r.at["data-dir"]; given || getenv == nil {
		return
	}
	dir, ok := getenv("STATE_DIRECTORY")
	if !ok {
		return
	}
	const what = "STATE_DIRECTORY"
	line := max(r.line, 1)
	first, _, several := strings.Cut(dir, ":")
	switch {
	case !strings.HasPrefix(first, "/"):
		r.errorf(line, "data-dir", "%s of the environment, %s, is not an absolute path: unset it or add a data-dir", what, show(dir))
		return
	case len(first) > 511:
		r.errorf(line, "data-dir", "%s of the environment is longer than 511 characters: add a data-dir", what)
		return
	case several:
		r.warnf(line, "data-dir", "only the first of several directories in %s is used: %s", what, show(first))
	}
	r.c.DataDir = first
}

// checkTable gives every address to the line that names it, and looks for two
// that name the same.
func (r *reader) checkTable() {
	t := taken{by4: make(map[netip.Prefix]owner), by6: make(map[netip.Prefix]owner)}
	if r.c.IPv4.IsValid() {
		p := netip.PrefixFrom(r.c.IPv4, 32)
		t.by4[p] = owner{p, "ipv4-addr", r.file, r.at["ipv4-addr"]}
	}
	for i, p := range r.c.Prefixes {
		t.prefixes = append(t.prefixes, owner{p, "prefix", r.file, r.prefixLines[i]})
	}
	for _, m := range r.c.Maps {
		mine := owner{m.IPv4, "map", r.file, m.Line}
		if at, o, found := t.by(m.Map); found {
			r.clash(at, mine, o)
			continue
		}
		t.by4[m.IPv4], t.by6[m.IPv6] = mine, mine
	}
	for _, l := range r.c.PoolLines() {
		mine := owner{l.Prefix, "dynamic-pool", r.file, l.Line}
		if o, found := t.by4[l.Prefix]; found {
			r.clash(l.Prefix, mine, o)
			continue
		}
		t.by4[l.Prefix] = mine
	}
	_, t.refresh = r.at["dynamic-pool-refresh"]
	r.c.taken = t
}

// clash reports that two lines want the same address.
func (r *reader) clash(at netip.Prefix, a, b owner) {
	if a.line < b.line {
		a, b = b, a
	}
	r.errorf(a.line, a.directive, "%s is taken by %s", at, b.from(r.file))
}

// checkOwn6 checks ipv6-addr, or makes it from the prefix.
func (r *reader) checkOwn6() {
	if _, given := r.at["ipv6-addr"]; given {
		if r.c.IPv6.IsValid() {
			r.checkGivenOwn6()
		}
		return
	}
	if len(r.c.Prefixes) == 0 {
		if !r.badTable {
			r.missing("ipv6-addr", "ipv6-addr 2001:db8::1", "and without a prefix it does not follow from ipv4-addr")
		}
		return
	}
	if !r.c.IPv4.IsValid() {
		return
	}
	p := r.c.Prefixes[0]
	switch a := r.c.IPv4; {
	case !r.c.WKPFStrict:
	case linkLocal4.Contains(a):
		r.errorf(max(r.at["ipv4-addr"], r.prefixLines[0]), "ipv6-addr",
			"missing: %s is a link-local address, and nothing could reach it in %s; add a line such as %q", a, p, "ipv6-addr 2001:db8::1")
		return
	case p == wellKnown && shared4.Contains(a):
		r.warnf(max(r.at["ipv4-addr"], r.prefixLines[0]), "ipv6-addr",
			"missing: %s is not for addresses such as %s (RFC 6598), whose packets are not translated; better add a line such as %q", p, a, "ipv6-addr 2001:db8::1")
	case p == wellKnown && isPrivate(a):
		r.errorf(max(r.at["ipv4-addr"], r.prefixLines[0], r.at["wkpf-strict"]), "ipv6-addr",
			"missing: %s is private and has no address in %s; add a line such as %q, or wkpf-strict no",
			a, p, "ipv6-addr 2001:db8::1")
		return
	}
	r.c.IPv6 = embed(p, r.c.IPv4)
	r.own6(r.at["ipv4-addr"])
}

// own6 gives the own IPv6 address to its line.
func (r *reader) own6(line int) {
	p := netip.PrefixFrom(r.c.IPv6, 128)
	mine := owner{p, "ipv6-addr", r.file, line}
	if o, found := r.c.taken.by6[p]; found {
		r.clash(p, mine, o)
		return
	}
	r.c.taken.by6[p] = mine
}

// checkGivenOwn6 keeps the own address out of what belongs to others. Inside a
// wider map it may lie: the own address goes first.
func (r *reader) checkGivenOwn6() {
	own, line := r.c.IPv6, r.at["ipv6-addr"]
	for i, p := range r.c.Prefixes {
		if p.Contains(own) {
			r.errorf(max(line, r.prefixLines[i]), "ipv6-addr", "%s lies inside prefix %s, line %d: take an address outside, or leave ipv6-addr out", own, p, r.prefixLines[i])
			return
		}
	}
	if wellKnown.Contains(own) && r.c.WKPFStrict {
		r.errorf(max(line, r.at["wkpf-strict"]), "ipv6-addr", "%s lies inside the well-known prefix %s: take another, or add wkpf-strict no", own, wellKnown)
		return
	}
	r.own6(line)
}

// embed composes an IPv4-embedded address. A /96 whose bits 64 to 71 are not
// zero is not of RFC 6052, but TAYGA uses it, and there is nothing to shift.
func embed(p netip.Prefix, a netip.Addr) netip.Addr {
	if v6, err := translate.Embed(p, a); err == nil {
		return v6
	}
	v6, v4 := p.Addr().As16(), a.As4()
	copy(v6[12:], v4[:])
	return netip.AddrFrom16(v6)
}

// checkPool checks the directives about leases.
func (r *reader) checkPool() {
	if r.c.Retention < r.c.LeaseTime {
		r.errorf(r.later("dynamic-pool-hold", "dynamic-pool-forget"), "dynamic-pool-forget",
			"%v is shorter than the %v for which a lease is held", r.c.Retention, r.c.LeaseTime)
	}
	if _, given := r.at["dynamic-pool"]; given {
		r.checkBoundPools()
		return
	}
	for _, d := range []string{"dynamic-pool-clients", "dynamic-pool-max-per-prefix", "dynamic-pool-refresh", "dynamic-pool-hold", "dynamic-pool-forget"} {
		if line, given := r.at[d]; given {
			r.warnf(line, d, "has no effect without a dynamic-pool")
		}
	}
}

// checkBoundPools checks what pools are bound to.
func (r *reader) checkBoundPools() {
	bound := 0
	for _, p := range r.c.Pools {
		switch {
		case !p.Pref64.IsValid():
		case !slices.Contains(r.c.Prefixes, p.Pref64):
			for _, line := range p.Lines {
				if !r.badTable {
					r.errorf(line, "dynamic-pool", "via %s: there is no such prefix: add a line such as %q", p.Pref64, "prefix "+p.Pref64.String())
				}
			}
		case p.Pref64.Addr().As16()[8] != 0:
			for _, line := range p.Lines {
				r.errorf(line, "dynamic-pool", "via %s: bits 64 to 71 must be zero for that (RFC 6052 §2.2)", p.Pref64)
			}
		default:
			bound++
		}
	}
	i := slices.IndexFunc(r.c.Pools, func(p Pool) bool { return !p.Pref64.IsValid() })
	if i >= 0 && bound > 0 && bound == len(r.c.Prefixes) {
		p := r.c.Pools[i]
		r.warnf(p.Lines[0], "dynamic-pool", "%s is for no prefix, since each has pools via it: only hosts that send to the IPv6 address of a map get an address from it", p.Prefixes[0])
	}
}

// checkDevice warns of what the kernel may refuse.
func (r *reader) checkDevice() {
	if len(r.c.TunRoutes) > 0 && !r.c.TunUp {
		r.warnf(r.at["tun-route"], "tun-route", "the kernel takes routes only for a device that is up: add tun-up yes unless another program sets it up before")
	}
}
