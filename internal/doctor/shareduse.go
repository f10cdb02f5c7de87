package doctor

import "github.com/steppe-nat64/steppe/internal/status"

// nearlyFull reports whether nine tenths of a limit are used. A report may say anything.
func nearlyFull(u status.Use) bool { return u.Limit > 0 && u.Used >= u.Limit-u.Limit/10 }

// checkSharedUse looks at what the running daemon reports about stateful pools: limits that
// are reached or nearly so, and what was denied because of that.
func (e *examination) checkSharedUse() {
	if e.Report == nil || e.Report.Shared == nil {
		return
	}
	s := e.Report.Shared
	for _, l := range []struct {
		what, remedy string
		use          status.Use
	}{
		{"sessions", "raise stateful-max-sessions, if there is memory", s.Total},
		{"half-open connections", "see whose they are by --status=sessions", s.HalfOpen},
		{"sessions that were opened from IPv4", "see whose they are by --status=sessions", s.Inbound},
	} {
		if nearlyFull(l.use) {
			e.add(Warning, "sessions", "%d of %d %s: without room, new ones are denied: %s", l.use.Used, l.use.Limit, l.what, l.remedy)
		}
	}
	e.checkPorts(s)
	e.checkSubscribers(s)
	e.checkDenied(s)
}

// checkPorts looks for addresses without many ports left.
func (e *examination) checkPorts(s *status.Shared) {
	said := 0
	for _, a := range s.Addresses.Entries {
		for _, p := range []struct {
			what string
			use  status.Use
		}{{"TCP ports", a.TCP}, {"UDP ports", a.UDP}, {"ICMP identifiers", a.ICMP}} {
			if !nearlyFull(p.use) {
				continue
			}
			if said++; said <= maxFindings {
				e.add(Warning, "ports", "%d of %d %s of %s are assigned: its %d hosts get no further ones without room, and keep the address: add addresses to stateful-pool for new hosts, or limit subscribers by stateful-max-per-prefix",
					p.use.Used, p.use.Limit, p.what, a.Addr, a.Hosts)
			}
		}
	}
	if said > maxFindings {
		e.add(Warning, "ports", "%d more are like this", said-maxFindings)
	}
}

// checkSubscribers looks for prefixes at their limit.
func (e *examination) checkSubscribers(s *status.Shared) {
	for _, u := range s.Fullest[:min(len(s.Fullest), maxFindings)] {
		if s.PerPrefix > 0 && u.Sessions >= s.PerPrefix {
			e.add(Warning, "subscribers", "%s has %d sessions, and may have %d: its %d hosts get no new ones (stateful-max-per-prefix)", u.Prefix, u.Sessions, s.PerPrefix, u.Hosts)
		}
	}
}

// checkDenied says what was denied for want of ports or by limits.
func (e *examination) checkDenied(s *status.Shared) {
	for _, d := range s.Denied[:min(len(s.Denied), maxFindings)] {
		if d.Reason == "no-port" && d.Packets > 0 {
			e.add(Note, "ports", "%d times a host got no port of its shared address", d.Packets)
		}
	}
	for _, l := range s.Limited[:min(len(s.Limited), maxFindings)] {
		e.add(Note, "sessions", "%d times a session was denied by the limit %s: see Sessions in tayga(8)%s", l.Packets, l.Limit, perHost(l.Limit))
	}
}

// perHost says how to keep the hosts of a prefix from denying each other what they share.
func perHost(limit string) string {
	switch limit {
	case "per-prefix", "half-open-per-prefix", "ports-per-prefix":
		return "; if hosts of one /64 are not to deny each other, limit each of them, as by stateful-max-per-prefix 128 1000"
	}
	return ""
}
