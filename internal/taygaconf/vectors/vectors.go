// Package vectors lists configurations with the result of each in TAYGA 0.9.2, in TAYGA
// after 0.9.6, and here. It is for tests.
package vectors

import "strings"

// An Outcome is what a program makes of a configuration.
type Outcome string

// Outcomes.
const (
	Accept Outcome = "accept"
	Warn   Outcome = "accept+w" // with a warning
	Reject Outcome = "reject"
	Crash  Outcome = "crash"
)

// Accepted reports whether the program runs.
func (o Outcome) Accepted() bool { return o == Accept || o == Warn }

// Base is the configuration to which most vectors add a line, or from which
// they take one.
var Base = []string{
	"tun-device nat64",
	"ipv4-addr 192.168.255.1",
	"prefix 2001:db8:1:ffff::/96",
}

// A Vector is one configuration.
type Vector struct {
	N    int // number, for reference in docs/compatibility.md
	Name string
	// Minus lists the lines of Base, by directive, that are left out; "all"
	// leaves out Base.
	Minus string
	// Added is what is put after it. In paths, D stands for an existing
	// directory with an empty dynamic.map, F for an empty file, and B for a
	// map-file with one good line and two bad ones. A line that begins with env
	// is for the environment.
	Added string

	Old, New Outcome // of Debian's 0.9.2-8, and of what came after 0.9.6
	Want     Outcome // ours
	Line     int     // of our first message, where there is one
	Text     string  // part of it
}

// File returns the text of the configuration, with the lines that paths stand
// for, and the environment that goes with it.
func (v *Vector) File(dir, empty, bad string) (text string, env map[string]string) {
	env = make(map[string]string)
	var lines []string
	for _, l := range Base {
		directive, _, _ := strings.Cut(l, " ")
		if v.Minus != "all" && !strings.Contains(","+v.Minus+",", ","+directive+",") {
			lines = append(lines, l)
		}
	}
	paths := strings.NewReplacer("data-dir D", "data-dir "+dir, "=D", "="+dir,
		"map-file F", "map-file "+empty, "map-file B", "map-file "+bad)
	for l := range strings.Lines(v.Added) {
		l = paths.Replace(strings.TrimSuffix(l, "\n"))
		if assignment, found := strings.CutPrefix(l, "env "); found {
			name, value, _ := strings.Cut(assignment, "=")
			env[name] = value
			continue
		}
		lines = append(lines, l)
	}
	return strings.Join(lines, "\n") + "\n", env
}

// BadMaps is a map-file with one good line and two bad ones.
const BadMaps = "map 10.9.9.9 2001:db8:9::9\nmap 10.0.0.300 2001:db8::1\nprefix 2001:db8::/96\n"

