package taygaconf

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

func read(text string) (*Config, Problems) {
	return Read(strings.NewReader(text), "tayga.conf", nil)
}

// minimal is a configuration without any problem.
const minimal = "tun-device nat64\nipv4-addr 192.168.255.1\nprefix 2001:db8:1:ffff::/96\n"

func TestDefaults(t *testing.T) {
	c, problems := read(minimal)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	c.taken = taken{}
	want := &Config{
		File:       "tayga.conf",
		TunDevice:  "nat64",
		IPv4:       netip.MustParseAddr("192.168.255.1"),
		IPv6:       netip.MustParseAddr("2001:db8:1:ffff::c0a8:ff01"),
		Prefixes:   []netip.Prefix{netip.MustParsePrefix("2001:db8:1:ffff::/96")},
		WKPFStrict: true,
		UDPZero:    translate.UDPZeroDrop,
		OfflinkMTU: 1280,
		Workers:    -1,
		ICMPErrors: translate.ErrorsTAYGA,
		Hairpin:    translate.HairpinIntrinsic,
		Offload:    Offload{Checksum: true, TSO: true, USO: true},
		FastPath:   true,
		Sandbox:    true,
		LeaseTime:  7440 * time.Second,
		Retention:  14 * 24 * time.Hour,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestEveryDirective(t *testing.T) {
	c, problems := Read(strings.NewReader(`
tun-device  tayga0
ipv4-addr   192.0.2.1
ipv6-addr   2001:db8::1
prefix      64:ff9b::/96
prefix      2001:db8:64::/+064
map         198.51.100.0/24 2001:db8:100::/56
map         198.51.100.7    2001:db8:7::7
dynamic-pool 10.64.0.0/24
dynamic-pool 10.64.1.0/24 Via 2001:db8:64::/64
data-dir    /var/lib/tayga
map-file    maps
wkpf-strict NO
udp-cksum-mode Calculate
log         drop DYN
offlink-mtu 1400
workers     3
tun-up      yes
tun-ip      192.0.0.1/29
tun-ip      2001:db8:5::1/64
tun-route   10.0.0.0/8
tun-route   2001:db8:6::
icmp-errors rfc7915
icmp-node-address yes
icmp-pool   192.0.2.9 2001:db8::9
icmp-pool   192.0.2.10
icmp-rate   20 10
icmp-mtu-rate Unlimited
hairpin     simple
embedded-source Forward
embedded-source drop 2001:db8:64::/64
loop-check  no
loop-check  YES 2001:db8:64::/64
tos         0
traffic-class 0184
flow-labels on
tcp-mss-clamp 1300
offload     no
fast-path   OFF
sandbox     no
dynamic-pool-clients 2001:db8:c::/48 fd00::/8
dynamic-pool-max-per-prefix /64 16
dynamic-pool-hold 2h
dynamic-pool-refresh Outbound
dynamic-pool-forget 30d
status-socket /run/nat64
metrics-listen [2001:db8::7]:9464
`), "tayga.conf", func(string) (string, bool) { return "ignored, there is a data-dir", true })
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	prefixes := func(texts ...string) (ps []netip.Prefix) {
		for _, s := range texts {
			ps = append(ps, netip.MustParsePrefix(s))
		}
		return ps
	}
	addrs := func(texts ...string) (as []netip.Addr) {
		for _, s := range texts {
			as = append(as, netip.MustParseAddr(s))
		}
		return as
	}
	entry := func(line int, v4, v6 string) Map {
		return Map{Map: translate.Map{IPv4: netip.MustParsePrefix(v4), IPv6: netip.MustParsePrefix(v6)}, File: "tayga.conf", Line: line}
	}
	c.taken = taken{}
	want := &Config{
		File:      "tayga.conf",
		TunDevice: "tayga0",
		IPv4:      netip.MustParseAddr("192.0.2.1"),
		IPv6:      netip.MustParseAddr("2001:db8::1"),
		Prefixes:  prefixes("64:ff9b::/96", "2001:db8:64::/64"),
		Maps: []Map{
			entry(7, "198.51.100.0/24", "2001:db8:100::/56"),
			entry(8, "198.51.100.7/32", "2001:db8:7::7/128"),
		},
		Pools: []Pool{
			{Prefixes: prefixes("10.64.0.0/24"), Lines: []int{9}},
			{Pref64: netip.MustParsePrefix("2001:db8:64::/64"), Prefixes: prefixes("10.64.1.0/24"), Lines: []int{10}},
		},
		MapFile:        "maps",
		DataDir:        "/var/lib/tayga",
		UDPZero:        translate.UDPZeroCompute,
		OfflinkMTU:     1400,
		Log:            LogDrop | LogDyn,
		Workers:        3,
		TunUp:          true,
		TunIPs:         prefixes("192.0.0.1/29", "2001:db8:5::1/64"),
		TunRoutes:      prefixes("10.0.0.0/8", "2001:db8:6::/128"),
		ICMPErrors:     translate.ErrorsRFC7915,
		Hairpin:        translate.HairpinSimple,
		ICMPPool4:      addrs("192.0.2.9", "192.0.2.10"),
		ICMPPool6:      addrs("2001:db8::9"),
		NodeAddress:    true,
		ICMPRate:       ErrorRate{PerSecond: 20, Burst: 10},
		ICMPMTURate:    ErrorRate{PerSecond: translate.UnlimitedErrors},
		EmbeddedSource: []PrefixSwitch{{}, {Prefix: netip.MustParsePrefix("2001:db8:64::/64"), On: true}},
		LoopCheck:      []PrefixSwitch{{}, {Prefix: netip.MustParsePrefix("2001:db8:64::/64"), On: true}},
		TOS6to4:        translate.TOS{Override: true},
		TOS4to6:        translate.TOS{Override: true, Value: 184},
		FlowLabels:     true,
		MSSClamp:       1300,
		PoolClients:    prefixes("2001:db8:c::/48", "fd00::/8"),
		PoolQuota:      PoolQuota{Bits: 64, Leases: 16},
		PoolRefresh:    pool.RefreshOutbound,
		LeaseTime:      2 * time.Hour,
		Retention:      30 * 24 * time.Hour,

		StatusSocket:  "/run/nat64",
		MetricsListen: netip.MustParseAddrPort("[2001:db8::7]:9464"),
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

// The configurations that TAYGA's documentation and other programs use.
func TestDocumentedDeployments(t *testing.T) {
	for name, text := range map[string]string{
		"nat64-dynamic":      "tun-device nat64\nipv4-addr 192.168.240.1\nipv6-addr 2001:db8:beef:6464::1\nprefix 64:ff9b::/96\ndynamic-pool 192.168.240.0/20\ndata-dir /var/lib/tayga\nlog drop reject icmp self\n",
		"nat64-static":       "tun-device nat64\nipv4-addr 192.0.2.0\nipv6-addr 2001:db8:0:6464::1\nmap 203.0.113.0/24 fd64::/120\nprefix 64:ff9b::/96\n",
		"clat-masquerade":    "tun-device clat\nipv4-addr 192.0.0.2\nipv6-addr fd64::1\nmap 192.0.0.1 fd64::2\nprefix 64:ff9b::/96\n",
		"clat-proxy-nd":      "tun-device clat\nipv4-addr 192.0.0.2\nipv6-addr 2001:db8:feed::6\nmap 192.0.0.1 2001:db8:feed::7\nprefix 64:ff9b::/96\n",
		"clat-routed":        "tun-device clat\nipv4-addr 192.0.0.2\nipv6-addr 2001:db8:abcd::65\nmap 192.0.0.1 2001:db8:abcd::64\nprefix 64:ff9b::/96\n",
		"siit-border-router": "tun-device nat64\nipv4-addr 192.51.0.0\nipv6-addr 2001:db8:beef:6464::1\nprefix 64:ff9b::/96\nmap 192.51.0.1 2001:db8:beef::1\nmap 192.51.0.33 2001:db8:beef::33\nmap 192.51.0.64/29 2001:db8:beef::420/125\n",
		// No version of TAYGA accepts its own example: ipv6-addr lies inside the map.
		"siit-edge-relay":           "tun-device siit\nipv4-addr 192.0.0.2\nipv6-addr 2001:db8:beef::420\nprefix 64:ff9b::/96\nmap 192.51.0.64/29 2001:db8:beef::420/125\n",
		"siit-edge-relay-on-a-node": "tun-device siit\nipv4-addr 192.0.0.2\nipv6-addr 2001:db8:beef::1679\nprefix 64:ff9b::/96\nmap 192.51.0.27 2001:db8:beef::ff92\n",
		"container-nat64":           "tun-device nat64\nwkpf-strict no\nipv4-addr 192.168.240.1\nprefix 64:ff9b::/96\ndynamic-pool 192.168.240.0/20\nlog drop reject icmp self dyn\ndata-dir /app\n",
		"openwrt":                   "tun-device tayga-wan\nipv4-addr 192.168.1.1\nipv6-addr fd00::1\nprefix 2001:db8:64::/96\ndynamic-pool 192.168.64.0/24\ndata-dir /var/run/tayga/wan\n",
		"clatd":                     "tun-device clat\nprefix 64:ff9b::/96\nipv4-addr 192.0.0.2\nmap 192.0.0.1 2001:db8:f00::464\n",
	} {
		if _, problems := read(text); len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

// The manual page has an entry for every directive.
func TestManualNamesEveryDirective(t *testing.T) {
	page, err := os.ReadFile("../../docs/man/tayga.conf.5")
	if err != nil {
		t.Fatal(err)
	}
	for name := range directives {
		entry := ".TP\n.B" // and I or R
		found := false
		for part := range strings.SplitSeq(string(page), entry) {
			_, words, _ := strings.Cut(part, " ")
			words = strings.TrimPrefix(words, `"`)
			if rest, ok := strings.CutPrefix(words, strings.ReplaceAll(name, "-", `\-`)); ok && (rest[0] == ' ' || rest[0] == '"') {
				found = true
			}
		}
		if !found {
			t.Errorf("no entry for %s", name)
		}
	}
}

// Everything that is wrong is reported in one run, in the order of the lines,
// each with file, line and directive.
func TestProblems(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"all-in-one-run", `tun-device nat64
ipv4-addr 192.0.2.256
prefix 2001:db8::/95
frobnicate yes
workers many
map 10.0.0.1
log drop drop drop drop drop drop drop drop drop drop
`, []string{
			`tayga.conf:2: ipv4-addr: "192.0.2.256" is not an IPv4 address such as 192.0.2.1`,
			`tayga.conf:3: prefix: length 95 not allowed by RFC 6052: use 32, 40, 48, 56, 64 or 96`,
			`tayga.conf:4: unknown directive "frobnicate"`,
			`tayga.conf:5: workers: "many" is not a number from 0 to 64`,
			`tayga.conf:6: map: one word is missing after it`,
			`tayga.conf:7: more than 10 words: put the rest on a line of its own, or after a #`,
		}},
		{"offload", minimal + "offload fast\n", []string{
			`tayga.conf:4: offload: "fast" is neither auto nor no, nor one of checksum, tso and uso`,
		}},
		{"offload-of-nothing", minimal + "offload tso no\n", []string{
			`tayga.conf:4: offload: "no" is neither auto nor no, nor one of checksum, tso and uso`,
		}},
		{"several-missing", "# nothing\n\n", []string{
			`tayga.conf:2: prefix: missing at the end of the file, nor is there a map or a map-file: add a line such as "prefix 64:ff9b::/96"`,
			`tayga.conf:2: ipv4-addr: missing at the end of the file: add a line such as "ipv4-addr 192.168.255.1"`,
			`tayga.conf:2: ipv6-addr: missing at the end of the file, and without a prefix it does not follow from ipv4-addr: add a line such as "ipv6-addr 2001:db8::1"`,
			`tayga.conf:2: tun-device: missing at the end of the file: add a line such as "tun-device nat64"`,
		}},
		// A directive that was there but bad is not missing too.
		{"bad-is-not-missing", "tun-device a/b\nipv4-addr x\nprefix y\n", []string{
			`tayga.conf:1: tun-device: "a/b" is no name for a device`,
			`tayga.conf:2: ipv4-addr: "x" is not an IPv4 address such as 192.0.2.1`,
			`tayga.conf:3: prefix: "y" is not an IPv6 address such as 2001:db8::1`,
		}},
		// The later of two conflicting lines is blamed, whichever they are.
		{"later-is-blamed", "map 10.0.0.1 2001:db8:1:ffff::1\nmap 192.168.255.1 2001:db8::1\nmap 10.9.0.0/24 2001:db8:9::/120\ndynamic-pool 10.9.0.0/24\n" + minimal, []string{
			`tayga.conf:4: dynamic-pool: 10.9.0.0/24 is taken by map on line 3`,
			`tayga.conf:6: ipv4-addr: 192.168.255.1/32 is taken by map on line 2`,
			`tayga.conf:7: prefix: 2001:db8:1:ffff::1/128 is taken by map on line 1`,
		}},
		{"own-address-mapped", minimal + "ipv6-addr 2001:db8::1\nmap 10.0.0.1 2001:db8::1\n", []string{
			`tayga.conf:5: map: 2001:db8::1/128 is taken by ipv6-addr on line 4`,
		}},
		{"prefixes-overlap", minimal + "prefix 2001:db8:1::/48\n", []string{
			`tayga.conf:4: prefix: 2001:db8:1::/48 overlaps prefix 2001:db8:1:ffff::/96 on line 3`,
		}},
		{"pools-overlap", minimal + "dynamic-pool 10.0.0.0/8\ndynamic-pool 10.1.0.0/16\n", []string{
			`tayga.conf:5: dynamic-pool: 10.1.0.0/16 overlaps dynamic-pool 10.0.0.0/8 on line 4`,
		}},
		{"pool-via-nothing", minimal + "dynamic-pool 10.0.0.0/24 via\ndynamic-pool 10.0.1.0/24 via 2001:db8:64::\ndynamic-pool 10.0.2.0/24 via 10.0.0.0/8\ndynamic-pool 10.0.3.0/24 by 64:ff9b::/96\ndynamic-pool 10.0.4.0/24 via 2001:db8:64::/96 x\n", []string{
			`tayga.conf:4: dynamic-pool: a prefix is missing after via`,
			`tayga.conf:5: dynamic-pool: via: length missing: write 2001:db8:64::/LENGTH`,
			`tayga.conf:6: dynamic-pool: via: "10.0.0.0" is not an IPv6 address such as 2001:db8::1`,
			`tayga.conf:7: dynamic-pool: "by" is one word too many: write via and a prefix, or put comments after a #`,
			`tayga.conf:8: dynamic-pool: "x" is one word too many: put comments after a #`,
		}},
		{"pool-via-host-bits", minimal + "dynamic-pool 10.0.0.0/24 via 2001:db8:64::1/96\n", []string{
			`tayga.conf:4: dynamic-pool: via: 2001:db8:64::1/96 has host bits set: did you mean 2001:db8:64::/96?`,
		}},
		{"pool-via-unknown", minimal + "dynamic-pool 10.0.0.0/24 via 2001:db8:bad::/96\n", []string{
			`tayga.conf:4: dynamic-pool: via 2001:db8:bad::/96: there is no such prefix: add a line such as "prefix 2001:db8:bad::/96"`,
		}},
		{"pool-via-bad-prefix", "tun-device nat64\nipv4-addr 192.0.2.1\nipv6-addr 2001:db8::1\nprefix 2001:db8:bad::/97\ndynamic-pool 10.0.0.0/24 via 2001:db8:bad::/97\n", []string{
			`tayga.conf:4: prefix: length 97 not allowed by RFC 6052: use 32, 40, 48, 56, 64 or 96`,
		}},
		{"pool-via-odd-prefix", "tun-device nat64\nipv4-addr 192.0.2.1\nipv6-addr 2001:db8::1\nprefix 2001:db8:0:0:100::/96\ndynamic-pool 10.0.0.0/24 via 2001:db8:0:0:100::/96\n", []string{
			`tayga.conf:4: prefix: warning: bits 64 to 71 of 2001:db8:0:0:100::/96 are not zero, against RFC 6052 §2.2`,
			`tayga.conf:5: dynamic-pool: via 2001:db8:0:0:100::/96: bits 64 to 71 must be zero for that (RFC 6052 §2.2)`,
		}},
		{"pool-via-twice", minimal + "dynamic-pool 10.0.0.0/24\ndynamic-pool 10.0.0.0/24 via 2001:db8:b::/96\nprefix 2001:db8:b::/96\n", []string{
			`tayga.conf:5: dynamic-pool: 10.0.0.0/24 overlaps dynamic-pool 10.0.0.0/24 on line 4`,
		}},
		{"pool-for-no-prefix", minimal + "dynamic-pool 10.0.0.0/24\ndynamic-pool 10.0.1.0/24 via 2001:db8:1:ffff::/96\n", []string{
			`tayga.conf:4: dynamic-pool: warning: 10.0.0.0/24 is for no prefix, since each has pools via it: only hosts that send to the IPv6 address of a map get an address from it`,
		}},
		{"pool-holds-loopback", minimal + "dynamic-pool 126.0.0.0/7\n", []string{
			`tayga.conf:4: dynamic-pool: warning: 126.0.0.0/7 holds 127.0.0.0/8, which no host can have: packets with such an address are not translated`,
		}},
		{"data-dir-relative", minimal + "data-dir lib/tayga\n", []string{
			`tayga.conf:4: data-dir: "lib/tayga" is not an absolute path: begin it with a /`,
		}},
		{"device-pattern", "tun-device nat%d\nipv4-addr 192.168.255.1\nprefix 2001:db8::/96\n", []string{
			`tayga.conf:1: tun-device: "nat%d" is a pattern: name one device`,
		}},
		{"pool-too-large", minimal + "dynamic-pool 64.0.0.0/3\n", []string{
			`tayga.conf:4: dynamic-pool: warning: 64.0.0.0/3 is too large: only 64.0.0.0/4 of it is given out`,
		}},
		{"map-holds-reserved", minimal + "map 0.0.0.0/1 2001:db8:7::/97\n", []string{
			`tayga.conf:4: map: warning: 0.0.0.0/1 holds 0.0.0.0/8 and 127.0.0.0/8, which no host can have: packets with such an address are not translated`,
		}},
		{"forgotten-before-dormant", minimal + "dynamic-pool 10.0.0.0/8\ndynamic-pool-forget 1h\n", []string{
			`tayga.conf:5: dynamic-pool-forget: 1h0m0s is shorter than the 2h4m0s for which a lease is held`,
		}},
		{"leases-without-pool", minimal + "dynamic-pool-hold 1h\n", []string{
			`tayga.conf:4: dynamic-pool-hold: warning: has no effect without a dynamic-pool`,
		}},
		{"control-characters-quoted", minimal + "log \x1b[31m\xff\n", []string{
			`tayga.conf:4: log: "\x1b[31m\xff" is none of drop, reject, icmp, self, dyn`,
		}},
		{"long-word-cut", minimal + strings.Repeat("w", 300) + "\n", []string{
			`tayga.conf:4: unknown directive "` + strings.Repeat("w", 48) + `"…`,
		}},
		{"byte-order-mark", "\ufeff" + minimal, []string{
			`tayga.conf:1: warning: byte order mark at the start ignored: TAYGA itself does not know it`,
		}},
		{"nul-bytes", "\x7fELF\x00\x00" + minimal, []string{
			`tayga.conf:1: NUL byte: this is not a text file`,
		}},
		{"line-without-end", minimal + "#" + strings.Repeat("x", 70000), []string{
			`tayga.conf:4: line longer than 65536 characters`,
		}},
		{"prefix-bits-64-to-71", "tun-device nat64\nipv4-addr 192.0.2.1\nprefix 2001:db8:0:0:100::/96\n", []string{
			`tayga.conf:3: prefix: warning: bits 64 to 71 of 2001:db8:0:0:100::/96 are not zero, against RFC 6052 §2.2`,
		}},
		// Both would be a map of all of IPv4, which there can be only one of.
		{"prefix-bits-64-to-71-beside-another", "tun-device nat64\nipv4-addr 192.0.2.1\nprefix 2001:db8:0:0:100::/96\nprefix 2001:db8:0:0:200::/96\n", []string{
			`tayga.conf:3: prefix: warning: bits 64 to 71 of 2001:db8:0:0:100::/96 are not zero, against RFC 6052 §2.2`,
			`tayga.conf:4: prefix: warning: bits 64 to 71 of 2001:db8:0:0:200::/96 are not zero, against RFC 6052 §2.2`,
			`tayga.conf:4: prefix: 2001:db8:0:0:200::/96 cannot be used with prefix 2001:db8:0:0:100::/96 on line 3: bits 64 to 71 of both must be zero (RFC 6052 §2.2)`,
		}},
		{"map-around-link-local", minimal + "map 10.0.0.0/8 fe00::/8\n", []string{
			`tayga.conf:4: map: fe00::/8 holds fe80::/10, which no host can have`,
		}},
		{"quota", minimal + "dynamic-pool 10.0.0.0/8\ndynamic-pool-max-per-prefix 129 1\n", []string{
			`tayga.conf:5: dynamic-pool-max-per-prefix: length: "129" is not a number from 1 to 128`,
		}},
		{"quota-zero", minimal + "dynamic-pool 10.0.0.0/8\ndynamic-pool-max-per-prefix 64 0\n", []string{
			`tayga.conf:5: dynamic-pool-max-per-prefix: number of leases: "0" is not a number from 1 to 1073741824`,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, problems := read(test.text)
			var got []string
			for _, p := range problems {
				got = append(got, p.Error())
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestValues(t *testing.T) {
	for word, want := range map[string]int{"0": 0, "000": 0, "+7": 7, "07": 7, "64": 64,
		"": -1, "+": -1, "-1": -1, "65": -1, "7x": -1, " 7": -1, "0x7": -1, "99999999999999999999": -1, "+-7": -1, "++7": -1} {
		n, err := number(word, 0, 64)
		if err != nil {
			n = -1
		}
		if n != want {
			t.Errorf("number(%q) = %d, want %d", word, n, want)
		}
	}
	for word, want := range map[string]time.Duration{"1": time.Second, "7440": 7440 * time.Second, "90s": 90 * time.Second,
		"124m": 124 * time.Minute, "2h": 2 * time.Hour, "14d": 14 * 24 * time.Hour,
		"": 0, "s": 0, "0": 0, "-1": 0, "1hm": 0, "1.5h": 0, "1w": 0, "3651d": 0, "99999999999d": 0} {
		d, err := duration(word)
		if err != nil {
			d = 0
		}
		if d != want {
			t.Errorf("duration(%q) = %v, want %v", word, d, want)
		}
	}
	for word, want := range map[string]bool{"yes": true, "YES": true, "1": true, "true": true, "on": true, "no": false, "0": false, "False": false, "off": false} {
		if b, err := boolean(word); err != nil || b != want {
			t.Errorf("boolean(%q) = %v, %v", word, b, err)
		}
	}
	for word, want := range map[string]string{"no": NoStatusSocket, "off": NoStatusSocket, "yes": "", "/run/x": "/run/x",
		"x": "bad", "./x": "bad", "/" + strings.Repeat("x", 102): "/" + strings.Repeat("x", 102), "/" + strings.Repeat("x", 103): "bad"} {
		c, problems := read(minimal + "status-socket " + word + "\n")
		if problems.Failed() {
			c.StatusSocket = "bad"
		}
		if c.StatusSocket != want {
			t.Errorf("status-socket %s = %q, want %q: %v", word, c.StatusSocket, want, problems)
		}
	}
	for _, word := range []string{"9464", ":9464", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "::1:9464", "localhost:9464", "[::1]"} {
		if c, problems := read(minimal + "metrics-listen " + word + "\n"); !problems.Failed() {
			t.Errorf("metrics-listen %s = %v", word, c.MetricsListen)
		}
	}
	for _, word := range []string{"1.2.3", "01.2.3.4", "1.2.3.4%eth0", "::1", "::ffff:1.2.3.4", ""} {
		if a, err := addr4(word); err == nil {
			t.Errorf("addr4(%q) = %v", word, a)
		}
	}
	for _, word := range []string{"1.2.3.4", "fe80::1%eth0", "2001:db8::/64", ":::", ""} {
		if a, err := addr6(word); err == nil {
			t.Errorf("addr6(%q) = %v", word, a)
		}
	}
	if a, err := addr6("64:ff9b::192.0.2.1"); err != nil || a.String() != "64:ff9b::c000:201" {
		t.Errorf("addr6 of a dotted tail = %v, %v", a, err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	os.WriteFile(good, []byte(minimal), 0o644)
	if _, problems := Load(good, nil); len(problems) > 0 {
		t.Error(problems)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "absent"): filepath.Join(dir, "absent") + ": no such file or directory",
		dir:                          dir + ": is a directory",
		"/dev/zero":                  "/dev/zero: longer than 128 MiB: not a configuration file",
	} {
		_, problems := Load(path, nil)
		if len(problems) != 1 || problems[0].Error() != want || !problems.Failed() {
			t.Errorf("%s: %v", path, problems)
		}
	}
}

// A map-file is a regular file, since daemons read it again; to wait for what comes
// out of a pipe is for who has given it as tayga.conf.
func TestLoadFromAPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		pipe:        pipe + ": is not a regular file",
		"/dev/zero": "/dev/zero: is not a regular file",
		t.TempDir(): ": is a directory",
	} {
		if _, _, err := new(Config).LoadMaps(path); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	go os.WriteFile(pipe, []byte(minimal), 0)
	if _, problems := Load(pipe, nil); len(problems) > 0 {
		t.Error(problems)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) {
	return 0, &os.PathError{Op: "read", Path: "x", Err: errors.New("input/output error")}
}

func TestReadError(t *testing.T) {
	_, problems := Read(failing{}, "tayga.conf", nil)
	if len(problems) != 1 || problems[0].Error() != "tayga.conf: input/output error" {
		t.Error(problems)
	}
}

// A file given by mistake must not fill the log, and an error must be said even
// if a hundred warnings come before it.
func TestProblemsAreBounded(t *testing.T) {
	_, problems := read(strings.Repeat("what is this\n", 100_000))
	if len(problems) != maxProblems+1 {
		t.Errorf("%d problems", len(problems))
	}
	if last := problems[len(problems)-1].Error(); last != "tayga.conf: 99904 more lines like these are not shown" {
		t.Error(last)
	}

	_, problems = read(strings.Repeat("strict-frag-hdr on\n", 1000) + minimal + "oops\n")
	if !problems.Failed() {
		t.Error("the error after the warnings was lost")
	}
}

func mapLines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "map 10.%d.%d.%d 2001:db8::%x:%x\n", i>>16, i>>8&255, i&255, i>>16, i&0xffff)
	}
	return b.String()
}

// 100,000 maps are read in well under a second. The bound is for code that would
// go through all maps for each map, which takes minutes.
func TestManyMaps(t *testing.T) {
	text := mapLines(100_000)
	start := cpuTime(t)
	c, problems := read(minimal + text)
	if len(problems) > 0 || len(c.Maps) != 100_000 {
		t.Fatal(len(c.Maps), problems)
	}
	maps, problems := mustRead(t, minimal).ReadMaps(strings.NewReader(text), "maps")
	if len(problems) > 0 || maps.Len() != 100_000 {
		t.Fatal(maps.Len(), problems)
	}
	took := cpuTime(t) - start
	t.Logf("took %v", took)
	if took > time.Minute {
		t.Errorf("took %v", took)
	}
}

// TestStarts: errors in lines of the map-file keep no daemon from starting, all others do.
func TestStarts(t *testing.T) {
	for _, conf := range []struct{ text, maps string }{
		{minimal, ""}, {minimal + "map-file /maps\n", "/maps"}, {minimal + "map-file maps\ndata-dir /data\n", "/data/maps"},
	} {
		c := mustRead(t, conf.text)
		for _, test := range []struct {
			problems Problems
			want     bool
		}{
			{nil, true},
			{Problems{{File: c.File, Line: 1, Warning: true}}, true},
			{Problems{{File: c.File, Line: 1}}, false},
			{Problems{{File: conf.maps, Line: 1}}, conf.maps != ""},
			{Problems{{File: conf.maps}, {File: c.File, Directive: "map-file"}}, false},
		} {
			if got := c.Starts(test.problems); got != test.want {
				t.Errorf("%q: %+v: %v", conf.text, test.problems, got)
			}
		}
	}
}

func mustRead(t *testing.T, text string) *Config {
	t.Helper()
	c, problems := read(text)
	if problems.Failed() {
		t.Fatal(problems)
	}
	return c
}

func TestReadMaps(t *testing.T) {
	c := mustRead(t, minimal+"map 10.0.0.1 2001:db8::1\nmap 10.0.2.0/24 2001:db8:2::/120\ndynamic-pool 10.9.0.0/24\nipv6-addr 2001:db8::ff\n")
	tests := []struct {
		name, text string
		maps       []string
		problems   []string
	}{
		{"empty", "# nothing\n\n", nil, nil},
		{"good", "map 10.1.0.0/24 2001:db8:10::/120\r\n  MAP 10.1.0.7 2001:db8:7::7 # nested", []string{
			"10.1.0.0/24 2001:db8:10::/120", "10.1.0.7/32 2001:db8:7::7/128"}, nil},
		{"inside-pool-and-map", "map 10.9.0.7 2001:db8:9::7\nmap 10.0.2.9 2001:db8:2::9", []string{
			"10.9.0.7/32 2001:db8:9::7/128", "10.0.2.9/32 2001:db8:2::9/128"}, nil},
		{"bad-lines-skipped", "map 10.1.0.1 2001:db8:1::1\nmap 10.1.0.2\nprefix 2001:db8::/96\nmap 10.1.0.300 2001:db8:1::3\nmap 10.1.0.4 2001:db8:1::4", []string{
			"10.1.0.1/32 2001:db8:1::1/128", "10.1.0.4/32 2001:db8:1::4/128"}, []string{
			"maps:2: map: write an IPv4 and an IPv6 address or prefix after it, and nothing else",
			`maps:3: map: "prefix" is neither map nor stateful-map, the only directives of a map-file`,
			`maps:4: map: "10.1.0.300" is not an IPv4 address such as 192.0.2.1`}},
		{"taken", "map 10.0.0.1 2001:db8:1::1\nmap 10.1.0.1 2001:db8::1\nmap 192.168.255.1 2001:db8:1::2\nmap 10.1.0.1 2001:db8::ff\nmap 10.9.0.0/24 2001:db8:9::/120\nmap 10.1.0.1 2001:db8:1:ffff::7", nil, []string{
			"maps:1: map: 10.0.0.1/32 is taken by map in tayga.conf, line 4",
			"maps:2: map: 2001:db8::1/128 is taken by map in tayga.conf, line 4",
			"maps:3: map: 192.168.255.1/32 is taken by ipv4-addr in tayga.conf, line 2",
			"maps:4: map: 2001:db8::ff/128 is taken by ipv6-addr in tayga.conf, line 7",
			"maps:5: map: 10.9.0.0/24 is taken by dynamic-pool in tayga.conf, line 6",
			"maps:6: map: 2001:db8:1:ffff::7/128 is taken by prefix in tayga.conf, line 3"}},
		{"last-line-wins", "map 10.1.0.1 2001:db8:1::1\nmap 10.1.0.2 2001:db8:1::2\nmap 10.1.0.1 2001:db8:1::2\nmap 10.1.0.2 2001:db8:1::1", []string{
			"10.1.0.1/32 2001:db8:1::2/128", "10.1.0.2/32 2001:db8:1::1/128"}, []string{
			"maps:3: map: warning: replaces 10.1.0.1/32 2001:db8:1::1/128 on line 1",
			"maps:3: map: warning: replaces 10.1.0.2/32 2001:db8:1::2/128 on line 2"}},
		{"prefix-in-disguise", "map 0.0.0.0/0 2001:db8:64::/96", nil, []string{
			"maps:1: map: 0.0.0.0/0 2001:db8:64::/96 is a prefix: write prefix 2001:db8:64::/96 in tayga.conf"}},
		{"host-bits", "map 10.1.0.5/24 2001:db8:10::/120", []string{"10.1.0.0/24 2001:db8:10::/120"}, []string{
			"maps:1: map: warning: host bits ignored: used as 10.1.0.0/24 2001:db8:10::/120"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			maps, problems := c.ReadMaps(strings.NewReader(test.text), "maps")
			var gotMaps, gotProblems []string
			for _, m := range maps.Maps {
				gotMaps = append(gotMaps, m.Map.String())
			}
			for _, p := range problems {
				gotProblems = append(gotProblems, p.Error())
			}
			if !reflect.DeepEqual(gotMaps, test.maps) || !reflect.DeepEqual(gotProblems, test.problems) {
				t.Errorf("got\n%s\n%s", strings.Join(gotMaps, "\n"), strings.Join(gotProblems, "\n"))
			}
			// What is accepted here, the table accepts too.
			if _, err := translate.NewTable(c.Table(maps.Maps, nil)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOffload(t *testing.T) {
	for text, want := range map[string]Offload{
		"":                         {true, true, true},
		"offload auto":             {true, true, true},
		"offload YES":              {true, true, true},
		"offload no":               {},
		"offload checksum":         {Checksum: true},
		"offload tso":              {Checksum: true, TSO: true},
		"offload uso checksum":     {Checksum: true, USO: true},
		"offload TSO uso checksum": {true, true, true},
	} {
		if got := mustRead(t, minimal+text+"\n").Offload; got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

// The fast path is on by default: the daemon finds out whether the kernel has it.
func TestFastPath(t *testing.T) {
	for text, want := range map[string]bool{
		"":               true,
		"fast-path auto": true,
		"fast-path Auto": true,
		"fast-path off":  false,
		"fast-path OFF":  false,
	} {
		if got := mustRead(t, minimal+text+"\n").FastPath; got != want {
			t.Errorf("%s: %t, want %t", text, got, want)
		}
	}
}
