package session

import (
	"net/netip"
	"slices"

	"github.com/steppe-nat64/steppe/translate"
)

// Stats are figures of a Table.
type Stats struct {
	Sessions, HalfOpen, Inbound, HeldSYN int
	Hosts, Subscribers                   int
	// ByState counts sessions by state: "udp", "established" and so on.
	ByState  map[string]int
	ByProto  map[uint8]int // sessions by protocol: 6, 17, 1
	Bindings map[uint8]int // by protocol: 6, 17, 1; static ones included

	Made, Ended uint64 // sessions, since New: Made-Ended of them are there
	Loaded      uint64 // how many of Made go on from a saved file
	// MadeByProto is Made by protocol. EndedIn is Ended by the state whose time ran out;
	// "update" are those that Update did not allow any more.
	MadeByProto map[uint8]uint64
	EndedIn     map[string]uint64

	// Denied counts packets that were not mapped, by FlowResult.String, from IPv6 and
	// from IPv4. Limited counts those with "limit" by the limit: "sessions", "half-open",
	// "inbound", "per-prefix", "half-open-per-prefix", or "memory" if there are no
	// entries left.
	Denied6, Denied4 map[string]uint64
	Limited          map[string]uint64

	Limits Limits // in force, with the defaults
	// PortsPerPrefix is how many ports of TCP, and as many of UDP, a prefix of
	// Limits.PrefixLen may have at most: the least of all groups of pools. 0 means that
	// only Limits.PerPrefix limits them.
	PortsPerPrefix int
	Memory         int // bytes of entries and indexes
}

// A limit is why a session may not begin.
type limit uint8

const (
	noLimit limit = iota
	limitSessions
	limitHalfOpen
	limitInbound
	limitPerPrefix
	limitHalfOpenPerPrefix
	limitPortsPerPrefix
	limitMemory
	limits
)

// limitNames are the keys of Stats.Limited.
var limitNames = [limits]string{"", "sessions", "half-open", "inbound", "per-prefix", "half-open-per-prefix", "ports-per-prefix", "memory"}

// limit counts a packet that a limit denies. The shard is locked.
func (sh *shard) limit(l limit) translate.FlowResult {
	sh.limited[l]++
	return translate.FlowLimit
}

// Stats returns the figures. It locks one shard at a time.
func (t *Table) Stats() Stats {
	s := Stats{
		ByState: map[string]int{}, ByProto: map[uint8]int{}, Bindings: map[uint8]int{},
		MadeByProto: map[uint8]uint64{}, EndedIn: map[string]uint64{},
		Denied6: map[string]uint64{}, Denied4: map[string]uint64{}, Limited: map[string]uint64{},
		HeldSYN:  int(t.held.n.Load()),
		Sessions: int(t.sessions.Load()), HalfOpen: int(t.halfOpen.Load()), Inbound: int(t.inbound.Load()),
		Limits: t.cfg.Load().limits, PortsPerPrefix: t.cfg.Load().portsPerPrefix(),
	}
	for i := range t.shards {
		t.shards[i].addTo(&s)
	}
	t.subs.mu.Lock()
	s.Subscribers = len(t.subs.byPrefix)
	t.subs.mu.Unlock()
	s.Memory = int(t.mem.size()) * 64
	for _, x := range []*index{t.s6, t.s4, t.b6, t.b4} {
		s.Memory += 4*len(x.buckets) + 64*stripes
	}
	return s
}

// portsPerPrefix is Stats.PortsPerPrefix.
func (c *settings) portsPerPrefix() int {
	least := int64(maxSessions)
	for g := range c.share {
		if c.pooled[g] {
			least = min(least, c.share[g][tcp])
		}
	}
	if least == maxSessions {
		return 0
	}
	return int(least)
}

// count adds n to what to has of key, unless n is 0.
func count[K comparable, N int | uint64](to map[K]N, key K, n N) {
	if n != 0 {
		to[key] += n
	}
}