// All lists the vectors.
var All = []Vector{
	{1, "minimum-with-prefix", "", "# nothing more", Accept, Accept, Accept, 0, ""},
	{2, "keywords-fold-case", "all", "TUN-DEVICE nat64\nIpv4-Addr 192.168.255.1\nPREFIX 2001:DB8:1:FFFF::/96", Accept, Accept, Accept, 0, ""},
	{3, "blanks-crlf-remarks", "all", "\ttun-device\t nat64 \r\n  ipv4-addr 192.168.255.1 # own\r\nprefix 2001:db8:1:ffff::/96\r", Accept, Accept, Accept, 0, ""},
	{5, "unknown-directive", "", "frobnicate 1", Reject, Reject, Reject, 4, `unknown directive "frobnicate"`},
	{6, "argument-missing", "", "dynamic-pool", Reject, Reject, Reject, 4, "dynamic-pool: one word is missing"},
	{7, "argument-too-many", "", "dynamic-pool 192.168.255.0/24 extra", Reject, Reject, Reject, 4, `dynamic-pool: "extra" is one word too many`},
	{8, "line-of-509", "", "#" + strings.Repeat("x", 508) + "\n", Accept, Accept, Accept, 0, ""},
	{9, "line-of-510", "", "#" + strings.Repeat("x", 509) + "\n", Reject, Reject, Warn, 4, "line of 510 characters"},
	{10, "empty-file", "all", "", Reject, Reject, Reject, 1, "missing at the end of the file"},
	{11, "no-tun-device", "tun-device", "# c", Reject, Reject, Reject, 3, `tun-device: missing at the end of the file: add a line such as "tun-device nat64"`},
	{12, "device-name-of-15", "tun-device", "tun-device abcdefghijklmno", Accept, Accept, Accept, 0, ""},
	{13, "device-name-of-16", "tun-device", "tun-device abcdefghijklmnop", "", "", Reject, 3, "tun-device: \"abcdefghijklmnop\" is longer than 15"},
	{14, "tun-device-twice", "", "tun-device other", Reject, Reject, Reject, 4, "tun-device: given before, on line 1"},
	{15, "device-name-with-slash", "tun-device", "tun-device a/b", Reject, Reject, Reject, 3, "is no name for a device"},
	{16, "no-ipv4-addr", "ipv4-addr", "# c", Reject, Reject, Reject, 3, "ipv4-addr: missing"},
	{17, "ipv4-addr-twice", "", "ipv4-addr 10.0.0.1", Reject, Reject, Reject, 4, "ipv4-addr: given before, on line 2"},
	{18, "ipv4-addr-with-length", "ipv4-addr", "ipv4-addr 10.0.0.1/24", Reject, Reject, Reject, 3, "is not an IPv4 address"},
	{20, "ipv4-addr-in-0/8", "ipv4-addr", "ipv4-addr 0.1.2.3", Accept, Reject, Warn, 3, "lies in 0.0.0.0/8"},
	{21, "ipv4-addr-unspecified", "ipv4-addr", "ipv4-addr 0.0.0.0", Reject, Reject, Reject, 3, "0.0.0.0 is not the address of anything"},
	{22, "ipv4-addr-loopback", "ipv4-addr", "ipv4-addr 127.0.0.1", Reject, Reject, Reject, 3, "is a loopback address"},
	{23, "ipv4-addr-multicast", "ipv4-addr", "ipv4-addr 224.0.0.1", Reject, Reject, Reject, 3, "is a multicast address"},
	{24, "ipv4-addr-class-e", "ipv4-addr", "ipv4-addr 240.0.0.1", Reject, Accept, Accept, 0, ""},
	{25, "ipv4-addr-broadcast", "ipv4-addr", "ipv4-addr 255.255.255.255", Reject, Reject, Reject, 3, "is the broadcast address"},
	{27, "ipv4-addr-link-local", "ipv4-addr", "ipv4-addr 169.254.1.1\nipv6-addr 2001:db8::1", Reject, Warn, Warn, 3, "is a link-local address"},
	{29, "ipv6-addr", "", "ipv6-addr 2001:db8::1", Accept, Accept, Accept, 0, ""},
	{30, "ipv6-addr-twice", "", "ipv6-addr 2001:db8::1\nipv6-addr 2001:db8::2", Reject, Reject, Reject, 5, "ipv6-addr: given before, on line 4"},
	{32, "ipv6-addr-with-length", "", "ipv6-addr 2001:db8::1/64", Reject, Reject, Reject, 4, "is not an IPv6 address"},
	{33, "ipv6-addr-link-local", "", "ipv6-addr fe80::1", Reject, Reject, Reject, 4, "is a link-local address"},
	{34, "ipv6-addr-multicast", "", "ipv6-addr ff02::1", Reject, Reject, Reject, 4, "is a multicast address"},
	{35, "ipv6-addr-loopback", "", "ipv6-addr ::1", Reject, Reject, Reject, 4, "lies in ::/8"},
	{36, "ipv6-addr-unique-local", "", "ipv6-addr fd00::1", Accept, Accept, Accept, 0, ""},
	{37, "ipv6-addr-in-prefix", "", "ipv6-addr 2001:db8:1:ffff::9", Reject, Reject, Reject, 4, "lies inside prefix 2001:db8:1:ffff::/96, line 3"},
	{38, "ipv6-addr-in-wkp-strict", "", "ipv6-addr 64:ff9b::1", Reject, Reject, Reject, 4, "lies inside the well-known prefix"},
	{40, "wkp-private-own-address", "prefix", "prefix 64:ff9b::/96", Reject, Reject, Reject, 3, "ipv6-addr: missing: 192.168.255.1 is private"},
	{41, "wkp-private-with-ipv6-addr", "prefix", "prefix 64:ff9b::/96\nipv6-addr 2001:db8::1", Accept, Accept, Accept, 0, ""},
	{42, "wkp-not-strict", "prefix", "prefix 64:ff9b::/96\nwkpf-strict no", Reject, Accept, Accept, 0, ""},
	{43, "clatd", "prefix,ipv4-addr", "prefix 64:ff9b::/96\nipv4-addr 192.0.0.2\nmap 192.0.0.1 2001:db8:f00::464", Accept, Accept, Accept, 0, ""},
	{44, "wkp-public-own-address", "prefix,ipv4-addr", "prefix 64:ff9b::/96\nipv4-addr 198.51.99.1", Accept, Accept, Accept, 0, ""},
	{46, "ipv6-addr-in-wkp-prefix", "prefix", "prefix 64:ff9b::/96\nipv6-addr 64:ff9b::1\nwkpf-strict no", Reject, Reject, Reject, 4, "lies inside prefix 64:ff9b::/96"},
	{47, "local-use-prefix", "prefix", "prefix 64:ff9b:1::/48", Reject, Accept, Accept, 0, ""},
	{48, "prefix-32", "prefix", "prefix 2001:db8::/32", Accept, Accept, Accept, 0, ""},
	{49, "prefix-64", "prefix", "prefix 2001:db8::/64", Accept, Accept, Accept, 0, ""},
	{50, "prefix-72", "prefix", "prefix 2001:db8::/72", Reject, Reject, Reject, 3, "length 72 not allowed by RFC 6052: use 32"},
	{51, "prefix-without-length", "prefix", "prefix 2001:db8::", Reject, Reject, Reject, 3, "length missing: write 2001:db8::/LENGTH"},
	{52, "prefix-host-bits", "prefix", "prefix 2001:db8::1/96", Reject, Reject, Reject, 3, "did you mean 2001:db8::/96?"},
	{54, "prefix-trailing-text", "prefix", "prefix 2001:db8::/96x", Reject, Reject, Reject, 3, `length "96x"`},
	{55, "prefix-second", "", "prefix 2001:db8:2::/96", Reject, Reject, Accept, 0, ""},
	{56, "prefix-link-local", "prefix", "prefix fe80::/64", Reject, Reject, Reject, 3, "is a link-local address"},
	{57, "prefix-ipv4-mapped", "prefix", "prefix ::ffff:0:0/96", Reject, Reject, Reject, 3, "lies in ::/8"},
	{59, "map-only", "prefix", "map 10.0.0.1 2001:db8::1", Reject, Reject, Reject, 3, "ipv6-addr: missing"},
	{60, "map-and-ipv6-addr", "prefix", "map 10.0.0.1 2001:db8::1\nipv6-addr 2001:db8::2", Accept, Accept, Accept, 0, ""},
	{61, "map-subnet", "", "map 10.0.0.0/24 2001:db8::/120", Accept, Accept, Accept, 0, ""},
	{62, "map-unequal-suffixes", "", "map 10.0.0.0/24 2001:db8::/64", Reject, Reject, Accept, 0, ""},
	{63, "map-without-room", "", "map 10.0.0.0/24 2001:db8::", Reject, Reject, Reject, 4, "8 bits after 10.0.0.0/24 do not fit the 0 bits"},
	{64, "map-host-bits", "", "map 10.0.0.5/24 2001:db8::5/120", Accept, Accept, Warn, 4, "used as 10.0.0.0/24 2001:db8::/120"},
	{66, "map-negative-length", "", "map 10.0.0.1/-1 2001:db8::/95", Reject, Reject, Reject, 4, `length "-1" of 10.0.0.1`},
	{67, "map-trailing-text", "", "map 10.0.0.0/24x 2001:db8::/120y", Accept, Accept, Reject, 4, `length "24x"`},
	{68, "map-as-prefix", "prefix", "map 0.0.0.0/0 2001:db8:2::/96\nipv6-addr 2001:db8:f::1", Accept, Reject, Accept, 0, ""},
	{70, "map-link-local", "", "map 169.254.0.1 2001:db8::1", Reject, Warn, Warn, 4, "is a link-local address"},
	{71, "map-loopback", "", "map 127.0.0.1 2001:db8::1", Reject, Reject, Reject, 4, "is a loopback address"},
	{72, "map-ipv6-link-local", "", "map 10.0.0.1 fe80::1", Reject, Reject, Reject, 4, "is a link-local address"},
	{73, "map-local-use", "", "map 10.0.0.1 64:ff9b:1::1", Reject, Accept, Accept, 0, ""},
	{75, "map-in-prefix", "", "map 10.0.0.1 2001:db8:1:ffff::1", Reject, Reject, Reject, 4, "2001:db8:1:ffff::1/128 is taken by prefix on line 3"},
	{76, "map-same-ipv4", "", "map 10.0.0.1 2001:db8::1\nmap 10.0.0.1 2001:db8::2", Reject, Reject, Reject, 5, "10.0.0.1/32 is taken by map on line 4"},
	{78, "map-nested-ipv4", "", "map 10.0.0.0/24 2001:db8::/120\nmap 10.0.0.1 2001:db9::1", Accept, Accept, Accept, 0, ""},
	{79, "map-nested-ipv6", "", "map 10.0.0.0/24 2001:db8::/120\nmap 10.0.1.1 2001:db8::1", Reject, Reject, Accept, 0, ""},
	{80, "map-own-ipv4", "", "map 192.168.255.1 2001:db8::1", Reject, Reject, Reject, 4, "192.168.255.1/32 is taken by ipv4-addr on line 2"},
	{82, "ipv6-addr-in-map", "", "map 10.0.1.0/24 2001:db8:f::/120\nipv6-addr 2001:db8:f::1", Reject, Reject, Accept, 0, ""},
	{83, "pool-around-own-address", "", "dynamic-pool 192.168.255.0/24", Accept, Accept, Accept, 0, ""},
	{85, "pool-32", "", "dynamic-pool 10.0.0.0/32", Reject, Reject, Reject, 4, "length 32 leaves no address"},
	{86, "pool-host-bits", "", "dynamic-pool 10.0.0.1/24", Reject, Reject, Reject, 4, "did you mean 10.0.0.0/24?"},
	{87, "pool-second", "", "dynamic-pool 10.0.0.0/24\ndynamic-pool 10.0.1.0/24", Reject, Reject, Accept, 0, ""},
	{88, "pool-same-as-map", "", "dynamic-pool 10.0.0.0/24\nmap 10.0.0.0/24 2001:db8::/120", Reject, Reject, Reject, 5, "map: 10.0.0.0/24 is taken by dynamic-pool on line 4"},
	{89, "map-in-pool", "", "map 10.0.0.4 2001:db8::4\ndynamic-pool 10.0.0.0/24", Accept, Accept, Accept, 0, ""},
	{90, "pool-0/8", "", "dynamic-pool 0.0.0.0/8", Accept, Reject, Warn, 4, "lies in 0.0.0.0/8"},
	{91, "pool-link-local", "", "dynamic-pool 169.254.0.0/16", Reject, Warn, Warn, 4, "is a link-local address"},
	{93, "data-dir-twice", "", "data-dir D\ndata-dir D", Reject, Reject, Reject, 5, "data-dir: given before, on line 4"},
	{94, "strict-frag-hdr", "", "strict-frag-hdr on", Accept, Warn, Warn, 4, "has no effect"},
	{96, "wkpf-strict-off", "", "wkpf-strict off", Reject, Accept, Accept, 0, ""},
	{97, "wkpf-strict-last-wins", "", "wkpf-strict no\nwkpf-strict yes", Reject, Accept, Accept, 0, ""},
	{98, "wkpf-strict-maybe", "", "wkpf-strict maybe", Reject, Reject, Reject, 4, `"maybe" is neither yes nor no`},
	{100, "udp-cksum-mode", "", "udp-cksum-mode forward", Reject, Accept, Accept, 0, ""},
	{101, "udp-cksum-mode-unknown", "", "udp-cksum-mode none", Reject, Reject, Reject, 4, "is none of drop, calc, fwd"},
	{102, "log", "", "log drop reject icmp self dyn", Reject, Accept, Accept, 0, ""},
	{104, "log-unknown", "", "log all", Reject, Reject, Reject, 4, `"all" is none of drop, reject, icmp, self, dyn`},
	{105, "log-twice", "", "log drop\nlog reject", Reject, Reject, Reject, 5, "log: given before, on line 4"},
	{107, "offlink-mtu-small", "", "offlink-mtu 1279", Reject, Reject, Reject, 4, "is not a number from 1280 to 65535"},
	{108, "offlink-mtu", "", "offlink-mtu 1280", Reject, Accept, Accept, 0, ""},
	{109, "offlink-mtu-large", "", "offlink-mtu 65536", Reject, Reject, Reject, 4, "is not a number from 1280 to 65535"},
	{111, "offlink-mtu-twice", "", "offlink-mtu 1400\nofflink-mtu 1400", Reject, Reject, Reject, 5, "offlink-mtu: given before"},
	{112, "workers-0", "", "workers 0", Reject, Accept, Accept, 0, ""},
	{113, "workers-64", "", "workers 64", Reject, Accept, Accept, 0, ""},
	{114, "workers-65", "", "workers 65", Reject, Reject, Reject, 4, "is not a number from 0 to 64"},
	{116, "tun-up", "", "tun-up yes", Reject, Accept, Accept, 0, ""},
	{117, "tun-up-up", "", "tun-up up", Reject, Reject, Warn, 4, "up taken for yes"},
	{118, "tun-addresses-and-routes", "", "tun-up yes\ntun-ip 192.0.0.1/29\ntun-ip 2001:db8:5::1/64\ntun-route 10.0.0.0/8\ntun-route 2001:db8:1:ffff::/96", Reject, Accept, Accept, 0, ""},
	{119, "tun-route-host-bits", "", "tun-up yes\ntun-route 10.0.0.1/8", Reject, Reject, Reject, 5, "did you mean 10.0.0.0/8?"},
	// The kernel refuses a route for a device that is down: see TestTunRouteDown
	// in cmd/tayga.
	{121, "tun-route-without-tun-up", "", "tun-route 10.0.0.0/8", Reject, Reject, Warn, 4, "only for a device that is up"},
	{122, "tun-ip-without-tun-up", "", "tun-ip 192.0.0.1/29", Reject, Accept, Accept, 0, ""},
	{123, "tun-ip-length", "", "tun-up yes\ntun-ip 192.0.0.1/33", Reject, Reject, Reject, 5, `length "33" of 192.0.0.1`},
	{124, "map-file-absent", "", "map-file /nonexistent", Reject, Reject, Reject, 0, "no such file or directory"},
	{125, "map-file", "", "map-file F", Reject, Accept, Accept, 0, ""},
	{126, "map-file-bad-lines", "", "map-file B", Reject, Warn, Warn, 2, "map:"},
	{127, "map-file-alone", "prefix", "map-file F\nipv6-addr 2001:db8:f::1", Reject, Reject, Accept, 0, ""},
	{129, "state-directories", "", "dynamic-pool 192.168.255.0/24\nenv STATE_DIRECTORY=D:/B", Accept, Accept, Warn, 4, `only the first of several directories in STATE_DIRECTORY is used: `},
	{130, "state-directory-relative", "", "dynamic-pool 192.168.255.0/24\nenv STATE_DIRECTORY=relative", Accept, Reject, Reject, 4, "is not an absolute path"},
	{131, "data-dir-without-pool", "", "data-dir D", Accept, Crash, Accept, 0, ""},
	{132, "sandbox-no", "", "sandbox no", Reject, Reject, Accept, 0, ""},
	{133, "sandbox-auto", "", "sandbox AUTO", Reject, Reject, Accept, 0, ""},
	{134, "sandbox-yes", "", "sandbox yes", Reject, Reject, Reject, 4, `sandbox: "yes" is none of auto, no`},
	{135, "pool-via", "", "prefix 2001:db8:b::/96\ndynamic-pool 10.0.0.0/24\ndynamic-pool 10.0.1.0/24 via 2001:db8:b::/96", Reject, Reject, Accept, 0, ""},
	{136, "pool-via-before-prefix", "", "dynamic-pool 10.0.1.0/24 via 2001:db8:b::/96\nprefix 2001:db8:b::/96", Reject, Reject, Accept, 0, ""},
	{137, "pool-via-unknown", "", "dynamic-pool 10.0.1.0/24 via 2001:db8:b::/96", Reject, Reject, Reject, 4, "via 2001:db8:b::/96: there is no such prefix"},
	{138, "fast-path", "", "fast-path Auto", Reject, Reject, Accept, 0, ""},
	{139, "fast-path-off", "", "fast-path off", Reject, Reject, Accept, 0, ""},
	{140, "fast-path-on", "", "fast-path on", Reject, Reject, Reject, 4, `fast-path: "on" is none of auto, off`},
	{141, "fast-path-twice", "", "fast-path off\nfast-path auto", Reject, Reject, Reject, 5, "fast-path: given before, on line 4"},
	{160, "embedded-source", "", "embedded-source drop", Reject, Reject, Accept, 0, ""},
	{161, "embedded-source-of-a-prefix", "", "embedded-source FORWARD\nprefix 2001:db8:b::/96\nembedded-source drop 2001:db8:b::/96", Reject, Reject, Accept, 0, ""},
	{162, "embedded-source-unknown", "", "embedded-source no", Reject, Reject, Reject, 4, `embedded-source: "no" is none of drop, forward`},
	{163, "embedded-source-no-prefix", "", "embedded-source drop 2001:db8:b::/96", Reject, Reject, Reject, 4, "embedded-source: there is no prefix 2001:db8:b::/96"},
	{164, "tos", "", "tos 0\ntraffic-class copy", Reject, Reject, Accept, 0, ""},
	{165, "tos-large", "", "tos 256", Reject, Reject, Reject, 4, `tos: "256" is neither copy nor a number from 0 to 255`},
	{166, "flow-labels", "", "flow-labels yes", Reject, Reject, Accept, 0, ""},
	{167, "tcp-mss-clamp", "", "tcp-mss-clamp Auto", Reject, Reject, Accept, 0, ""},
	{168, "tcp-mss-clamp-small", "", "tcp-mss-clamp 535", Reject, Reject, Reject, 4, `tcp-mss-clamp: "535" is not a number from 536 to 65535, nor auto or off`},
	{169, "tcp-mss-clamp-twice", "", "tcp-mss-clamp off\ntcp-mss-clamp 1220", Reject, Reject, Reject, 5, "tcp-mss-clamp: given before, on line 4"},
	{170, "icmp-rate", "", "icmp-rate 10 10\nicmp-mtu-rate unlimited", Reject, Reject, Accept, 0, ""},
	{171, "icmp-rate-none", "", "icmp-rate 0", Reject, Reject, Reject, 4, `icmp-rate: rate: "0" is not a number from 1 to 1000000, nor off or unlimited`},
	{172, "icmp-mtu-rate-off", "", "icmp-rate off\nicmp-mtu-rate off", Reject, Reject, Warn, 5, "connections stall"},
	{173, "loop-check", "", "loop-check yes", Reject, Reject, Accept, 0, ""},
	{174, "loop-check-of-a-prefix", "", "loop-check no\nprefix 2001:db8:b::/96\nloop-check yes 2001:db8:b::/96", Reject, Reject, Accept, 0, ""},
	{175, "loop-check-unknown", "", "loop-check drop", Reject, Reject, Reject, 4, `loop-check: "drop" is neither yes nor no`},
	{176, "loop-check-no-prefix", "", "loop-check yes 2001:db8:b::/96", Reject, Reject, Reject, 4, "loop-check: there is no prefix 2001:db8:b::/96"},
	{180, "pool-refresh", "", "dynamic-pool 192.168.255.0/24\ndynamic-pool-refresh outbound", Reject, Reject, Accept, 0, ""},
	{181, "pool-refresh-unknown", "", "dynamic-pool 192.168.255.0/24\ndynamic-pool-refresh inbound", Reject, Reject, Reject, 5, `dynamic-pool-refresh: "inbound" is none of both, outbound`},
	{182, "pool-refresh-without-pool", "", "dynamic-pool-refresh outbound", Reject, Reject, Warn, 4, "has no effect without a dynamic-pool"},
	{190, "wkp-shared-own-address", "prefix,ipv4-addr", "prefix 64:ff9b::/96\nipv4-addr 100.64.0.1", Accept, Reject, Warn, 3, "64:ff9b::/96 is not for addresses such as 100.64.0.1 (RFC 6598)"},
	{191, "ipv4-addr-link-local-alone", "ipv4-addr", "ipv4-addr 169.254.1.1", Reject, Reject, Reject, 3, "is a link-local address"},
	{192, "wkp-ipv4-addr-link-local-alone", "prefix,ipv4-addr", "ipv4-addr 169.254.1.1\nprefix 64:ff9b::/96", Reject, Reject, Reject, 2, "is a link-local address"},
	{193, "map-holds-reserved", "", "map 0.0.0.0/1 2001:db8:7::/97", Accept, Reject, Warn, 4, "0.0.0.0/1 holds 0.0.0.0/8 and 127.0.0.0/8"},
	{194, "map-holds-loopback", "", "map 126.0.0.0/7 2001:db8:7::/103", Accept, Accept, Warn, 4, "126.0.0.0/7 holds 127.0.0.0/8"},
	{195, "map-unspecified", "", "map 0.0.0.0 2001:db8:7::1", Accept, Reject, Warn, 4, "lies in 0.0.0.0/8"},
	{196, "pool-holds-loopback", "", "dynamic-pool 126.0.0.0/7", Accept, Accept, Warn, 4, "126.0.0.0/7 holds 127.0.0.0/8"},
	{197, "pool-too-large", "", "dynamic-pool 64.0.0.0/3", Accept, Accept, Warn, 4, "64.0.0.0/3 is too large: only 64.0.0.0/4 of it is given out"},
	{200, "stateful-pool", "", "stateful-pool 203.0.113.1", Reject, Reject, Accept, 0, ""},
	{201, "stateful-pool-own-address", "", "stateful-pool 192.168.255.1 1024-32767", Reject, Reject, Accept, 0, ""},
	{202, "stateful-pool-via", "", "prefix 2001:db8:b::/96\nstateful-pool 203.0.113.0/28 via 2001:db8:b::/96", Reject, Reject, Accept, 0, ""},
	{203, "stateful-pool-ports", "", "stateful-pool 203.0.113.1 5000-4000", Reject, Reject, Reject, 4, "stateful-pool: ports 5000-4000: the lower one goes first"},
	{204, "stateful-pool-in-map", "", "map 203.0.113.0/24 2001:db8:7::/120\nstateful-pool 203.0.113.1", Reject, Reject, Reject, 5, "stateful-pool: 203.0.113.1/32 overlaps map 203.0.113.0/24 on line 4"},
	{205, "stateful-pool-in-dynamic-pool", "", "dynamic-pool-clients 2001:db8:7::/64\nstateful-pool 203.0.113.1\ndynamic-pool 203.0.113.0/24", Reject, Reject, Reject, 6, "dynamic-pool: 203.0.113.0/24 overlaps stateful-pool 203.0.113.1/32 on line 5"},
	{206, "stateful-pools-overlap", "", "stateful-pool 203.0.113.0/30\nstateful-pool 203.0.113.1", Reject, Reject, Reject, 5, "stateful-pool: 203.0.113.1/32 overlaps stateful-pool 203.0.113.0/30 on line 4"},
	{207, "stateful-pool-no-client", "", "dynamic-pool 10.0.0.0/24\nstateful-pool 203.0.113.1", Reject, Reject, Warn, 5, "no host shares 203.0.113.1/32"},
	{208, "stateful-pool-embedded-source", "", "stateful-pool 203.0.113.1\nembedded-source forward", Reject, Reject, Reject, 5, "embedded-source: forward on line 5"},
	{209, "stateful-map", "", "stateful-pool 203.0.113.1\nstateful-map tcp 203.0.113.1:80 [2001:db8:7::7]:80", Reject, Reject, Accept, 0, ""},
	{210, "stateful-map-outside", "", "stateful-pool 203.0.113.1\nstateful-map tcp 203.0.113.2:80 [2001:db8:7::7]:80", Reject, Reject, Reject, 5, "stateful-map: 203.0.113.2 is in no stateful-pool"},
	{211, "stateful-map-twice", "", "stateful-pool 203.0.113.1\nstateful-map tcp 203.0.113.1:80 [2001:db8:7::7]:80\nstateful-map tcp 203.0.113.1:80 [2001:db8:7::8]:80", Reject, Reject, Reject, 6, "stateful-map: 203.0.113.1:80 is taken by stateful-map on line 5"},
	{212, "stateful-map-no-host", "", "stateful-pool 203.0.113.1\nstateful-map tcp 203.0.113.1:80 [ff02::1]:80", Reject, Reject, Reject, 5, "stateful-map: ff02::1 is a multicast address"},
	{213, "stateful-options", "", "stateful-pool 203.0.113.1\nstateful-filter address-dependent\nstateful-timeout udp 120\nstateful-timeout tcp 2h4m", Reject, Reject, Reject, 7, `stateful-timeout: "2h4m" is not a time`},
	{214, "stateful-limits", "", "stateful-pool 203.0.113.1\nstateful-clients 2001:db8:7::/48\nstateful-max-sessions 1000\nstateful-max-per-prefix 64 100\nstateful-max-held-syns 0\nstateful-port-block 512\nstateful-log blocks", Reject, Reject, Accept, 0, ""},
	{215, "stateful-timeout-short", "", "stateful-pool 203.0.113.1\nstateful-timeout udp 119", Reject, Reject, Reject, 5, "stateful-timeout: udp: 1m59s is less than 2m0s"},
	{216, "stateful-without-pool", "", "stateful-filter address-dependent", Reject, Reject, Reject, 4, "stateful-filter: there is no stateful-pool"},
	{220, "clat", "all", "clat yes", Reject, Reject, Accept, 0, ""},
	{221, "clat-all", "all", "clat on\nclat-uplink eth0\nclat-address Own\nclat-resolver 2001:db8::53 127.0.0.1:5353\nclat-share 172.17.0.0/16 192.168.122.0/24\nclat-inbound yes\nprefix 2001:db8:64::/56\ntun-device clat0\nipv4-addr 192.0.0.3", Reject, Reject, Accept, 0, ""},
	{222, "clat-no", "", "clat no", Reject, Reject, Accept, 0, ""},
	{223, "clat-word", "", "clat auto", Reject, Reject, Reject, 4, `clat: "auto" is neither yes nor no`},
	{224, "clat-without", "", "clat-inbound yes", Reject, Reject, Warn, 4, "has no effect without a line"},
	{225, "clat-map", "all", "clat yes\nmap 192.0.0.1 2001:db8::464", Reject, Reject, Reject, 2, "map: cannot be given with clat: a CLAT makes its only map itself"},
	{226, "clat-pool", "all", "dynamic-pool 10.0.0.0/24\nclat yes", Reject, Reject, Reject, 1, "dynamic-pool: cannot be given with clat"},
	{227, "clat-stateful", "all", "clat yes\nstateful-pool 192.0.2.1", Reject, Reject, Reject, 2, "stateful-pool: cannot be given with clat"},
	{228, "clat-tun-up", "all", "clat yes\ntun-up yes", Reject, Reject, Reject, 2, "tun-up: cannot be given with clat: a CLAT sets up its device itself"},
	{229, "clat-two-prefixes", "all", "clat yes\nprefix 64:ff9b::/96\nprefix 2001:db8:64::/96", Reject, Reject, Reject, 3, "prefix: a CLAT has one prefix, which is 64:ff9b::/96, line 2"},
	{230, "clat-address", "all", "clat yes\nclat-address fe80::1", Reject, Reject, Reject, 2, "clat-address: fe80::1 is a link-local address"},
	{231, "clat-address-in-prefix", "all", "clat yes\nclat-address 2001:db8:64::464\nprefix 2001:db8:64::/96", Reject, Reject, Reject, 3, "clat-address: 2001:db8:64::464 lies inside prefix 2001:db8:64::/96, line 3"},
	{232, "clat-resolver", "all", "clat yes\nclat-resolver dns.example", Reject, Reject, Reject, 2, `clat-resolver: "dns.example" is not an address such as 2001:db8::53`},
	{233, "clat-share", "all", "clat yes\nclat-share 192.0.0.0/24", Reject, Reject, Reject, 2, "clat-share: 192.0.0.0/24 overlaps 192.0.0.0/29"},
	{234, "clat-uplink", "all", "clat yes\nclat-uplink clat", Reject, Reject, Reject, 2, "clat-uplink: clat is the device of the CLAT itself"},
}
