package metrics

import "github.com/steppe-nat64/steppe/internal/status"

var (
	sessionsDesc    = desc("sessions", "Sessions of hosts that share IPv4 addresses.", "protocol", "state")
	sessionUseDesc  = desc("session_use", "What the limits of sessions count: all, half-open ones, those opened from IPv4, and SYNs that are held.", "limit")
	sessionMaxDesc  = desc("session_limit", "These limits.", "limit")
	bindingsDesc    = desc("session_bindings", "Bindings of a host's port to a shared address and port, static ones included.", "protocol")
	sessionMemDesc  = desc("session_memory_bytes", "Memory of sessions, bindings and indexes.")
	madeDesc        = desc("sessions_made_total", "Sessions that began.", "protocol")
	endedDesc       = desc("sessions_ended_total", "Sessions that ended, by the state whose time ran out.", "state")
	deniedDesc      = desc("session_denied_packets_total", "Packets that sessions did not map, by reason.", "direction", "reason")
	limitedDesc     = desc("session_limited_packets_total", "Those among them that a limit denied a session.", "limit")
	sharedHostsDesc = desc("shared_hosts", "Hosts that have a shared address.")
	subscribersDesc = desc("shared_subscribers", "IPv6 prefixes that these hosts are in.")

	addressHostsDesc = desc("shared_address_hosts", "Hosts of a shared address.", "address")
	portsDesc        = desc("shared_ports", "Ports and ICMP identifiers of a shared address that are assigned.", "address", "protocol")
	portsMaxDesc     = desc("shared_ports_limit", "How many of them can be assigned.", "address", "protocol")
	quarantineDesc   = desc("shared_ports_quarantined", "Ports and ICMP identifiers that were released, and wait to be assigned again.", "address")
)

// maxAddresses bounds the label address. The figures of further addresses are added up
// under otherAddresses.
const (
	maxAddresses   = 64
	otherAddresses = "other"
)

// shared sends the figures of stateful pools. There is no label for a host, a subscriber or
// a destination: there may be millions, and they are private.
func (o output) shared(s *status.Shared) {
	for _, c := range s.Sessions {
		o.gauge(sessionsDesc, float64(c.Sessions), c.Protocol, c.State)
	}
	for _, u := range []struct {
		limit string
		use   status.Use
	}{{"sessions", s.Total}, {"half-open", s.HalfOpen}, {"inbound", s.Inbound}, {"held-syn", s.HeldSYN}} {
		o.gauge(sessionUseDesc, float64(u.use.Used), u.limit)
		o.gauge(sessionMaxDesc, float64(u.use.Limit), u.limit)
	}
	for _, b := range s.Bindings {
		o.gauge(bindingsDesc, float64(b.Bindings), b.Protocol)
	}
	o.gauge(sessionMemDesc, float64(s.Memory))
	for _, m := range s.Made {
		o.count(madeDesc, m.Sessions, m.Protocol)
	}
	for _, e := range s.Ended {
		o.count(endedDesc, e.Sessions, e.State)
	}
	for _, d := range s.Denied {
		o.count(deniedDesc, d.Packets, d.Direction, d.Reason)
	}
	for _, l := range s.Limited {
		o.count(limitedDesc, l.Packets, l.Limit)
	}
	o.gauge(sharedHostsDesc, float64(s.Hosts))
	o.gauge(subscribersDesc, float64(s.Subscribers))
	for _, a := range bounded(s.Addresses.Entries) {
		o.gauge(addressHostsDesc, float64(a.Hosts), a.Addr)
		for _, p := range []struct {
			protocol string
			use      status.Use
		}{{"tcp", a.TCP}, {"udp", a.UDP}, {"icmp", a.ICMP}} {
			o.gauge(portsDesc, float64(p.use.Used), a.Addr, p.protocol)
			o.gauge(portsMaxDesc, float64(p.use.Limit), a.Addr, p.protocol)
		}
		o.gauge(quarantineDesc, float64(a.Quarantine), a.Addr)
	}
}

// bounded adds up all addresses after the first ones. The order is that of the report, by
// which an address keeps its series.
func bounded(list []status.Address) []status.Address {
	if len(list) <= maxAddresses {
		return list
	}
	other := status.Address{Addr: otherAddresses}
	for _, a := range list[maxAddresses:] {
		other.Hosts += a.Hosts
		other.TCP = add(other.TCP, a.TCP)
		other.UDP = add(other.UDP, a.UDP)
		other.ICMP = add(other.ICMP, a.ICMP)
		other.Quarantine += a.Quarantine
	}
	return append(list[:maxAddresses:maxAddresses], other)
}

func add(a, b status.Use) status.Use {
	return status.Use{Used: a.Used + b.Used, Limit: a.Limit + b.Limit}
}
