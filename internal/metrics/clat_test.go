package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"

	"github.com/steppe-nat64/steppe/internal/status"
)

func sampleCLAT() *status.CLAT {
	return &status.CLAT{
		State: "on", Since: time.UnixMilli(1_800_000_000_500), Carrier: "clat", Uplink: "eth\xff0",
		Prefix: "64:ff9b::/96", Source: "dns", Router: "2001:db8::53", IPv4: "192.0.0.1", IPv6: "2001:db8:1::464",
		Address: "own", MTU: 1472, PrefixChanges: 3, Conflicts: 1, RefusedPrefixes: 2,
	}
}

func TestCollectorOfCLAT(t *testing.T) {
	assert.NoError(t, testutil.CollectAndCompare(&collector{sample}, strings.NewReader(`
# HELP steppe_clat_on Whether IPv4 of the programs on this machine is translated.
# TYPE steppe_clat_on gauge
steppe_clat_on 1
# HELP steppe_clat_in_use Whether the CLAT carries IPv4, and not an interface with native IPv4.
# TYPE steppe_clat_in_use gauge
steppe_clat_in_use 1
# HELP steppe_clat_info What the CLAT has found: its state, the uplink, the prefix and its source, and how it has an address.
# TYPE steppe_clat_info gauge
steppe_clat_info{address="own",prefix="64:ff9b::/96",source="dns",state="on",uplink="eth?0"} 1
# HELP steppe_clat_mtu_bytes MTU for IPv4 of the CLAT.
# TYPE steppe_clat_mtu_bytes gauge
steppe_clat_mtu_bytes 1472
# HELP steppe_clat_state_time_seconds When the state of the CLAT began, in seconds since 1970.
# TYPE steppe_clat_state_time_seconds gauge
steppe_clat_state_time_seconds 1.8000000005e+09
# HELP steppe_clat_prefix_changes_total Changes of the prefix of the CLAT.
# TYPE steppe_clat_prefix_changes_total counter
steppe_clat_prefix_changes_total 3
# HELP steppe_clat_address_conflicts_total Times that another host had the IPv6 address of the CLAT.
# TYPE steppe_clat_address_conflicts_total counter
steppe_clat_address_conflicts_total 1
# HELP steppe_clat_refused_prefixes_total Prefixes that were refused, since no NAT64 can have them.
# TYPE steppe_clat_refused_prefixes_total counter
steppe_clat_refused_prefixes_total 2
`), "steppe_clat_on", "steppe_clat_in_use", "steppe_clat_info", "steppe_clat_mtu_bytes", "steppe_clat_state_time_seconds",
		"steppe_clat_prefix_changes_total", "steppe_clat_address_conflicts_total", "steppe_clat_refused_prefixes_total"))
}

// TestNoCLAT: a daemon that is none has no such metrics. One that has found nothing has them,
// and IPv4 is not translated.
func TestNoCLAT(t *testing.T) {
	without := func() *status.Report {
		r := sample()
		r.CLAT = nil
		return r
	}
	assert.Equal(t, testutil.CollectAndCount(&collector{sample})-8, testutil.CollectAndCount(&collector{without}))
	assert.NoError(t, testutil.CollectAndCompare(&collector{func() *status.Report { return &status.Report{CLAT: &status.CLAT{State: "searching", Carrier: "none"}} }}, strings.NewReader(`
# HELP steppe_clat_on Whether IPv4 of the programs on this machine is translated.
# TYPE steppe_clat_on gauge
steppe_clat_on 0
# HELP steppe_clat_in_use Whether the CLAT carries IPv4, and not an interface with native IPv4.
# TYPE steppe_clat_in_use gauge
steppe_clat_in_use 0
`), "steppe_clat_on", "steppe_clat_in_use"))
}
