package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// newTable returns a table whose hosts share 203.0.113.0/24 unless c says otherwise.
func newTable(t *testing.T, c session.Config) *session.Table {
	t.Helper()
	if c.Pools == nil {
		c.Pools = []session.Pool{{Prefix: netip.MustParsePrefix("203.0.113.0/24")}}
	}
	s, err := session.New(c)
	require.NoError(t, err)
	return s
}

// flow returns the flow of a host to port 53 of 198.51.100.remote.
func flow(host uint64, proto uint8, remote uint32) *translate.Tuple6 {
	return &translate.Tuple6{Host: translate.Addr6{Hi: 0x20010db8 << 32, Lo: host}, HostPort: 1000, Remote: 0xc6336400 + remote, RemotePort: 53, Proto: proto}
}

const flagSYN = 2

// A report has all states and protocols, what was denied in the words of packets, and the
// limits in force.
func TestSharedReport(t *testing.T) {
	s := newTable(t, session.Config{Limits: session.Limits{Sessions: 100, PerPrefix: 4}})
	var to translate.Tuple4
	for host := range uint64(4) {
		to = mustMap(t, s, flow(host+1, []uint8{6, 17, 58, 17}[host], 9))
	}
	_, result := outbound(s, flow(5, 17, 9))
	require.Equal(t, translate.FlowLimit, result)
	_, result = outbound(s, &translate.Tuple6{Host: translate.Addr6{Hi: 1}, HostPort: 1, RemotePort: 1, Proto: 6}) // no SYN
	require.Equal(t, translate.FlowDrop, result)
	for range 3 {
		_, result = inbound(s, &translate.Tuple4{Local: to.Local, LocalPort: to.LocalPort ^ 1, Remote: 1, RemotePort: 1, Proto: 17})
		require.Equal(t, translate.FlowNoBinding, result)
	}

	counts := []status.Count{
		{Direction: "4to6", Verdict: "forward", Reason: "translated", Packets: 9},
		{Direction: "4to6", Verdict: "reject", Reason: "no-binding", Packets: 3},
		{Direction: "6to4", Verdict: "drop", Reason: "no-session", Packets: 1},
		{Direction: "6to4", Verdict: "reject", Reason: "session-limit", Packets: 1},
	}
	r := sharedOf(s.Stats(), counts)
	assert.Equal(t, status.Use{Used: 4, Limit: 100}, r.Total)
	assert.Equal(t, status.Use{Used: 1, Limit: 25}, r.HalfOpen)
	assert.Equal(t, status.Use{Limit: 25}, r.Inbound)
	assert.Equal(t, status.Use{Limit: 10}, r.HeldSYN)
	assert.Equal(t, []status.BindingCount{{Protocol: "tcp", Bindings: 1}, {Protocol: "udp", Bindings: 2}, {Protocol: "icmp", Bindings: 1}}, r.Bindings)
	assert.Equal(t, []status.Made{{Protocol: "tcp", Sessions: 1}, {Protocol: "udp", Sessions: 2}, {Protocol: "icmp", Sessions: 1}}, r.Made)
	assert.Equal(t, []status.Denial{
		{Direction: "6to4", Reason: "session-limit", Packets: 1}, {Direction: "6to4", Reason: "no-session", Packets: 1},
		{Direction: "4to6", Reason: "no-binding", Packets: 3},
	}, r.Denied)
	assert.Equal(t, []status.Limited{{Limit: "per-prefix", Packets: 1}}, r.Limited)
	sum := 0
	for _, c := range r.Sessions {
		sum += c.Sessions
	}
	assert.Len(t, r.Sessions, 10)
	assert.Equal(t, 4, sum)
	assert.Contains(t, r.Sessions, status.SessionCount{Protocol: "tcp", State: "v6-init", Sessions: 1})
	assert.Contains(t, r.Sessions, status.SessionCount{Protocol: "udp", State: "dns", Sessions: 2})
	assert.Equal(t, 64, r.PrefixLen)
	assert.Equal(t, 4, r.PerPrefix)

	var table strings.Builder
	require.NoError(t, (&status.Report{Shared: r}).WriteTable(&table))
	assert.Contains(t, table.String(), "\npackets denied: 6to4 session-limit 1, 6to4 no-session 1, 4to6 no-binding 3\n")
}

