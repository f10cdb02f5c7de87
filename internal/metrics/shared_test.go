package metrics

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/status"
)

func sampleShared() *status.Shared {
	use := func(used, limit int) status.Use { return status.Use{Used: used, Limit: limit} }
	return &status.Shared{
		Sessions: []status.SessionCount{{Protocol: "tcp", State: "established", Sessions: 9}, {Protocol: "udp", State: "udp", Sessions: 2}},
		Total:    use(11, 262144), HalfOpen: use(1, 65536), Inbound: use(2, 65536), HeldSYN: use(3, 10),
		Bindings: []status.BindingCount{{Protocol: "tcp", Bindings: 8}},
		Hosts:    5, Subscribers: 4, Memory: 4096,
		Made:      []status.Made{{Protocol: "tcp", Sessions: 100}},
		Ended:     []status.Ended{{State: "trans", Sessions: 91}},
		Denied:    []status.Denial{{Direction: "6to4", Reason: "no-port", Packets: 6}},
		Limited:   []status.Limited{{Limit: "per-prefix", Packets: 7}},
		Addresses: status.List[status.Address]{Entries: []status.Address{{Addr: "203.0.113.7", Hosts: 5, TCP: use(8, 64512), UDP: use(2, 64512), ICMP: use(0, 65536), Quarantine: 1}}},
		Fullest:   []status.Subscriber{{Prefix: "2001:db8:1::/64", Sessions: 11}},
		PrefixLen: 64, PerPrefix: 65536,
	}
}

func TestCollectorOfStatefulPool(t *testing.T) {
	assert.NoError(t, testutil.CollectAndCompare(&collector{sample}, strings.NewReader(`
# HELP steppe_sessions Sessions of hosts that share IPv4 addresses.
# TYPE steppe_sessions gauge
steppe_sessions{protocol="tcp",state="established"} 9
steppe_sessions{protocol="udp",state="udp"} 2
# HELP steppe_session_use What the limits of sessions count: all, half-open ones, those opened from IPv4, and SYNs that are held.
# TYPE steppe_session_use gauge
steppe_session_use{limit="half-open"} 1
steppe_session_use{limit="held-syn"} 3
steppe_session_use{limit="inbound"} 2
steppe_session_use{limit="sessions"} 11
# HELP steppe_session_limit These limits.
# TYPE steppe_session_limit gauge
steppe_session_limit{limit="half-open"} 65536
steppe_session_limit{limit="held-syn"} 10
steppe_session_limit{limit="inbound"} 65536
steppe_session_limit{limit="sessions"} 262144
# HELP steppe_session_bindings Bindings of a host's port to a shared address and port, static ones included.
# TYPE steppe_session_bindings gauge
steppe_session_bindings{protocol="tcp"} 8
# HELP steppe_session_memory_bytes Memory of sessions, bindings and indexes.
# TYPE steppe_session_memory_bytes gauge
steppe_session_memory_bytes 4096
# HELP steppe_sessions_made_total Sessions that began.
# TYPE steppe_sessions_made_total counter
steppe_sessions_made_total{protocol="tcp"} 100
# HELP steppe_sessions_ended_total Sessions that ended, by the state whose time ran out.
# TYPE steppe_sessions_ended_total counter
steppe_sessions_ended_total{state="trans"} 91
# HELP steppe_session_denied_packets_total Packets that sessions did not map, by reason.
# TYPE steppe_session_denied_packets_total counter
steppe_session_denied_packets_total{direction="6to4",reason="no-port"} 6
# HELP steppe_session_limited_packets_total Those among them that a limit denied a session.
# TYPE steppe_session_limited_packets_total counter
steppe_session_limited_packets_total{limit="per-prefix"} 7
# HELP steppe_shared_hosts Hosts that have a shared address.
# TYPE steppe_shared_hosts gauge
steppe_shared_hosts 5
# HELP steppe_shared_subscribers IPv6 prefixes that these hosts are in.
# TYPE steppe_shared_subscribers gauge
steppe_shared_subscribers 4
# HELP steppe_shared_address_hosts Hosts of a shared address.
# TYPE steppe_shared_address_hosts gauge
steppe_shared_address_hosts{address="203.0.113.7"} 5
# HELP steppe_shared_ports Ports and ICMP identifiers of a shared address that are assigned.
# TYPE steppe_shared_ports gauge
steppe_shared_ports{address="203.0.113.7",protocol="icmp"} 0
steppe_shared_ports{address="203.0.113.7",protocol="tcp"} 8
steppe_shared_ports{address="203.0.113.7",protocol="udp"} 2
# HELP steppe_shared_ports_limit How many of them can be assigned.
# TYPE steppe_shared_ports_limit gauge
steppe_shared_ports_limit{address="203.0.113.7",protocol="icmp"} 65536
steppe_shared_ports_limit{address="203.0.113.7",protocol="tcp"} 64512
steppe_shared_ports_limit{address="203.0.113.7",protocol="udp"} 64512
# HELP steppe_shared_ports_quarantined Ports and ICMP identifiers that were released, and wait to be assigned again.
# TYPE steppe_shared_ports_quarantined gauge
steppe_shared_ports_quarantined{address="203.0.113.7"} 1
`), names(t, func(name string) bool { return strings.Contains(name, "session") || strings.Contains(name, "shared") })...))
}

// names returns those of the sample's metrics that keep selects.
func names(t *testing.T, keep func(string) bool) (list []string) {
	for _, f := range gather(t, sample()) {
		if keep(f) {
			list = append(list, f)
		}
	}
	require.Len(t, list, 15)
	return list
}

// gather returns the names of the metrics of a report.
func gather(t *testing.T, r *status.Report) (list []string) {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(&collector{func() *status.Report { return r }})
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		list = append(list, f.GetName())
	}
	return list
}

// Without a stateful pool there are the metrics that there were.
func TestNoStatefulPool(t *testing.T) {
	r := sample()
	r.Shared = nil
	for _, name := range gather(t, r) {
		assert.NotContains(t, name, "session")
		assert.NotContains(t, name, "shared")
	}
}

// A pool of 65,536 addresses, and a million subscribers, make a bounded number of series,
// whose sums are those of all addresses.
func TestSeriesAreBounded(t *testing.T) {
	r := sample()
	r.Shared.Addresses.Entries = nil
	r.Shared.Subscribers = 1_000_000
	for i := range 1 << 16 {
		r.Shared.Addresses.Entries = append(r.Shared.Addresses.Entries, status.Address{Addr: fmt.Sprintf("100.64.%d.%d", i>>8, i&255), Hosts: 1, TCP: status.Use{Used: i, Limit: 1 << 16}})
	}
	c := &collector{func() *status.Report { return r }}
	assert.Less(t, testutil.CollectAndCount(c), 700)
	assert.Equal(t, 3*(maxAddresses+1), testutil.CollectAndCount(c, "steppe_shared_ports"))
	other := 0
	for i := maxAddresses; i < 1<<16; i++ {
		other += i
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	require.NoError(t, err)
	found := false
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "steppe_shared_ports" && m.GetLabel()[0].GetValue() == otherAddresses && m.GetLabel()[1].GetValue() == "tcp" {
				found = true
				assert.EqualValues(t, other, m.GetGauge().GetValue())
			}
		}
	}
	assert.True(t, found)
}