func (sh *shard) addTo(s *Stats) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for st, n := range sh.states {
		count(s.ByState, state(st).String(), n)
		count(s.ByProto, header(state(st).proto()), n)
	}
	for st, n := range sh.ended {
		name := state(st).String()
		if state(st) == dead {
			name = "update"
		}
		count(s.EndedIn, name, n)
		s.Ended += n
	}
	for p := range protocols {
		count(s.Bindings, header(uint64(p)), sh.bindings[p])
		count(s.MadeByProto, header(uint64(p)), sh.made[p])
		s.Made += sh.made[p]
	}
	for r, n := range sh.results {
		count(s.Denied6, translate.FlowResult(r).String(), n[from6])
		count(s.Denied4, translate.FlowResult(r).String(), n[from4])
	}
	for l, n := range sh.limited {
		count(s.Limited, limitNames[l], n)
	}
	s.Hosts += sh.hosts
	s.Loaded += sh.loaded
}

// AddressUse says how far an address is used.
type AddressUse struct {
	Addr            netip.Addr
	Hosts           int
	TCP, UDP, ICMP  int // ports of the range, or identifiers, that are assigned
	Quarantine      int // and those that wait to be assigned again
	PortLow, PortHi uint16
}

// Addresses returns the use of each address that has a host, in order.
func (t *Table) Addresses() []AddressUse {
	var all []AddressUse
	c := t.cfg.Load()
	for i := range c.spans {
		for _, a := range c.spans[i].addrs {
			if a.hosts.Load() == 0 {
				continue
			}
			u := AddressUse{Addr: addr4(a.ip), Hosts: int(a.hosts.Load()), PortLow: c.spans[i].low, PortHi: c.spans[i].high}
			for proto, n := range map[uint64]*int{tcp: &u.TCP, udp: &u.UDP, icmp: &u.ICMP} {
				used, cooling := a.inUse(proto)
				*n = used
				u.Quarantine += cooling
			}
			all = append(all, u)
		}
	}
	return all
}

// SubscriberUse says what a subscriber uses.
type SubscriberUse struct {
	Prefix                      netip.Prefix
	Hosts                       int
	Sessions, HalfOpen, Inbound int
	Blocks                      int
}

// perLock is how many subscribers Subscribers looks at before new hosts have a turn.
const perLock = 256

// Subscribers returns the n subscribers with most sessions, most first. It locks some
// dozens of them at a time; one that exists during the whole call is seen once.
func (t *Table) Subscribers(n int) []SubscriberUse {
	c := t.cfg.Load()
	var most []SubscriberUse
	for i, end := uint32(0), uint32(1); i < end && n > 0; {
		t.subs.mu.Lock()
		end = t.subs.n
		for last := min(i+perLock, end); i < last; i++ {
			if sub := t.subs.at(i); sub.hosts != 0 {
				most = keepMost(most, n, sub.use(c))
			}
		}
		t.subs.mu.Unlock()
	}
	return most
}

// use says what a subscriber uses. subscribers.mu is held.
func (sub *subscriber) use(c *settings) SubscriberUse {
	return SubscriberUse{
		Prefix: c.prefix(sub), Hosts: sub.hosts,
		Sessions: int(sub.sessions.Load()), HalfOpen: int(sub.halfOpen.Load()), Inbound: int(sub.inbound.Load()),
		Blocks: int(sub.nblocks.Load()),
	}
}

// keepMost adds u to the n at most of a list, in its order.
func keepMost(most []SubscriberUse, n int, u SubscriberUse) []SubscriberUse {
	i, _ := slices.BinarySearchFunc(most, u, func(a, b SubscriberUse) int {
		if d := b.Sessions + b.Inbound - a.Sessions - a.Inbound; d != 0 {
			return d
		}
		return a.Prefix.Addr().Compare(b.Prefix.Addr())
	})
	if i == n {
		return most
	}
	return slices.Insert(most[:min(len(most), n-1)], i, u)
}
