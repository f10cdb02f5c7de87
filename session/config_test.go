package session_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/session"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// TestConfig: what New rejects, with the words that name it, and the nearest that it takes.
func TestConfig(t *testing.T) {
	type edit = func(*session.Config)
	static := func(s ...session.Static) edit { return func(c *session.Config) { c.Static = s } }
	web := session.Static{Proto: tcp, Addr: at("192.0.2.1:80"), Host: at("[2001:db8::1]:80")}
	change := func(f func(*session.Static)) edit {
		s := web
		f(&s)
		return static(s)
	}
	for _, c := range []struct {
		name string
		edit edit
		want string // part of the error; none if ""
	}{
		{"udp-119s", func(c *session.Config) { c.Timeouts.UDP = 119 * time.Second }, "udp: 1m59s: want whole seconds, at least 2m0s"},
		{"udp-120s", func(c *session.Config) { c.Timeouts.UDP = 120 * time.Second }, ""},
		{"udp-fraction", func(c *session.Config) { c.Timeouts.UDP = 150*time.Second + 1 }, "whole seconds"},
		{"udp-year", func(c *session.Config) { c.Timeouts.UDP = 365 * 24 * time.Hour }, ""},
		{"udp-longer", func(c *session.Config) { c.Timeouts.UDP = 365*24*time.Hour + time.Second }, "at most a year"},
		{"dns-1s", func(c *session.Config) { c.Timeouts.DNS = time.Second }, ""},
		{"dns-negative", func(c *session.Config) { c.Timeouts.DNS = -time.Second }, "dns"},
		{"tcp-7439s", func(c *session.Config) { c.Timeouts.TCP = 7439 * time.Second }, "tcp: 2h3m59s"},
		{"tcp-7440s", func(c *session.Config) { c.Timeouts.TCP = 7440 * time.Second }, ""},
		{"tcp-transitory-239s", func(c *session.Config) { c.Timeouts.TCPTransitory = 239 * time.Second }, "tcp-transitory"},
		{"tcp-transitory-240s", func(c *session.Config) { c.Timeouts.TCPTransitory = 240 * time.Second }, ""},
		{"tcp-opening-5s", func(c *session.Config) { c.Timeouts.TCPOpening = 5 * time.Second }, "tcp-opening"},
		{"tcp-opening-6s", func(c *session.Config) { c.Timeouts.TCPOpening = 6 * time.Second }, ""},
		{"tcp-syn-5s", func(c *session.Config) { c.Timeouts.TCPIncomingSYN = 5 * time.Second }, "tcp-syn"},
		{"tcp-syn-6s", func(c *session.Config) { c.Timeouts.TCPIncomingSYN = 6 * time.Second }, ""},
		{"icmp-59s", func(c *session.Config) { c.Timeouts.ICMP = 59 * time.Second }, "icmp"},
		{"icmp-60s", func(c *session.Config) { c.Timeouts.ICMP = 60 * time.Second }, ""},
		{"quarantine-fraction", func(c *session.Config) { c.Quarantine = time.Millisecond }, "quarantine"},
		{"quarantine-1s", func(c *session.Config) { c.Quarantine = time.Second }, ""},
		{"quarantine-count", func(c *session.Config) { c.MaxQuarantine = -1 }, "negative"},
		{"probes", func(c *session.Config) { c.MaxProbes = -1 }, "negative"},
		{"filtering", func(c *session.Config) { c.Filtering = 2 }, "filtering 2"},

		{"no-pool", func(c *session.Config) { c.Pools = nil }, "no pool"},
		{"pool-of-ipv6", func(c *session.Config) { c.Pools[0].Prefix = prefix("2001:db8::/120") }, "not an IPv4 prefix"},
		{"pool-zero", func(c *session.Config) { c.Pools[0].Prefix = netip.Prefix{} }, "not an IPv4 prefix"},
		{"pool-host-bits", func(c *session.Config) { c.Pools[0].Prefix = prefix("192.0.2.1/31") }, "192.0.2.0/31?"},
		{"pool-overlap", func(c *session.Config) {
			c.Pools = append(c.Pools, session.Pool{Prefix: prefix("192.0.2.0/30")})
		}, "overlaps pool 192.0.2.1/32"},
		{"pool-16", func(c *session.Config) { c.Pools[0].Prefix = prefix("10.1.0.0/16") }, ""},
		{"pool-15", func(c *session.Config) { c.Pools[0].Prefix = prefix("10.0.0.0/15") }, "more than 65536 addresses"},
		{"pool-0", func(c *session.Config) { c.Pools[0].Prefix = prefix("0.0.0.0/0") }, "more than 65536 addresses"},
		{"pools-too-large", func(c *session.Config) {
			c.Pools = append(c.Pools, session.Pool{Prefix: prefix("10.1.0.0/16")})
		}, "10.1.0.0/16: more than 65536 addresses"},
		{"ports-reversed", ports(2000, 1999), "2000 to 1999"},
		{"ports-one", ports(2000, 2000), ""},
		{"ports-from-0", ports(0, 1000), "0 to 1000"},
		{"pref64-64", func(c *session.Config) { c.Pools[0].Pref64 = 64 }, "prefix number 64"},
		{"pref64-63", func(c *session.Config) { c.Pools[0].Pref64 = 63 }, ""},
		{"block-32", func(c *session.Config) { c.PortBlock = 32 }, "32 ports"},
		{"block-64", func(c *session.Config) { c.PortBlock = 64 }, ""},
		{"block-96", func(c *session.Config) { c.PortBlock = 96 }, "power of two"},
		{"block-16384", func(c *session.Config) { c.PortBlock = 16384 }, ""},
		{"block-32768", func(c *session.Config) { c.PortBlock = 32768 }, "power of two"},
		{"block-does-not-fit", func(c *session.Config) { c.PortBlock = 64; ports(1025, 1150)(c) }, "no block of 64"},
		{"block-just-fits", func(c *session.Config) { c.PortBlock = 64; ports(1025, 1151)(c) }, ""},

		{"clients-of-ipv4", func(c *session.Config) { c.Clients = []netip.Prefix{prefix("192.0.2.0/24")} }, "not an IPv6 prefix"},
		{"clients-all", func(c *session.Config) { c.Clients = []netip.Prefix{prefix("::/0")} }, ""},

		{"sessions-negative", func(c *session.Config) { c.Limits.Sessions = -1 }, "-1 sessions"},
		{"sessions-too-many", func(c *session.Config) { c.Limits.Sessions = 1<<24 + 1 }, "16777217 sessions"},
		{"half-open-negative", func(c *session.Config) { c.Limits.HalfOpen = -1 }, "negative"},
		{"inbound-negative", func(c *session.Config) { c.Limits.Inbound = -1 }, "negative"},
		{"per-prefix-negative", func(c *session.Config) { c.Limits.PerPrefix = -1 }, "negative"},
		{"per-prefix-too-many", func(c *session.Config) { c.Limits.PerPrefix = 1<<24 + 1 }, "per prefix"},
		{"half-open-per-prefix", func(c *session.Config) { c.Limits.HalfOpenPerPrefix = -1 }, "negative"},
		{"limits-of-one", func(c *session.Config) {
			c.Limits.HalfOpen, c.Limits.Inbound, c.Limits.PerPrefix, c.Limits.HalfOpenPerPrefix = 1, 1, 1, 1
		}, ""},
		{"prefix-129", func(c *session.Config) { c.Limits.PrefixLen = 129 }, "/129"},
		{"prefix-128", func(c *session.Config) { c.Limits.PrefixLen = 128 }, ""},
		{"prefix-1", func(c *session.Config) { c.Limits.PrefixLen = 1 }, ""},
		{"prefix-negative", func(c *session.Config) { c.Limits.PrefixLen = -1 }, "/-1"},
		{"held-4096", func(c *session.Config) { c.Limits.HeldSYN = 4096 }, ""},
		{"held-4097", func(c *session.Config) { c.Limits.HeldSYN = 4097 }, "4097 SYNs"},

		{"static", static(web), ""},
		{"static-proto", change(func(s *session.Static) { s.Proto = 132 }), "protocol 132"},
		{"static-outside", change(func(s *session.Static) { s.Addr = at("192.0.2.2:80") }), "in no pool"},
		{"static-ipv6", change(func(s *session.Static) { s.Addr = at("[2001:db8::2]:80") }), "in no pool"},
		{"static-host-ipv4", change(func(s *session.Static) { s.Host = at("192.0.2.9:80") }), "no host can have"},
		{"static-host-mapped", change(func(s *session.Static) { s.Host = at("[::ffff:192.0.2.9]:80") }), "no host can have"},
		{"static-host-multicast", change(func(s *session.Static) { s.Host = at("[ff02::1]:80") }), "no host can have"},
		{"static-host-loopback", change(func(s *session.Static) { s.Host = at("[::1]:80") }), "no host can have"},
		{"static-host-zero", change(func(s *session.Static) { s.Host = at("[::]:80") }), "no host can have"},
		{"static-host-link-local", change(func(s *session.Static) { s.Host = at("[fe80::1]:80") }), "no host can have"},
		{"static-port-0", change(func(s *session.Static) { s.Addr = at("192.0.2.1:0") }), "port 0"},
		{"static-host-port-0", change(func(s *session.Static) { s.Host = at("[2001:db8::1]:0") }), "port 0"},
		{"static-identifier-0", change(func(s *session.Static) { s.Proto, s.Addr, s.Host = icmp, at("192.0.2.1:0"), at("[2001:db8::1]:0") }), ""},
		{"static-pref64", change(func(s *session.Static) { s.Pref64 = 64 }), "prefix number 64"},
		{"static-pref64-of-no-pool", func(c *session.Config) {
			c.Pools = append(c.Pools, session.Pool{Prefix: prefix("192.0.2.8/32"), Pref64: 1})
			c.Static = []session.Static{{Proto: tcp, Addr: web.Addr, Host: web.Host, Pref64: 1}}
		}, "does not serve prefix number 1"},
		{"static-no-client", func(c *session.Config) {
			c.Clients = []netip.Prefix{prefix("2001:db8:1::/48")}
			c.Static = []session.Static{web}
		}, "is no client"},
		{"static-twice", static(web, session.Static{Proto: tcp, Addr: web.Addr, Host: at("[2001:db8::2]:80")}), "defined twice"},
		{"static-host-twice", static(web, session.Static{Proto: tcp, Addr: at("192.0.2.1:81"), Host: web.Host}), "has a binding already"},
		{"static-two-protocols", static(web, session.Static{Proto: udp, Addr: web.Addr, Host: web.Host}), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config()
			cfg.Limits = session.Limits{}
			c.edit(&cfg)
			_, err := session.New(cfg)
			if c.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.want)
				require.Regexp(t, "^session: ", err.Error())
			}
		})
	}
}