// What is denied is what the counters of packets have. The sessions' own figures lacked SYNs
// that no host expected, and had pings that tayga answered for its own address in a pool.
func TestSharedDenied(t *testing.T) {
	counts := []status.Count{
		{Direction: "4to6", Verdict: "drop", Reason: translate.UnsolicitedSYN.String(), Packets: 2},
		{Direction: "4to6", Verdict: "reject", Reason: translate.UnsolicitedSYN.String(), Packets: 4},
		{Direction: "4to6", Verdict: "reply", Reason: translate.EchoReply.String(), Packets: 5},
		{Direction: "4to6", Verdict: "reply", Reason: translate.SelfProtocol.String(), Packets: 5},
		{Direction: "4to6", Verdict: "drop", Reason: translate.FragmentTimeout.String(), Packets: 7},
		{Direction: "4to6", Verdict: translate.Forward.String(), Reason: translate.NoBinding.String(), Packets: 5},
		{Direction: "6to4", Verdict: "reply", Reason: translate.OtherProtocol.String(), Packets: 1},
		{Direction: "6to4", Verdict: "reply", Reason: translate.NoDestination.String(), Packets: 5},
		{Direction: "none", Verdict: "drop", Reason: translate.NoSession.String(), Packets: 3},
	}
	assert.Equal(t, []status.Denial{
		{Direction: "6to4", Reason: "other-protocol", Packets: 1},
		{Direction: "4to6", Reason: "unsolicited-syn", Packets: 6}, {Direction: "4to6", Reason: "fragment-timeout", Packets: 7},
		{Direction: "none", Reason: "no-session", Packets: 3},
	}, deniedOf(counts))
	assert.Equal(t, []status.Denial{}, deniedOf(nil))
}

// The limit of ports that is in force without stateful-max-per-prefix is reported: a guest at
// it got no ports, and no output named the limit.
func TestSharedPortLimit(t *testing.T) {
	for want, c := range map[string]session.Config{
		"(a /64 each, up to 65536 sessions and 32256 ports of a protocol)": {Pools: []session.Pool{{Prefix: netip.MustParsePrefix("203.0.113.7/32")}}},
		"(a /64 each, up to 65536 sessions and 50 ports of a protocol)": {Pools: []session.Pool{
			{Prefix: netip.MustParsePrefix("203.0.113.7/32")}, {Prefix: netip.MustParsePrefix("203.0.113.8/32"), Low: 1001, High: 1100, Pref64: 2},
		}},
		"(a /64 each, up to 1000 sessions)": {Limits: session.Limits{PerPrefix: 1000}},
	} {
		var table strings.Builder
		require.NoError(t, (&status.Report{Shared: sharedOf(newTable(t, c).Stats(), nil)}).WriteTable(&table))
		assert.Contains(t, table.String(), want)
	}
}

func outbound(s *session.Table, f *translate.Tuple6) (to translate.Tuple4, r translate.FlowResult) {
	flags := uint8(0)
	if f.Host.Hi != 1 {
		flags = flagSYN
	}
	r = s.Outbound(0, f, flags, &to)
	return to, r
}

func inbound(s *session.Table, f *translate.Tuple4) (to translate.Tuple6, r translate.FlowResult) {
	r = s.Inbound(0, f, 0, &to)
	return to, r
}

func mustMap(t *testing.T, s *session.Table, f *translate.Tuple6) translate.Tuple4 {
	t.Helper()
	to, r := outbound(s, f)
	require.Equal(t, translate.FlowMapped, r)
	return to
}

