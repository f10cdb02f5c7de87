package status

import (
	"fmt"
	"slices"
	"strings"
)

// A Shared holds the figures of the stateful pools, whose addresses hosts share by port.
type Shared struct {
	Sessions []SessionCount `json:"sessions"` // by protocol and state

	Total    Use `json:"total"`            // of sessions
	HalfOpen Use `json:"half_open"`        // TCP sessions from IPv6 that wait for an answer
	Inbound  Use `json:"opened_from_ipv4"` // sessions that were opened from IPv4
	HeldSYN  Use `json:"held_syns"`        // SYNs from IPv4 that wait for the host to open the same connection

	Bindings    []BindingCount `json:"bindings"` // static ones included
	Static      Maps           `json:"static_bindings"`
	Hosts       int            `json:"hosts"`
	Subscribers int            `json:"subscribers"`
	Memory      int            `json:"memory_bytes"` // of sessions, bindings and indexes

	// Made and Ended count sessions since the start. Of Ended, the state is that whose
	// time ran out; "update" are those that a reload did not allow any more.
	Made  []Made  `json:"sessions_made"`
	Ended []Ended `json:"sessions_ended"`

	// Denied are the counters of Packets for reasons that only shared addresses have, of
	// all verdicts together. Limited counts those with the reason session-limit, by the limit.
	Denied  []Denial  `json:"denied"`
	Limited []Limited `json:"denied_by_limit"`

	// Addresses are those that have a host, the fullest first, MaxAddresses at most.
	Addresses List[Address] `json:"addresses"`
	// Fullest are the subscribers with most sessions, most first.
	Fullest []Subscriber `json:"fullest_subscribers"`
	// PrefixLen is the length of the prefix that a subscriber has, PerPrefix how many
	// sessions it may open, and PortsPerPrefix how many ports of TCP, and as many of UDP,
	// it may have; 0 if only PerPrefix limits them.
	PrefixLen      int `json:"subscriber_prefix_length"`
	PerPrefix      int `json:"subscriber_limit"`
	PortsPerPrefix int `json:"subscriber_port_limit"`
}

// How many of a Shared's lists are reported at most.
const (
	MaxAddresses   = 256
	MaxSubscribers = 10
)

// Use says how much of a limit is used.
type Use struct {
	Used  int `json:"used"`
	Limit int `json:"limit"`
}

// A SessionCount counts the sessions of a protocol in a state.
type SessionCount struct {
	Protocol string `json:"protocol"` // tcp, udp, icmp
	State    string `json:"state"`
	Sessions int    `json:"sessions"`
}

// A BindingCount counts the bindings of a protocol.
type BindingCount struct {
	Protocol string `json:"protocol"`
	Bindings int    `json:"bindings"`
}

// Made counts the sessions of a protocol that began.
type Made struct {
	Protocol string `json:"protocol"`
	Sessions uint64 `json:"sessions"`
}

// Ended counts the sessions that ended in a state.
type Ended struct {
	State    string `json:"state"`
	Sessions uint64 `json:"sessions"`
}

// Limited counts the packets that a limit denied a session.
type Limited struct {
	Limit   string `json:"limit"`
	Packets uint64 `json:"packets"`
}

// A Denial counts the packets that were dropped or rejected for a reason.
type Denial struct {
	Direction string `json:"direction"`
	Reason    string `json:"reason"`
	Packets   uint64 `json:"packets"`
}

// An Address says how far a shared address is used.
type Address struct {
	Addr  string `json:"ipv4"`
	Hosts int    `json:"hosts"`
	TCP   Use    `json:"tcp_ports"`
	UDP   Use    `json:"udp_ports"`
	ICMP  Use    `json:"icmp_identifiers"`
	// Quarantine counts ports and identifiers that were released, and wait to be
	// assigned again.
	Quarantine int `json:"quarantine"`
}

// A Subscriber says what the hosts of an IPv6 prefix use.
type Subscriber struct {
	Prefix   string `json:"prefix"`
	Hosts    int    `json:"hosts"`
	Sessions int    `json:"sessions"` // that its hosts opened
	HalfOpen int    `json:"half_open"`
	Inbound  int    `json:"opened_from_ipv4"`
	Blocks   int    `json:"port_blocks"`
}

// String returns a Use for a table.
func (u Use) String() string { return fmt.Sprintf("%d/%d", u.Used, u.Limit) }

