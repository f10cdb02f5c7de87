package metrics

import "github.com/steppe-nat64/steppe/internal/status"

var (
	clatOnDesc        = desc("clat_on", "Whether IPv4 of the programs on this machine is translated.")
	clatUsedDesc      = desc("clat_in_use", "Whether the CLAT carries IPv4, and not an interface with native IPv4.")
	clatInfoDesc      = desc("clat_info", "What the CLAT has found: its state, the uplink, the prefix and its source, and how it has an address.", "state", "uplink", "prefix", "source", "address")
	clatMTUDesc       = desc("clat_mtu_bytes", "MTU for IPv4 of the CLAT.")
	clatTimeDesc      = desc("clat_state_time_seconds", "When the state of the CLAT began, in seconds since 1970.")
	clatChangesDesc   = desc("clat_prefix_changes_total", "Changes of the prefix of the CLAT.")
	clatConflictsDesc = desc("clat_address_conflicts_total", "Times that another host had the IPv6 address of the CLAT.")
	clatRefusedDesc   = desc("clat_refused_prefixes_total", "Prefixes that were refused, since no NAT64 can have them.")
)

// clat sends what a CLAT has found. There is no label for its address, which is that of a
// person's machine.
func (o output) clat(c *status.CLAT) {
	o.gauge(clatOnDesc, truth(c.State == "on"))
	o.gauge(clatUsedDesc, truth(c.Carrier == "clat"))
	o.gauge(clatInfoDesc, 1, c.State, c.Uplink, c.Prefix, c.Source, c.Address)
	o.gauge(clatMTUDesc, float64(c.MTU))
	o.gauge(clatTimeDesc, float64(c.Since.UnixMilli())/1000)
	o.count(clatChangesDesc, c.PrefixChanges)
	o.count(clatConflictsDesc, c.Conflicts)
	o.count(clatRefusedDesc, c.RefusedPrefixes)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
