package taygaconf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a configuration comes to.
const (
	accept = "accept"
	warned = "accept+w"
	reject = "reject"
)

// base is the configuration to which most vectors add a line, or from which
// they take one.
var base = []string{
	"tun-device nat64",
	"ipv4-addr 192.168.255.1",
	"prefix 2001:db8:1:ffff::/96",
}

// vectors tell which configurations are accepted. The numbers are those of
// docs/compatibility.md. Minus lists lines of base, by directive, that are left
// out; "all" leaves out base. D and F in a file stand for an existing directory
// and an existing empty file; loads is false for what only the system can
// refuse, when the daemon starts.
var vectors = []struct {
	n     int
	name  string
	minus string
	added string
	want  string
	line  int    // of the first problem, where there is one
	text  string // part of it
}{
	{1, "minimum-with-prefix", "", "# nothing more", accept, 0, ""},
	{2, "keywords-fold-case", "all", "TUN-DEVICE nat64\nIpv4-Addr 192.168.255.1\nPREFIX 2001:DB8:1:FFFF::/96", accept, 0, ""},
	{3, "blanks-crlf-remarks", "all", "\ttun-device\t nat64 \r\n  ipv4-addr 192.168.255.1 # own\r\nprefix 2001:db8:1:ffff::/96\r", accept, 0, ""},
	{5, "unknown-directive", "", "frobnicate 1", reject, 4, `unknown directive "frobnicate"`},
	{6, "argument-missing", "", "dynamic-pool", reject, 4, "dynamic-pool: one word is missing"},
	{7, "argument-too-many", "", "dynamic-pool 192.168.255.0/24 extra", reject, 4, `dynamic-pool: "extra" is one word too many`},
	{8, "line-of-509", "", "#" + strings.Repeat("x", 508) + "\n", accept, 0, ""},
	{9, "line-of-510", "", "#" + strings.Repeat("x", 509) + "\n", warned, 4, "line of 510 characters"},
	{10, "empty-file", "all", "", reject, 1, "missing at the end of the file"},
	{11, "no-tun-device", "tun-device", "# c", reject, 3, `tun-device: missing at the end of the file: add a line such as "tun-device nat64"`},
	{12, "device-name-of-15", "tun-device", "tun-device abcdefghijklmno", accept, 0, ""},
	{13, "device-name-of-16", "tun-device", "tun-device abcdefghijklmnop", reject, 3, "tun-device: \"abcdefghijklmnop\" is longer than 15"},
	{14, "tun-device-twice", "", "tun-device other", reject, 4, "tun-device: given before, on line 1"},
	{15, "device-name-with-slash", "tun-device", "tun-device a/b", reject, 3, "is no name for a device"},
	{16, "no-ipv4-addr", "ipv4-addr", "# c", reject, 3, "ipv4-addr: missing"},
	{17, "ipv4-addr-twice", "", "ipv4-addr 10.0.0.1", reject, 4, "ipv4-addr: given before, on line 2"},
	{18, "ipv4-addr-with-length", "ipv4-addr", "ipv4-addr 10.0.0.1/24", reject, 3, "is not an IPv4 address"},
	{20, "ipv4-addr-in-0/8", "ipv4-addr", "ipv4-addr 0.1.2.3", warned, 3, "lies in 0.0.0.0/8"},
	{21, "ipv4-addr-unspecified", "ipv4-addr", "ipv4-addr 0.0.0.0", reject, 3, "0.0.0.0 is not the address of anything"},
	{22, "ipv4-addr-loopback", "ipv4-addr", "ipv4-addr 127.0.0.1", reject, 3, "is a loopback address"},
	{23, "ipv4-addr-multicast", "ipv4-addr", "ipv4-addr 224.0.0.1", reject, 3, "is a multicast address"},
	{24, "ipv4-addr-class-e", "ipv4-addr", "ipv4-addr 240.0.0.1", accept, 0, ""},
	{25, "ipv4-addr-broadcast", "ipv4-addr", "ipv4-addr 255.255.255.255", reject, 3, "is the broadcast address"},
	{27, "ipv4-addr-link-local", "ipv4-addr", "ipv4-addr 169.254.1.1\nipv6-addr 2001:db8::1", warned, 3, "is a link-local address"},
	{29, "ipv6-addr", "", "ipv6-addr 2001:db8::1", accept, 0, ""},
	{30, "ipv6-addr-twice", "", "ipv6-addr 2001:db8::1\nipv6-addr 2001:db8::2", reject, 5, "ipv6-addr: given before, on line 4"},
	{32, "ipv6-addr-with-length", "", "ipv6-addr 2001:db8::1/64", reject, 4, "is not an IPv6 address"},
	{33, "ipv6-addr-link-local", "", "ipv6-addr fe80::1", reject, 4, "is a link-local address"},
	{34, "ipv6-addr-multicast", "", "ipv6-addr ff02::1", reject, 4, "is a multicast address"},
	{35, "ipv6-addr-loopback", "", "ipv6-addr ::1", reject, 4, "lies in ::/8"},
	{36, "ipv6-addr-unique-local", "", "ipv6-addr fd00::1", accept, 0, ""},
	{37, "ipv6-addr-in-prefix", "", "ipv6-addr 2001:db8:1:ffff::9", reject, 4, "lies inside prefix 2001:db8:1:ffff::/96, line 3"},
	{38, "ipv6-addr-in-wkp-strict", "", "ipv6-addr 64:ff9b::1", reject, 4, "lies inside the well-known prefix"},
	{40, "wkp-private-own-address", "prefix", "prefix 64:ff9b::/96", reject, 3, "ipv6-addr: missing: 192.168.255.1 is private"},
	{41, "wkp-private-with-ipv6-addr", "prefix", "prefix 64:ff9b::/96\nipv6-addr 2001:db8::1", accept, 0, ""},
	{42, "wkp-not-strict", "prefix", "prefix 64:ff9b::/96\nwkpf-strict no", accept, 0, ""},
	{43, "clatd", "prefix,ipv4-addr", "prefix 64:ff9b::/96\nipv4-addr 192.0.0.2\nmap 192.0.0.1 2001:db8:f00::464", accept, 0, ""},
	{44, "wkp-public-own-address", "prefix,ipv4-addr", "prefix 64:ff9b::/96\nipv4-addr 198.51.99.1", accept, 0, ""},
	{46, "ipv6-addr-in-wkp-prefix", "prefix", "prefix 64:ff9b::/96\nipv6-addr 64:ff9b::1\nwkpf-strict no", reject, 4, "lies inside prefix 64:ff9b::/96"},
	{47, "local-use-prefix", "prefix", "prefix 64:ff9b:1::/48", accept, 0, ""},
	{48, "prefix-32", "prefix", "prefix 2001:db8::/32", accept, 0, ""},
	{49, "prefix-64", "prefix", "prefix 2001:db8::/64", accept, 0, ""},
	{50, "prefix-72", "prefix", "prefix 2001:db8::/72", reject, 3, "length 72 not allowed by RFC 6052: use 32"},
	{51, "prefix-without-length", "prefix", "prefix 2001:db8::", reject, 3, "length missing: write 2001:db8::/LENGTH"},
	{52, "prefix-host-bits", "prefix", "prefix 2001:db8::1/96", reject, 3, "did you mean 2001:db8::/96?"},
	{54, "prefix-trailing-text", "prefix", "prefix 2001:db8::/96x", reject, 3, `length "96x"`},
	{55, "prefix-second", "", "prefix 2001:db8:2::/96", accept, 0, ""},
	{56, "prefix-link-local", "prefix", "prefix fe80::/64", reject, 3, "is a link-local address"},
	{57, "prefix-ipv4-mapped", "prefix", "prefix ::ffff:0:0/96", reject, 3, "lies in ::/8"},
	{59, "map-only", "prefix", "map 10.0.0.1 2001:db8::1", reject, 3, "ipv6-addr: missing"},
	{60, "map-and-ipv6-addr", "prefix", "map 10.0.0.1 2001:db8::1\nipv6-addr 2001:db8::2", accept, 0, ""},
	{61, "map-subnet", "", "map 10.0.0.0/24 2001:db8::/120", accept, 0, ""},
	{62, "map-unequal-suffixes", "", "map 10.0.0.0/24 2001:db8::/64", accept, 0, ""},
	{63, "map-without-room", "", "map 10.0.0.0/24 2001:db8::", reject, 4, "8 bits behind 10.0.0.0/24 do not fit the 0 bits"},
	{64, "map-host-bits", "", "map 10.0.0.5/24 2001:db8::5/120", warned, 4, "taken for 10.0.0.0/24 2001:db8::/120"},
	{66, "map-negative-length", "", "map 10.0.0.1/-1 2001:db8::/95", reject, 4, `length "-1" of 10.0.0.1`},
	{67, "map-trailing-text", "", "map 10.0.0.0/24x 2001:db8::/120y", reject, 4, `length "24x"`},
	{68, "map-as-prefix", "prefix", "map 0.0.0.0/0 2001:db8:2::/96\nipv6-addr 2001:db8:f::1", accept, 0, ""},
	{70, "map-link-local", "", "map 169.254.0.1 2001:db8::1", warned, 4, "is a link-local address"},
	{71, "map-loopback", "", "map 127.0.0.1 2001:db8::1", reject, 4, "is a loopback address"},
	{72, "map-ipv6-link-local", "", "map 10.0.0.1 fe80::1", reject, 4, "is a link-local address"},
	{73, "map-local-use", "", "map 10.0.0.1 64:ff9b:1::1", accept, 0, ""},
	{75, "map-in-prefix", "", "map 10.0.0.1 2001:db8:1:ffff::1", reject, 4, "2001:db8:1:ffff::1/128 is taken by prefix on line 3"},
	{76, "map-same-ipv4", "", "map 10.0.0.1 2001:db8::1\nmap 10.0.0.1 2001:db8::2", reject, 5, "10.0.0.1/32 is taken by map on line 4"},
	{78, "map-nested-ipv4", "", "map 10.0.0.0/24 2001:db8::/120\nmap 10.0.0.1 2001:db9::1", accept, 0, ""},
	{79, "map-nested-ipv6", "", "map 10.0.0.0/24 2001:db8::/120\nmap 10.0.1.1 2001:db8::1", accept, 0, ""},
	{80, "map-own-ipv4", "", "map 192.168.255.1 2001:db8::1", reject, 4, "192.168.255.1/32 is taken by ipv4-addr on line 2"},
	{82, "ipv6-addr-in-map", "", "map 10.0.1.0/24 2001:db8:f::/120\nipv6-addr 2001:db8:f::1", accept, 0, ""},
	{83, "pool-around-own-address", "", "dynamic-pool 192.168.255.0/24", accept, 0, ""},
	{85, "pool-32", "", "dynamic-pool 10.0.0.0/32", reject, 4, "length 32 leaves no address"},
	{86, "pool-host-bits", "", "dynamic-pool 10.0.0.1/24", reject, 4, "did you mean 10.0.0.0/24?"},
	{87, "pool-second", "", "dynamic-pool 10.0.0.0/24\ndynamic-pool 10.0.1.0/24", accept, 0, ""},
	{88, "pool-same-as-map", "", "dynamic-pool 10.0.0.0/24\nmap 10.0.0.0/24 2001:db8::/120", reject, 5, "map: 10.0.0.0/24 is taken by dynamic-pool on line 4"},
	{89, "map-in-pool", "", "map 10.0.0.4 2001:db8::4\ndynamic-pool 10.0.0.0/24", accept, 0, ""},
	{90, "pool-0/8", "", "dynamic-pool 0.0.0.0/8", warned, 4, "lies in 0.0.0.0/8"},
	{91, "pool-link-local", "", "dynamic-pool 169.254.0.0/16", warned, 4, "is a link-local address"},
	{93, "data-dir-twice", "", "data-dir D\ndata-dir D", reject, 5, "data-dir: given before, on line 4"},
	{94, "strict-frag-hdr", "", "strict-frag-hdr on", warned, 4, "has no effect"},
	{96, "wkpf-strict-off", "", "wkpf-strict off", accept, 0, ""},
	{97, "wkpf-strict-last-wins", "", "wkpf-strict no\nwkpf-strict yes", accept, 0, ""},
	{98, "wkpf-strict-maybe", "", "wkpf-strict maybe", reject, 4, `"maybe" is neither yes nor no`},
	{100, "udp-cksum-mode", "", "udp-cksum-mode forward", accept, 0, ""},
	{101, "udp-cksum-mode-unknown", "", "udp-cksum-mode none", reject, 4, "is none of drop, calc, fwd"},
	{102, "log", "", "log drop reject icmp self dyn", accept, 0, ""},
	{104, "log-unknown", "", "log all", reject, 4, `"all" is none of drop, reject, icmp, self, dyn`},
	{105, "log-twice", "", "log drop\nlog reject", reject, 5, "log: given before, on line 4"},
	{107, "offlink-mtu-small", "", "offlink-mtu 1279", reject, 4, "is not a number from 1280 to 65535"},
	{108, "offlink-mtu", "", "offlink-mtu 1280", accept, 0, ""},
	{109, "offlink-mtu-large", "", "offlink-mtu 65536", reject, 4, "is not a number from 1280 to 65535"},
	{111, "offlink-mtu-twice", "", "offlink-mtu 1400\nofflink-mtu 1400", reject, 5, "offlink-mtu: given before"},
	{112, "workers-0", "", "workers 0", accept, 0, ""},
	{113, "workers-64", "", "workers 64", accept, 0, ""},
	{114, "workers-65", "", "workers 65", reject, 4, "is not a number from 0 to 64"},
	{116, "tun-up", "", "tun-up yes", accept, 0, ""},
	{117, "tun-up-up", "", "tun-up up", warned, 4, "up taken for yes"},
	{118, "tun-addresses-and-routes", "", "tun-up yes\ntun-ip 192.0.0.1/29\ntun-ip 2001:db8:5::1/64\ntun-route 10.0.0.0/8\ntun-route 2001:db8:1:ffff::/96", accept, 0, ""},
	{119, "tun-route-host-bits", "", "tun-up yes\ntun-route 10.0.0.1/8", reject, 5, "did you mean 10.0.0.0/8?"},
	// 121: a route for a device that is down. The kernel refuses it at start;
	// see TestTunRouteDown in cmd/tayga.
	{121, "tun-route-without-tun-up", "", "tun-route 10.0.0.0/8", warned, 4, "only for a device that is up"},
	{122, "tun-ip-without-tun-up", "", "tun-ip 192.0.0.1/29", accept, 0, ""},
	{123, "tun-ip-length", "", "tun-up yes\ntun-ip 192.0.0.1/33", reject, 5, `length "33" of 192.0.0.1`},
	{124, "map-file-absent", "", "map-file /nonexistent", reject, 0, "no such file or directory"},
	{125, "map-file", "", "map-file F", accept, 0, ""},
	{126, "map-file-bad-lines", "", "map-file B", warned, 2, "map:"},
	{127, "map-file-alone", "prefix", "map-file F\nipv6-addr 2001:db8:f::1", accept, 0, ""},
	{129, "state-directories", "", "dynamic-pool 192.168.255.0/24\nenv STATE_DIRECTORY=/A:/B", warned, 4, `only the first of several directories in STATE_DIRECTORY is used: "/A"`},
	{130, "state-directory-relative", "", "dynamic-pool 192.168.255.0/24\nenv STATE_DIRECTORY=relative", reject, 4, "is not an absolute path"},
	{131, "data-dir-without-pool", "", "data-dir D", accept, 0, ""},
}