// shared writes the figures of stateful pools.
func (t *table) shared(s *Shared) {
	t.line("")
	t.line("stateful pool: sessions: %v, half-open: %v, opened from IPv4: %v, held SYNs: %v", s.Total, s.HalfOpen, s.Inbound, s.HeldSYN)
	ports := ""
	if s.PortsPerPrefix > 0 {
		ports = fmt.Sprintf(" and %d ports of a protocol", s.PortsPerPrefix)
	}
	t.line("hosts: %d, subscribers: %d (a /%d each, up to %d sessions%s); memory: %d KiB", s.Hosts, s.Subscribers, s.PrefixLen, s.PerPrefix, ports, s.Memory/1024)
	t.line("bindings: %s; static ones: %d in the configuration, %d in the map-file",
		list(s.Bindings, func(b BindingCount) string { return fmt.Sprintf("%s %d", clean(b.Protocol), b.Bindings) }), s.Static.Config, s.Static.MapFile)
	t.line("sessions made: %s", list(s.Made, func(m Made) string { return fmt.Sprintf("%s %d", clean(m.Protocol), m.Sessions) }))
	t.line("sessions ended: %s", list(s.Ended, func(e Ended) string { return fmt.Sprintf("%s %d", clean(e.State), e.Sessions) }))
	t.line("packets denied: %s", list(s.Denied, func(d Denial) string {
		return fmt.Sprintf("%s %s %d", clean(d.Direction), clean(d.Reason), d.Packets)
	}))
	if len(s.Limited) > 0 {
		t.line("by limits: %s", list(s.Limited, func(l Limited) string { return fmt.Sprintf("%s %d", clean(l.Limit), l.Packets) }))
	}
	t.states(s.Sessions)
	if len(s.Addresses.Entries) > 0 {
		const form = "%-15s  %8v  %13v  %13v  %16v  %13v"
		t.line("")
		t.line(form, "shared address", "hosts", "TCP ports", "UDP ports", "ICMP identifiers", "in quarantine")
		for _, a := range s.Addresses.Entries {
			t.line(form, clean(a.Addr), a.Hosts, a.TCP, a.UDP, a.ICMP, a.Quarantine)
		}
		t.leftOut(s.Addresses.LeftOut)
	}
	if len(s.Fullest) > 0 {
		const form = "%-43s  %8v  %8v  %9v  %16v  %11v"
		t.line("")
		t.line(form, "fullest subscribers", "hosts", "sessions", "half-open", "opened from IPv4", "port blocks")
		for _, u := range s.Fullest {
			t.line(form, clean(u.Prefix), u.Hosts, u.Sessions, u.HalfOpen, u.Inbound, u.Blocks)
		}
	}
}

// states writes a line for each state that there is, and the sum above those of a protocol.
func (t *table) states(counts []SessionCount) {
	counts = slices.DeleteFunc(slices.Clone(counts), func(c SessionCount) bool { return c.Sessions == 0 })
	const form = "%-8s  %-13s  %10v"
	if len(counts) > 0 {
		t.line("")
		t.line(form, "protocol", "state", "sessions")
	}
	for i := 0; i < len(counts); {
		n, sum := i, 0
		for ; n < len(counts) && counts[n].Protocol == counts[i].Protocol; n++ {
			sum += counts[n].Sessions
		}
		t.line(form, clean(counts[i].Protocol), "all", sum)
		for _, c := range counts[i:n] {
			t.line(form, clean(c.Protocol), clean(c.State), c.Sessions)
		}
		i = n
	}
}

// list writes up to 32 entries in a line.
func list[T any](entries []T, word func(T) string) string {
	if len(entries) == 0 {
		return "none"
	}
	var parts []string
	for _, e := range entries[:min(len(entries), 32)] {
		parts = append(parts, word(e))
	}
	return strings.Join(parts, ", ")
}

const sessionForm = "%-8s  %-13s  %-47s  %-21s  %-21s  %s"

func (t *table) sessionsHeader(s *Shared) {
	t.line("")
	if s == nil {
		t.line("no stateful pool")
		return
	}
	t.line(sessionForm, "protocol", "state", "host", "shared", "remote", "remaining")
}

func (t *table) sessions(l *SessionList) {
	for _, s := range l.Entries {
		t.line(sessionForm, clean(s.Protocol), clean(s.State), clean(s.Host), clean(s.Shared), clean(s.Remote), span(s.Remaining))
	}
}
