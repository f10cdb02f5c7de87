package main

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// protocols are the names that status has for those of IP headers, in their order.
var protocols = []struct {
	number uint8
	name   string
	states []string // of their sessions
}{
	{6, "tcp", []string{"v6-init", "v4-init", "established", "v4-fin", "v6-fin", "v4-fin-v6-fin", "trans"}},
	{17, "udp", []string{"udp", "dns"}},
	{1, "icmp", []string{"icmp"}},
}

func protocolName(number uint8) string {
	for _, p := range protocols {
		if p.number == number {
			return p.name
		}
	}
	return "unknown"
}

func protocolNumber(name string) uint8 {
	for _, p := range protocols {
		if p.name == name {
			return p.number
		}
	}
	return 0
}

// sharedReasons are the reasons that only packets from and to shared addresses are dropped
// or rejected for.
var sharedReasons = []translate.Reason{
	translate.NoBinding,
	translate.Filtered,
	translate.NoPort,
	translate.SessionLimit,
	translate.UnsolicitedSYN,
	translate.NoSession,
	translate.OtherProtocol,
	translate.FragmentRoom,
	translate.FragmentOverlap,
	translate.FragmentTimeout,
}

// deniedOf adds up the packets that were dropped or rejected for sharedReasons. They are
// the counters of packets, not what sessions were asked: a packet that no session takes
// may be for this translator.
func deniedOf(counts []status.Count) []status.Denial {
	list := []status.Denial{}
	for _, direction := range []translate.Direction{translate.V6ToV4, translate.V4ToV6, translate.NoFamily} {
		for _, reason := range sharedReasons {
			d := status.Denial{Direction: direction.String(), Reason: reason.String()}
			for _, c := range counts {
				if c.Direction == d.Direction && c.Reason == d.Reason && c.Verdict != translate.Forward.String() {
					d.Packets += c.Packets
				}
			}
			if d.Packets > 0 {
				list = append(list, d)
			}
		}
	}
	return list
}

// sharedOf returns the figures of stateful pools, without those of single addresses and
// subscribers. counts are those of packets.
func sharedOf(s session.Stats, counts []status.Count) *status.Shared {
	r := &status.Shared{
		Sessions: []status.SessionCount{},
		Total:    status.Use{Used: s.Sessions, Limit: s.Limits.Sessions},
		HalfOpen: status.Use{Used: s.HalfOpen, Limit: s.Limits.HalfOpen},
		Inbound:  status.Use{Used: s.Inbound, Limit: s.Limits.Inbound},
		HeldSYN:  status.Use{Used: s.HeldSYN, Limit: max(s.Limits.HeldSYN, 0)},
		Bindings: []status.BindingCount{},
		Hosts:    s.Hosts, Subscribers: s.Subscribers,
		Memory: s.Memory,
		Made:   []status.Made{}, Ended: []status.Ended{},
		Denied: deniedOf(counts), Limited: []status.Limited{},
		Addresses: status.List[status.Address]{Entries: []status.Address{}},
		Fullest:   []status.Subscriber{},
		PrefixLen: s.Limits.PrefixLen, PerPrefix: s.Limits.PerPrefix, PortsPerPrefix: s.PortsPerPrefix,
	}
	for _, p := range protocols {
		for _, state := range p.states {
			r.Sessions = append(r.Sessions, status.SessionCount{Protocol: p.name, State: state, Sessions: s.ByState[state]})
		}
		r.Bindings = append(r.Bindings, status.BindingCount{Protocol: p.name, Bindings: s.Bindings[p.number]})
		r.Made = append(r.Made, status.Made{Protocol: p.name, Sessions: s.MadeByProto[p.number]})
	}
	for _, state := range slices.Sorted(maps.Keys(s.EndedIn)) {
		r.Ended = append(r.Ended, status.Ended{State: state, Sessions: s.EndedIn[state]})
	}
	for _, limit := range slices.Sorted(maps.Keys(s.Limited)) {
		r.Limited = append(r.Limited, status.Limited{Limit: limit, Packets: s.Limited[limit]})
	}
	return r
}

// addressesOf lists how far shared addresses are used, in the order of use.
func addressesOf(use []session.AddressUse) (list status.List[status.Address]) {
	list.Entries = make([]status.Address, 0, len(use))
	for _, u := range use {
		ports := int(u.PortHi) - int(u.PortLow) + 1
		list.Entries = append(list.Entries, status.Address{
			Addr: u.Addr.String(), Hosts: u.Hosts,
			TCP: status.Use{Used: u.TCP, Limit: ports}, UDP: status.Use{Used: u.UDP, Limit: ports}, ICMP: status.Use{Used: u.ICMP, Limit: 1 << 16},
			Quarantine: u.Quarantine,
		})
	}
	return list
}

// fullest returns the addresses with the largest share of ports in use.
func fullest(use []session.AddressUse) status.List[status.Address] {
	list := addressesOf(use)
	share := func(u status.Use) float64 { return float64(u.Used) / float64(max(u.Limit, 1)) }
	slices.SortStableFunc(list.Entries, func(a, b status.Address) int {
		return cmp.Compare(max(share(b.TCP), share(b.UDP), share(b.ICMP)), max(share(a.TCP), share(a.UDP), share(a.ICMP)))
	})
	if n := len(list.Entries) - status.MaxAddresses; n > 0 {
		list.Entries, list.LeftOut = list.Entries[:status.MaxAddresses], n
	}
	return list
}

func subscribersOf(use []session.SubscriberUse) []status.Subscriber {
	list := []status.Subscriber{}
	for _, u := range use {
		list = append(list, status.Subscriber{
			Prefix: u.Prefix.String(), Hosts: u.Hosts,
			Sessions: u.Sessions, HalfOpen: u.HalfOpen, Inbound: u.Inbound, Blocks: u.Blocks,
		})
	}
	return list
}

// maxLooks is how often a page asks the table at most, which looks at some ten thousand
// sessions each time: a client that selects a single session gets short pages.
const maxLooks = 16

// pageOf returns the page of sessions that q selects.
func pageOf(t *session.Table, now time.Duration, q status.Query) *status.SessionList {
	list := &status.SessionList{Entries: []status.Session{}}
	f := session.Filter{Host: q.Host, Addr: q.Addr, Proto: protocolNumber(q.Protocol)}
	var found []session.Session
	at := session.Page(q.Page)
	for range maxLooks {
		found, at = t.Sessions(found[:0], now, f, at, status.PageSize-len(list.Entries))
		for _, s := range found {
			if q.Selects(s.Host, s.Addr, s.Remote) {
				list.Entries = append(list.Entries, sessionOf(s))
			}
		}
		if at == 0 || len(list.Entries) == status.PageSize {
			break
		}
	}
	list.Next = uint32(at)
	return list
}

func sessionOf(s session.Session) status.Session {
	remote := s.Remote.String()
	if s.Remote.Port() == 0 { // ICMP Echo has only an identifier, which the other ends have
		remote = s.Remote.Addr().String()
	}
	return status.Session{
		Protocol: protocolName(s.Proto), State: s.State,
		Host: s.Host.String(), Shared: s.Addr.String(), Remote: remote,
		Idle: uint64(s.Idle / time.Second), Remaining: uint64(s.Expires / time.Second),
	}
}
