package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

const settingsConf = `tun-device nat64
ipv4-addr 192.0.2.1
ipv6-addr 2001:db8:f::1
prefix 2001:db8:64::/96
dynamic-pool 10.0.0.0/24
`

// shared is a pool that nothing needs to be beside.
const shared = "stateful-pool 203.0.113.1"

// settingLines has a line of tayga.conf for every setting of the library that the
// daemon can change, "-" before a line for one that it takes the place of.
var settingLines = map[string]string{
	"translate.Config.IPv4":            "-ipv4-addr 192.0.2.9",
	"translate.Config.IPv6":            "-ipv6-addr 2001:db8:f::9",
	"translate.Config.LowestIPv6MTU":   "offlink-mtu 1400",
	"translate.Config.UDPZero":         "udp-cksum-mode calc",
	"translate.Config.Hairpin":         "hairpin off",
	"translate.Config.ICMPErrors":      "icmp-errors rfc7915",
	"translate.Config.AllowPrivate":    "wkpf-strict no",
	"translate.Config.ICMPPool4":       "icmp-pool 192.0.2.8",
	"translate.Config.ICMPPool6":       "icmp-pool 2001:db8::8",
	"translate.Config.NodeAddress":     "icmp-node-address yes",
	"translate.Config.ErrorRate":       "icmp-rate 10",
	"translate.Config.ErrorBurst":      "icmp-rate 10 5",
	"translate.Config.MTUErrorRate":    "icmp-mtu-rate 10",
	"translate.Config.MTUErrorBurst":   "icmp-mtu-rate 10 5",
	"translate.Config.TOS4to6":         "traffic-class 0",
	"translate.Config.TOS6to4":         "tos 0",
	"translate.Config.FlowLabels":      "flow-labels yes",
	"translate.Config.MSSClamp":        "tcp-mss-clamp auto",
	"translate.Config.FragmentTimeout": shared + "\nstateful-timeout fragment 3",
	"translate.TableConfig.Prefixes":   "prefix 2001:db8:65::/96",
	"translate.TableConfig.Maps":       "map 192.0.2.7 2001:db8:7::7",
	"translate.TableConfig.Pools":      "dynamic-pool 10.0.1.0/24",
	"translate.TableConfig.Rules":      "embedded-source drop",
	"translate.PrefixRule.DropSource":  "embedded-source drop 2001:db8:64::/96",
	"translate.PrefixRule.CheckLoops":  "loop-check yes 2001:db8:64::/96",
	"pool.Config.Prefixes":             "dynamic-pool 10.0.1.0/24",
	"pool.Config.Reserved":             "dynamic-pool 126.0.0.0/7",
	"pool.Config.LeaseTime":            "dynamic-pool-hold 90s",
	"pool.Config.Retention":            "dynamic-pool-forget 2d",
	"pool.Config.Refresh":              "dynamic-pool-refresh outbound",
	"pool.Config.Clients":              "dynamic-pool-clients 2001:db8:1::/64",
	"pool.Config.MaxPerPrefix":         "dynamic-pool-max-per-prefix 64 3",
	"translate.TableConfig.Shared":     shared,
	"session.Config.Pools":             shared,
	"session.Config.Prefixes":          "prefix 2001:db8:65::/96",
	"session.Config.Static":            shared + "\ndynamic-pool-clients 2001:db8:1::/64\nstateful-map tcp 203.0.113.1:80 [2001:db8:7::7]:80",
	"session.Config.Clients":           shared + "\nstateful-clients 2001:db8:1::/64",
	"session.Config.Filtering":         shared + "\nstateful-filter address-dependent",
	"session.Config.Timeouts":          shared + "\nstateful-timeout udp 3m",
	"session.Config.Limits":            shared + "\nstateful-max-sessions 1000",
	"session.Config.PortBlock":         shared + "\nstateful-port-block 512",
	"session.Timeouts.UDP":             shared + "\nstateful-timeout udp 3m",
	"session.Timeouts.DNS":             shared + "\nstateful-timeout dns 10",
	"session.Timeouts.TCP":             shared + "\nstateful-timeout tcp 3h",
	"session.Timeouts.TCPTransitory":   shared + "\nstateful-timeout tcp-transitory 5m",
	"session.Timeouts.TCPOpening":      shared + "\nstateful-timeout tcp-opening 30",
	"session.Timeouts.TCPIncomingSYN":  shared + "\nstateful-timeout tcp-syn 7",
	"session.Timeouts.ICMP":            shared + "\nstateful-timeout icmp 61",
	"session.Limits.Sessions":          shared + "\nstateful-max-sessions 1000",
	"session.Limits.PrefixLen":         shared + "\nstateful-max-per-prefix 56 1000",
	"session.Limits.PerPrefix":         shared + "\nstateful-max-per-prefix 64 1000",
	"session.Limits.HeldSYN":           shared + "\nstateful-max-held-syns 0",
	"tun.Config.Name":                  "-tun-device siit",
	"tun.Config.Queues":                "workers 7",
	"tun.Config.Plain":                 "offload no",
	"tun.Config.NoTSO":                 "offload checksum uso",
	"tun.Config.NoUSO":                 "offload checksum tso",
}