// The fullest addresses and subscribers come first, and there is an end to them.
func TestFullest(t *testing.T) {
	use := []session.AddressUse{}
	for i := range status.MaxAddresses + 4 {
		use = append(use, session.AddressUse{Addr: netip.AddrFrom4([4]byte{100, 64, byte(i >> 8), byte(i)}), Hosts: 1, TCP: i, PortLow: 1024, PortHi: 65535})
	}
	use[3].UDP, use[3].PortLow = 10, 65524 // of 12
	use[4].ICMP = 1 << 16
	list := fullest(use)
	assert.Len(t, list.Entries, status.MaxAddresses)
	assert.Equal(t, 4, list.LeftOut)
	assert.Equal(t, []string{"100.64.0.4", "100.64.0.3", "100.64.1.3"}, []string{list.Entries[0].Addr, list.Entries[1].Addr, list.Entries[2].Addr})
	assert.Equal(t, status.Use{Used: 10, Limit: 12}, list.Entries[1].UDP)
}

// Pages have each session that a query selects once, while others begin and end.
func TestPagesOfSessions(t *testing.T) {
	const hosts = 10_000
	s := newTable(t, session.Config{})
	for host := range uint64(hosts) {
		mustMap(t, s, flow(host+1, 17, uint32(host%100)))
	}
	list := func(words string) (all []status.Session, pages int) {
		q, err := status.ParseQuery(strings.Fields(words))
		require.NoError(t, err)
		for {
			page := pageOf(s, 0, q)
			require.LessOrEqual(t, len(page.Entries), status.PageSize)
			pages++
			all = append(all, page.Entries...)
			if page.Next == 0 {
				return all, pages
			}
			require.Greater(t, page.Next, q.Page)
			q.Page = page.Next
			mustMap(t, s, flow(1<<32+uint64(pages), 6, 200)) // another one begins meanwhile
		}
	}
	all, pages := list("udp")
	assert.Len(t, all, hosts)
	assert.Equal(t, 3, pages)
	seen := map[string]bool{}
	for _, e := range all {
		seen[e.Host] = true
	}
	assert.Len(t, seen, hosts)

	one := all[77]
	for words, want := range map[string]int{
		"2001:db8::4d":           1,
		"[2001:db8::4d]:1000":    1,
		"[2001:db8::4d]:1001":    0,
		"2001:db8::/112":         hosts,
		"2001:db9::/32":          0,
		one.Shared + " udp":      1,
		one.Shared + " icmp":     0,
		"198.51.100.7 udp":       hosts / 100,
		"198.51.100.0/24:53 udp": hosts,
		":1000 udp 198.51.100.3": hosts / 100,
		"198.51.100.3:1000 udp":  0,
	} {
		found, _ := list(words)
		assert.Len(t, found, want, words)
	}
	assert.Equal(t, "dns", one.State)
	assert.Equal(t, "udp", one.Protocol)
	assert.EqualValues(t, 300, one.Remaining)

	// Past the end, as after a restart or from a client that makes it up.
	assert.Equal(t, &status.SessionList{Entries: []status.Session{}}, pageOf(s, 0, status.Query{Page: 1 << 31}))
	// Sessions whose time has run out are not listed, also before Expire removes them.
	assert.Empty(t, pageOf(s, time.Hour, status.Query{Protocol: "udp"}).Entries)

	icmp := newTable(t, session.Config{})
	to := mustMap(t, icmp, flow(1, 58, 9))
	assert.Equal(t, []status.Session{{Protocol: "icmp", State: "icmp", Host: "[2001:db8::1]:1000", Shared: fmt.Sprintf("%s:%d", netip.AddrFrom4([4]byte{203, 0, 113, byte(to.Local)}), to.LocalPort), Remote: "198.51.100.9", Remaining: 60}},
		pageOf(icmp, 0, status.Query{}).Entries)
}
