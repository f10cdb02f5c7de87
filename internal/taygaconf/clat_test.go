package taygaconf

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/steppe-nat64/steppe/translate"
)

// A CLAT needs no other line: what the network does not tell has a default.
func TestCLATDefaults(t *testing.T) {
	for name, load := range map[string]func() (*Config, Problems){
		"file":    func() (*Config, Problems) { return read("clat yes\n") },
		"no-file": func() (*Config, Problems) { return LoadCLAT("", nil) },
		"forced":  func() (*Config, Problems) { return LoadCLAT(fileOf(t, "workers 0\n"), nil) },
		"both":    func() (*Config, Problems) { return LoadCLAT(fileOf(t, "clat yes\n"), nil) },
	} {
		c, problems := load()
		if len(problems) > 0 {
			t.Fatal(name, problems)
		}
		if want := (CLAT{On: true}); !reflect.DeepEqual(c.CLAT, want) {
			t.Errorf("%s: %+v, want %+v", name, c.CLAT, want)
		}
		if c.TunDevice != "clat" || c.IPv4 != netip.MustParseAddr("192.0.0.2") || c.IPv6.IsValid() || len(c.Prefixes) > 0 || !c.WKPFStrict || !c.Sandbox || !c.FastPath ||
			c.UDPZero != translate.UDPZeroCompute {
			t.Errorf("%s: %+v", name, c)
		}
		tab, err := translate.NewTable(c.Table(nil, nil))
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := translate.New(c.Translator(1500), tab); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if advice := c.Advice(nil); len(advice) > 0 {
			t.Errorf("%s: %q", name, advice)
		}
	}
}