func TestVectors(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	bad := filepath.Join(dir, "bad")
	os.WriteFile(empty, nil, 0o644)
	os.WriteFile(bad, []byte("map 10.9.9.9 2001:db8:9::9\nmap 10.0.0.300 2001:db8::1\nprefix 2001:db8::/96\n"), 0o644)

	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			lines := []string{}
			for _, l := range base {
				directive, _, _ := strings.Cut(l, " ")
				if v.minus != "all" && !strings.Contains(","+v.minus+",", ","+directive+",") {
					lines = append(lines, l)
				}
			}
			env := func(string) (string, bool) { return "", false }
			for l := range strings.Lines(v.added) {
				if value, found := strings.CutPrefix(l, "env STATE_DIRECTORY="); found {
					env = func(string) (string, bool) { return value, true }
					continue
				}
				l = strings.TrimSuffix(l, "\n")
				l = strings.ReplaceAll(l, "data-dir D", "data-dir "+dir)
				l = strings.ReplaceAll(l, "map-file F", "map-file "+empty)
				l = strings.ReplaceAll(l, "map-file B", "map-file "+bad)
				lines = append(lines, l)
			}
			c, problems := Read(strings.NewReader(strings.Join(lines, "\n")+"\n"), "tayga.conf", env)
			failed := problems.Failed()
			if c.MapFile != "" && !failed {
				_, more, err := c.LoadMaps(c.MapFile)
				if err != nil {
					problems = append(problems, Problem{File: c.MapFile, Text: err.Error()})
					failed = true
				}
				problems = append(problems, more...) // bad lines are skipped at start
			}
			got := accept
			if failed {
				got = reject
			} else if len(problems) > 0 {
				got = warned
			}
			if got != v.want {
				t.Fatalf("vector %d: %s, want %s: %v", v.n, got, v.want, problems)
			}
			if v.want == accept {
				return
			}
			p := problems[0]
			if p.Line != v.line || !strings.Contains(p.Error(), v.text) {
				t.Errorf("vector %d: got %q, want line %d and %q", v.n, p.Error(), v.line, v.text)
			}
		})
	}
}