// settingReasons says why a setting has no directive.
var settingReasons = map[string]string{
	"translate.Config.MTU4":               "that of the device, which the daemon follows",
	"translate.Config.MTU6":               "that of the device, which the daemon follows",
	"translate.Config.AllowClassE":        "always on, as in TAYGA after 0.9.2",
	"translate.Config.DropEmbeddedSource": "embedded-source sets the rule of each prefix instead",
	"translate.Config.FragmentBytes":      "the default is enough for a gateway",
	"translate.Config.Fragments":          "the default is enough for a gateway",
	"translate.PrefixRule.Prefix":         "names the prefix",
	"tun.Config.Owner":                    "the user and the group that the daemon runs as: options -u and -g",
	"pool.Config.OnEvent":                 "where the daemon logs leases, directive log",
	"translate.TableConfig.Sessions":      "the table of stateful-pool, which the gateway adds",
	"session.Config.OnEvent":              "where the daemon logs bindings, directive stateful-log",
	"pool.Config.Used":                    "that of the fast path, which the gateway adds",
	"session.Config.Path":                 "that of the fast path, which the gateway adds",
	"session.Config.Quarantine":           "RFC 6888 REQ-8",
	"session.Config.MaxQuarantine":        "no port is used again before its time",
	"session.Config.MaxProbes":            "always on: a probe costs a packet in two hours",
	"session.Limits.HalfOpen":             "a quarter of stateful-max-sessions",
	"session.Limits.Inbound":              "a quarter of stateful-max-sessions",
	"session.Limits.HalfOpenPerPrefix":    "a quarter of stateful-max-per-prefix",
}

// settingsOf returns the settings of the library by name.
func settingsOf(c *taygaconf.Config) map[string]any {
	all := make(map[string]any)
	table := c.Table(nil, nil)
	rule := translate.PrefixRule{}
	if len(table.Rules) > 0 {
		rule = table.Rules[0]
	}
	sessions := c.Sessions(nil, nil)
	for _, s := range []any{c.Translator(1500), table, rule, c.Pool(c.Pools[0], func(pool.Event) {}), sessions, sessions.Timeouts, sessions.Limits, tunConfig(c)} {
		v := reflect.ValueOf(s)
		for i := range v.NumField() {
			all[v.Type().String()+"."+v.Type().Field(i).Name] = v.Field(i).Interface()
		}
	}
	return all
}

// TestEverySettingHasADirective: the library could drop embedded sources and the
// daemon could not be told to, so hosts could forge IPv4 sources past a
// masquerading gateway. Every setting has a directive that changes it, or a reason.
func TestEverySettingHasADirective(t *testing.T) {
	before := settingsOf(confOf(t, settingsConf))
	for name := range before {
		line, found := settingLines[name]
		if _, reason := settingReasons[name]; reason == found {
			t.Errorf("%s needs a directive, or a reason for having none", name)
		}
		if !found {
			continue
		}
		after := settingsOf(confOf(t, withLine(settingsConf, line)))
		assert.NotEqual(t, before[name], after[name], "%s does not change %s", line, name)
	}
	for _, names := range []map[string]string{settingLines, settingReasons} {
		for name := range names {
			assert.Contains(t, before, name)
		}
	}
}

// withLine adds a line to a configuration, or puts it in the place of that with the
// same directive if it begins with a "-".
func withLine(text, line string) string {
	line, instead := strings.CutPrefix(line, "-")
	directive, _, _ := strings.Cut(line, " ")
	var b strings.Builder
	for l := range strings.Lines(text) {
		if !instead || !strings.HasPrefix(l, directive+" ") {
			b.WriteString(l)
		}
	}
	return b.String() + line + "\n"
}