func fileOf(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tayga.conf")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// A prefix in the file may have each of the lengths of RFC 6052, and the mapping is left to
// what knows the addresses of the network.
func TestCLATPrefix(t *testing.T) {
	for _, p := range []string{"64:ff9b::/96", "2001:db8:1:64::/64", "2001:db8:1:6400::/56", "2001:db8:64::/48", "2001:db8:6400::/40", "2001:db8::/32"} {
		c, problems := read("clat yes\nprefix " + p + "\n")
		if len(problems) > 0 {
			t.Errorf("%s: %v", p, problems)
			continue
		}
		if !slices.Equal(c.Prefixes, []netip.Prefix{netip.MustParsePrefix(p)}) {
			t.Errorf("%s: %v", p, c.Prefixes)
		}
		if tab := c.Table(nil, nil); !reflect.DeepEqual(tab, translate.TableConfig{}) || len(c.Advice(nil)) > 0 {
			t.Errorf("%s: %+v %q", p, tab, c.Advice(nil))
		}
	}
}

func TestCLATDirectives(t *testing.T) {
	c, problems := read(`CLAT on
clat-uplink   wwan0
clat-address  2001:DB8:1::464
clat-resolver 2001:db8::53 [fe80::1]:5353
clat-resolver 127.0.0.53
clat-share    172.17.0.0/16 192.168.122.7
clat-share    10.0.3.0/24
clat-inbound  Yes
wkpf-strict   no
prefix        64:ff9b::/96
ipv4-addr     10.64.0.1
tun-device    clat4
udp-cksum-mode drop
`)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := CLAT{
		On:        true,
		Uplink:    "wwan0",
		Address:   CLATAddress{Mode: CLATFixed, Fixed: netip.MustParseAddr("2001:db8:1::464")},
		Resolvers: []netip.AddrPort{netip.MustParseAddrPort("[2001:db8::53]:53"), netip.MustParseAddrPort("[fe80::1]:5353"), netip.MustParseAddrPort("127.0.0.53:53")},
		Share:     []netip.Prefix{netip.MustParsePrefix("172.17.0.0/16"), netip.MustParsePrefix("192.168.122.7/32"), netip.MustParsePrefix("10.0.3.0/24")},
		Inbound:   true,
	}
	if !reflect.DeepEqual(c.CLAT, want) {
		t.Errorf("%+v\nwant %+v", c.CLAT, want)
	}
	if c.TunDevice != "clat4" || c.IPv4 != netip.MustParseAddr("10.64.0.1") || c.WKPFStrict || c.UDPZero != translate.UDPZeroDrop {
		t.Errorf("%+v", c)
	}
	for word, want := range map[string]CLATMode{"auto": CLATAuto, "OWN": CLATOwn, "Shared": CLATShared} {
		if got := mustRead(t, "clat yes\nclat-address "+word+"\n").CLAT.Address; got != (CLATAddress{Mode: want}) {
			t.Errorf("%s: %+v", word, got)
		}
	}
}

func TestCLATProblems(t *testing.T) {
	for _, test := range []struct{ added, want string }{
		{"clat yes", "2: clat: given before, on line 1: remove one of the two"},
		{"clat-uplink lo", "2: clat-uplink: lo is no uplink: name the interface towards the network"},
		{"clat-uplink eth%d", `2: clat-uplink: "eth%d" is a pattern: name one device`},
		{"clat-uplink a/b", `2: clat-uplink: "a/b" is no name for a device`},
		{"clat-uplink sixteen-letters-", `2: clat-uplink: "sixteen-letters-" is longer than 15 characters`},
		{"tun-device eth0\nclat-uplink eth0", "3: clat-uplink: eth0 is the device of the CLAT itself: name the interface towards the network"},
		{"clat-address maybe", `2: clat-address: "maybe" is none of auto, own, shared, nor an IPv6 address`},
		{"clat-address 192.0.0.1", `2: clat-address: "192.0.0.1" is none of auto, own, shared, nor an IPv6 address`},
		{"clat-address 2001:db8::464/64", `2: clat-address: "2001:db8::464/64" is not an IPv6 address such as 2001:db8::1`},
		{"clat-address ::1", "2: clat-address: ::1 lies in ::/8, which is reserved"},
		{"clat-address ff02::1", "2: clat-address: ff02::1 is a multicast address"},
		{"clat-address fe80::464%eth0", `2: clat-address: "fe80::464%eth0" is not an IPv6 address such as 2001:db8::1`},
		{"prefix 64:ff9b::/96\nclat-address 64:ff9b::464", "3: clat-address: 64:ff9b::464 lies inside prefix 64:ff9b::/96, line 2, where IPv4 hosts are: take an address of the uplink's network"},
		{"clat-resolver fe80::1%eth0", `2: clat-resolver: "fe80::1%eth0" has a zone: leave it out, since resolvers are asked by the uplink`},
		{"clat-resolver 2001:db8::53 [2001:db8::53]:53", `2: clat-resolver: "[2001:db8::53]:53" is named before: remove one of the two`},
		{"clat-resolver ::", "2: clat-resolver: :: is no resolver's address"},
		{"clat-resolver ff02::fb", "2: clat-resolver: ff02::fb is no resolver's address"},
		{"clat-resolver ::ffff:127.0.0.53", "2: clat-resolver: ::ffff:127.0.0.53 is no resolver's address"},
		{"clat-resolver 127.0.0.1:0", `2: clat-resolver: "127.0.0.1:0" is not an address such as 2001:db8::53, nor one with a port such as [2001:db8::53]:5353`},
		{"clat-resolver 10.0.0.1 10.0.0.2 10.0.0.3\nclat-resolver 10.0.0.4 10.0.0.5", "3: clat-resolver: more than 4 resolvers"},
		{"clat-share 0.0.0.0/0", "2: clat-share: 0.0.0.0/0 overlaps 192.0.0.0/29, the addresses of the CLAT itself (RFC 7335)"},
		{"clat-share 192.0.0.1", "2: clat-share: 192.0.0.1/32 overlaps 192.0.0.0/29, the addresses of the CLAT itself (RFC 7335)"},
		{"clat-share 172.17.0.1/16", "2: clat-share: 172.17.0.1/16 has host bits set: did you mean 172.17.0.0/16?"},
		{"clat-share 2001:db8::/64", `2: clat-share: "2001:db8::" is not an IPv4 address such as 192.0.2.1`},
		{"clat-share 127.0.0.0/8", "2: clat-share: 127.0.0.0 is a loopback address"},
		{"clat-share 10.0.0.0/8\nclat-share 10.1.0.0/16", "3: clat-share: 10.1.0.0/16 overlaps 10.0.0.0/8, named before: remove one of the two"},
		{"clat-inbound maybe", `2: clat-inbound: "maybe" is neither yes nor no`},
		{"prefix 2001:db8:0:0:100::/96", "2: prefix: warning: bits 64 to 71 of 2001:db8:0:0:100::/96 are not zero, against RFC 6052 §2.2\n" +
			"2: prefix: bits 64 to 71 of 2001:db8:0:0:100::/96 must be zero with clat (RFC 6052 §2.2)"},
		{"prefix 2001:db8::/95", "2: prefix: length 95 not allowed by RFC 6052: use 32, 40, 48, 56, 64 or 96"},
		{"ipv4-addr 192.0.0.1", "2: ipv4-addr: 192.0.0.1 is the address of the programs: leave the line out, or take 192.0.0.2"},
		{"ipv4-addr 192.0.0.0", "2: ipv4-addr: 192.0.0.0 is the first address of 192.0.0.0/29, which no host has: leave the line out, or take 192.0.0.2"},
		{"ipv4-addr 192.0.0.2 ", ""},
		{"hairpin simple", "2: hairpin: simple cannot be given with clat: it hides the host of a CLAT (RFC 7757 §4.2.1)"},
		{"hairpin off", ""},
		{"map 0.0.0.0/0 64:ff9b::/96", "2: map: cannot be given with clat: a CLAT makes its only map itself, of 192.0.0.1 and the address of clat-address"},
		{"icmp-pool 192.0.0.8\nicmp-node-address yes\ntcp-mss-clamp auto\noffload no\nworkers 2\nlog drop\ndata-dir /tmp", ""},
	} {
		_, problems := read("clat yes\n" + test.added + "\n")
		var got []string
		for _, p := range problems {
			got = append(got, strings.TrimPrefix(p.Error(), "tayga.conf:"))
		}
		if strings.Join(got, "\n") != test.want {
			t.Errorf("%s\ngot  %s\nwant %s", test.added, strings.Join(got, "\n"), test.want)
		}
	}
	var many []string
	for i := range maxShare + 1 {
		many = append(many, fmt.Sprintf("clat-share 10.0.%d.0/24", i))
	}
	if _, problems := read("clat yes\n" + strings.Join(many, "\n") + "\n"); len(problems) != 1 || !strings.Contains(problems[0].Error(), ":66: clat-share: more than 64 networks") {
		t.Error(problems)
	}
	want := "workers:1: clat: started with --clat: remove this line"
	if _, problems := LoadCLAT(fileOf(t, "clat no\n"), nil); len(problems) != 1 || !strings.HasSuffix(problems[0].Error(), strings.TrimPrefix(want, "workers")) {
		t.Error(problems)
	}
}

// Each directive of hosts, pools and devices that a CLAT would ignore is an error beside it,
// whichever comes first.
func TestNotInCLAT(t *testing.T) {
	words := map[string]string{
		"map": "192.0.0.1 2001:db8::464", "map-file": "/tmp/maps", "ipv6-addr": "2001:db8::1", "tun-up": "no", "tun-ip": "192.0.0.1/29",
		"tun-route": "2001:db8::464", "embedded-source": "drop", "loop-check": "yes",
		"dynamic-pool": "10.0.0.0/24", "dynamic-pool-clients": "2001:db8::/64", "dynamic-pool-max-per-prefix": "64 3", "dynamic-pool-refresh": "both",
		"dynamic-pool-hold": "2h", "dynamic-pool-forget": "14d",
		"stateful-pool": "192.0.2.1", "stateful-map": "tcp 203.0.113.1:80 [2001:db8:7::7]:80", "stateful-filter": "address-dependent", "stateful-timeout": "udp 300",
		"stateful-clients": "2001:db8::/32", "stateful-max-sessions": "1000", "stateful-max-per-prefix": "64 10", "stateful-max-held-syns": "1",
		"stateful-port-block": "512", "stateful-log": "bindings",
	}
	for name, word := range words {
		for _, text := range []string{"clat yes\n" + name + " " + word + "\n", name + " " + word + "\nclat yes\n"} {
			_, problems := read(text)
			want := name + ": cannot be given with clat: "
			if len(problems) != 1 || problems[0].Warning || !strings.Contains(problems[0].Error(), want) {
				t.Errorf("%s%v", text, problems)
			}
		}
	}
	for name := range directives {
		if (strings.HasPrefix(name, "dynamic-pool") || strings.HasPrefix(name, "stateful-")) && words[name] == "" {
			t.Errorf("%s is not tried", name)
		}
	}
}

// Without clat yes, its directives change nothing but for a warning.
func TestWithoutCLAT(t *testing.T) {
	for _, line := range []string{"clat-uplink eth0", "clat-address own", "clat-resolver ::1", "clat-share 10.0.0.0/8", "clat-inbound yes"} {
		for _, before := range []string{"", "clat no\n"} {
			c, problems := read(before + minimal + line + "\n")
			if len(problems) != 1 || !problems[0].Warning || !strings.HasSuffix(problems[0].Text, `has no effect without a line "clat yes"`) || c.CLAT.On {
				t.Errorf("%s%s: %v", before, line, problems)
			}
		}
	}
	if c, problems := read(minimal + "clat no\n"); len(problems) > 0 || c.CLAT.On || c.TunDevice != "nat64" || !c.IPv6.IsValid() {
		t.Error(c, problems)
	}
	if _, problems := read("clat no\n"); !problems.Failed() {
		t.Error("no device, no address")
	}
}
