package taygaconf

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

const sharing = minimal + "ipv6-addr 2001:db8::1\nstateful-pool 203.0.113.0/28\n"

// TestStatefulProblems: each line that cannot stand has a sentence of its own, with what to
// do. The lines follow those of sharing, from line 6 on.
func TestStatefulProblems(t *testing.T) {
	for _, test := range []struct{ added, want string }{
		{"stateful-pool 203.0.113.1/24", "6: stateful-pool: 203.0.113.1/24 has host bits set: did you mean 203.0.113.0/24?"},
		{"stateful-pool x", `6: stateful-pool: "x" is not an IPv4 address such as 192.0.2.1`},
		{"stateful-pool 10.0.0.0/15", "6: stateful-pool: 10.0.0.0/15 has more than 65536 addresses: use a length of 16 to 32"},
		{"stateful-pool 10.0.0.0/16", "6: stateful-pool: more than 65536 addresses in all stateful pools"},
		{"stateful-pool 127.0.0.1", "6: stateful-pool: 127.0.0.1 is a loopback address"},
		{"stateful-pool 224.0.0.0/24", "6: stateful-pool: 224.0.0.0 is a multicast address"},
		{"stateful-pool 0.0.0.0", "6: stateful-pool: 0.0.0.0/32 lies in 0.0.0.0/8: packets with such an address are not translated"},
		{"stateful-pool 255.255.255.254/31", "6: stateful-pool: 255.255.255.254/31 contains 255.255.255.255, the broadcast address: use a smaller pool"},
		{"stateful-pool 169.254.1.1", "6: stateful-pool: warning: 169.254.1.1 is a link-local address, which routers do not forward"},
		{"stateful-pool 203.0.113.8", "6: stateful-pool: 203.0.113.8/32 overlaps stateful-pool 203.0.113.0/28 on line 5"},
		{"map 203.0.113.8 2001:db8:9::8", "6: map: 203.0.113.8/32 overlaps stateful-pool 203.0.113.0/28 on line 5: give each its own addresses"},
		{"map 203.0.0.0/16 2001:db8:9::/112", "6: map: 203.0.0.0/16 overlaps stateful-pool 203.0.113.0/28 on line 5: give each its own addresses"},
		{"dynamic-pool-clients 2001:db8:7::/48\ndynamic-pool 203.0.113.0/29", "7: dynamic-pool: 203.0.113.0/29 overlaps stateful-pool 203.0.113.0/28 on line 5: give each its own addresses"},
		{"dynamic-pool-clients 2001:db8:7::/48\ndynamic-pool 10.0.0.0/24\nstateful-pool 10.0.0.7", "8: stateful-pool: 10.0.0.7/32 overlaps dynamic-pool 10.0.0.0/24 on line 7: give each its own addresses"},
		{"tun-ip 203.0.113.9/28", "6: stateful-pool: the tun-ip 203.0.113.9 on line 6 gives the kernel an address of 203.0.113.0/28, line 5, and hosts get no packets: remove it"},
		{"embedded-source forward", "6: embedded-source: forward on line 6: beside a stateful-pool a host could send with the address that others share (RFC 6146 §3.5): remove it"},
		{"stateful-pool 10.0.0.7 1-65536", `6: stateful-pool: "1-65536" is neither a range of ports such as 1024-65535 nor via: put comments after a #`},
		{"stateful-pool 10.0.0.7 80", `6: stateful-pool: "80" is neither a range of ports such as 1024-65535 nor via: put comments after a #`},
		{"stateful-pool 10.0.0.7 0-65535", "6: stateful-pool: ports 0-65535: no packet has port 0: begin with 1 or more, usually 1024"},
		{"stateful-pool 10.0.0.7 5000-4000", "6: stateful-pool: ports 5000-4000: the lower one goes first: did you mean 4000-5000?"},
		{"stateful-pool 10.0.0.7 via", "6: stateful-pool: a prefix is missing after via"},
		{"stateful-pool 10.0.0.7 via 2001:db8:bad::/96", `6: stateful-pool: via 2001:db8:bad::/96: there is no such prefix: add a line such as "prefix 2001:db8:bad::/96"`},
		{"stateful-pool 10.0.0.7 via 2001:db8:1:ffff::/96 1-9", `6: stateful-pool: "1-9" is one word too many: put the ports before via, and comments after a #`},
		{"stateful-pool 10.0.0.7 via 2001:db8:1:ffff::/96", "5: stateful-pool: warning: 203.0.113.0/28 is for no prefix, since each has pools via it: only hosts that send to the IPv6 address of a map share it"},
		{"dynamic-pool 10.0.0.0/24", "5: stateful-pool: warning: no host shares 203.0.113.0/28: each leases an address of a dynamic-pool, which goes first: name its hosts by a line with dynamic-pool-clients"},

		{"stateful-map sctp 203.0.113.1:80 [2001:db8:7::7]:80", `6: stateful-map: "sctp" is none of tcp, udp, icmp`},
		{"stateful-map tcp 203.0.113.1 [2001:db8:7::7]:80", `6: stateful-map: "203.0.113.1" is not an IPv4 address and port such as 192.0.2.1:80`},
		{"stateful-map tcp 203.0.113.1:80 2001:db8:7::7", `6: stateful-map: "2001:db8:7::7" is not an IPv6 address and port such as [2001:db8::1]:80`},
		{"stateful-map tcp 203.0.113.1:80 [2001:db8:7::7%eth0]:80", `6: stateful-map: "[2001:db8:7::7%eth0]:80" is not an IPv6 address and port such as [2001:db8::1]:80`},
		{"stateful-map tcp 203.0.113.1:0 [2001:db8:7::7]:80", "6: stateful-map: no packet has port 0: use 1 to 65535"},
		{"stateful-map tcp 192.0.2.1:80 [2001:db8:7::7]:80", `6: stateful-map: 192.0.2.1 is in no stateful-pool: add a line such as "stateful-pool 192.0.2.1"`},
		{"stateful-map tcp 203.0.113.1:80 [::1]:80", "6: stateful-map: ::1 lies in ::/8, which is reserved"},
		{"stateful-map tcp 203.0.113.1:80 [::ffff:192.0.2.1]:80", "6: stateful-map: ::ffff:192.0.2.1 lies in ::/8, which is reserved"},
		{"stateful-map tcp 203.0.113.1:80 [fe80::1]:80", "6: stateful-map: fe80::1 is a link-local address"},
		{"stateful-map tcp 203.0.113.1:80 [ff02::1]:80", "6: stateful-map: ff02::1 is a multicast address"},
		{"stateful-map tcp 203.0.113.1:80 [2001:db8:1:ffff::7]:80", "6: stateful-map: 2001:db8:1:ffff::7 lies inside prefix 2001:db8:1:ffff::/96, line 3: no host can have that address"},
		{"stateful-map tcp 203.0.113.1:80 [2001:db8::1]:80", "6: stateful-map: 2001:db8::1 is the translator's own address: no host can have it"},
		{"map 10.0.0.0/24 2001:db8:7::/120\nstateful-map tcp 203.0.113.1:80 [2001:db8:7::7]:80", "7: stateful-map: 2001:db8:7::7 has an address of its own by map on line 6, and would not answer from 203.0.113.1"},
		{"stateful-pool 10.0.0.7 via 2001:db8:1:ffff::/96\nstateful-map tcp 203.0.113.1:80 [2001:db8:7::7]:80",
			"5: stateful-pool: warning: 203.0.113.0/28 is for no prefix, since each has pools via it: only hosts that send to the IPv6 address of a map share it\n" +
				"7: stateful-map: stateful-pool 203.0.113.0/28, line 5, is for no prefix: 2001:db8:7::7 would answer from another address: choose one of a pool via a prefix"},
		{"stateful-clients 2001:db8:8::/48\nstateful-map tcp 203.0.113.1:80 [2001:db8:7::7]:80", `7: stateful-map: 2001:db8:7::7 is no client: add a line such as "stateful-clients 2001:db8:7::7"`},
		{"dynamic-pool 10.0.0.0/24\ndynamic-pool-clients 2001:db8:7::/48\nstateful-map tcp 203.0.113.1:80 [2001:db8:7::7]:80",
			"8: stateful-map: 2001:db8:7::7 leases an address of a dynamic-pool, and would not answer from 203.0.113.1: leave it out of dynamic-pool-clients, or give it a map"},
		{"stateful-map tcp 203.0.113.1:80 [2001:db8:7::7]:80\nstateful-map tcp 203.0.113.1:80 [2001:db8:7::8]:80", "7: stateful-map: 203.0.113.1:80 is taken by stateful-map on line 6"},
		{"stateful-map tcp 203.0.113.1:80 [2001:db8:7::7]:80\nstateful-map tcp 203.0.113.1:81 [2001:db8:7::7]:80", "7: stateful-map: [2001:db8:7::7]:80 of the host has a binding by stateful-map on line 6: a port has one (RFC 6146 §3.1)"},
		{"stateful-map tcp 203.0.113.1:80 [2001:db8:7::7]:80\nstateful-map udp 203.0.113.1:80 [2001:db8:7::7]:80\nstateful-map icmp 203.0.113.1:0 [2001:db8:7::7]:0", ""},

		{"stateful-filter on", `6: stateful-filter: "on" is none of endpoint-independent, address-dependent`},
		{"stateful-timeout udp 119", "6: stateful-timeout: udp: 1m59s is less than 2m0s, the minimum of RFC 4787 REQ-5"},
		{"stateful-timeout tcp 7439", "6: stateful-timeout: tcp: 2h3m59s is less than 2h4m0s, the minimum of RFC 5382 REQ-5"},
		{"stateful-timeout tcp-transitory 239", "6: stateful-timeout: tcp-transitory: 3m59s is less than 4m0s, the minimum of RFC 5382 REQ-5"},
		{"stateful-timeout tcp-opening 5", "6: stateful-timeout: tcp-opening: 5s is less than 6s, the minimum of RFC 7857 §2.1"},
		{"stateful-timeout tcp-syn 5", "6: stateful-timeout: tcp-syn: 5s is less than 6s, the minimum of RFC 5382 REQ-4"},
		{"stateful-timeout icmp 59", "6: stateful-timeout: icmp: 59s is less than 1m0s, the minimum of RFC 5508 REQ-2"},
		{"stateful-timeout fragment 1", "6: stateful-timeout: fragment: 1s is less than 2s, the minimum of RFC 6146 §3.4"},
		{"stateful-timeout dns 0", `6: stateful-timeout: "0" is not a time such as 7440 (seconds), 90s, 124m, 2h or 14d, of ten years at most`},
		{"stateful-timeout dns 1", ""},
		{"stateful-timeout udp 366d", "6: stateful-timeout: udp: 8784h0m0s is more than a year"},
		{"stateful-timeout sctp 300", `6: stateful-timeout: "sctp" is none of udp, dns, tcp, tcp-transitory, tcp-opening, tcp-syn, icmp, fragment`},
		{"stateful-timeout udp 300\nstateful-timeout udp 301", "7: stateful-timeout: udp given before, on line 6: remove one of the two"},
		{"stateful-clients 10.0.0.0/8", `6: stateful-clients: "10.0.0.0" is not an IPv6 address such as 2001:db8::1`},
		{"stateful-clients 2001:db8::1/64", "6: stateful-clients: 2001:db8::1/64 has host bits set: did you mean 2001:db8::/64?"},
		{"stateful-max-sessions 16777217", `6: stateful-max-sessions: "16777217" is not a number from 1 to 16777216`},
		{"stateful-max-per-prefix 129 10", `6: stateful-max-per-prefix: length: "129" is not a number from 1 to 128`},
		{"stateful-max-per-prefix 64 0", `6: stateful-max-per-prefix: number of sessions: "0" is not a number from 1 to 16777216`},
		{"stateful-max-held-syns 4097", `6: stateful-max-held-syns: "4097" is not a number from 0 to 4096`},
		{"stateful-port-block 500", `6: stateful-port-block: "500" is not a power of two from 64 to 16384`},
		{"stateful-port-block 32", `6: stateful-port-block: "32" is not a power of two from 64 to 16384`},
		{"stateful-pool 10.0.0.7 1025-2047\nstateful-port-block 1024", "7: stateful-port-block: ports 1025-2047 of stateful-pool 10.0.0.7/32, line 6, contain no block of 1024 that begins at a multiple of it: use a wider range or smaller blocks"},
		{"stateful-log all", `6: stateful-log: "all" is none of off, bindings, blocks`},
		{"stateful-log blocks", `6: stateful-log: blocks: ports are assigned one by one: add a line such as "stateful-port-block 512", or write bindings`},
		{"stateful-log blocks\nstateful-port-block 512", ""},
		{"stateful-log off\nstateful-log bindings", "7: stateful-log: given before, on line 6: remove one of the two"},
	} {
		c, problems := read(sharing + test.added + "\n")
		var got []string
		for _, p := range problems {
			got = append(got, strings.TrimPrefix(p.Error(), "tayga.conf:"))
		}
		if strings.Join(got, "\n") != test.want {
			t.Errorf("%s\ngot  %s\nwant %s", test.added, strings.Join(got, "\n"), test.want)
		}
		if problems.Failed() {
			continue
		}
		if _, err := session.New(c.Sessions(nil, nil)); err != nil {
			t.Errorf("%s: %v", test.added, err)
		}
	}
}

// TestStatefulWithoutPool: each of the directives needs a stateful-pool.
func TestStatefulWithoutPool(t *testing.T) {
	lines := map[string]string{
		"stateful-map": "tcp 203.0.113.1:80 [2001:db8:7::7]:80", "stateful-filter": "address-dependent", "stateful-timeout": "udp 300",
		"stateful-clients": "2001:db8::/32", "stateful-max-sessions": "1000", "stateful-max-per-prefix": "64 10",
		"stateful-max-held-syns": "1", "stateful-port-block": "512", "stateful-log": "bindings",
	}
	for name := range directives {
		if !strings.HasPrefix(name, "stateful-") || name == "stateful-pool" {
			continue
		}
		_, problems := read(minimal + name + " " + lines[name] + "\n")
		pool := "stateful-pool 192.0.2.1"
		if name == "stateful-map" {
			pool = "stateful-pool 203.0.113.1" // its own address
		}
		want := fmt.Sprintf("tayga.conf:4: %s: there is no stateful-pool: add a line such as %q", name, pool)
		if len(problems) != 1 || problems[0].Error() != want {
			t.Errorf("%s: %v", name, problems)
		}
	}
	for text, want := range map[string]string{
		"tun-device nat64\nipv4-addr 192.0.2.1\nipv6-addr 2001:db8::1\nprefix 2001:db8::/95\nstateful-pool 203.0.113.1\nstateful-map tcp 203.0.113.1:80 [2001:db8:7::7]:80\n": "length 95 not allowed",
		"tun-device nat64\nipv4-addr 192.0.2.1\nipv6-addr 2001:db8::1\nmap 10.0.0.1 2001:db8:7::7\nstateful-pool 203.0.113.1\n":                                               "there is no prefix of RFC 6052, inside which hosts would see IPv4 addresses: add a line such as",
		minimal + "stateful-pool 203.0.113.1\n" + manyPrefixes(63):                                                                                                            "more than 63 prefixes: beside a stateful-pool there can be no more",
	} {
		_, problems := read(text)
		if len(problems) != 1 || !strings.Contains(problems[0].Text, want) {
			t.Errorf("%v, want %s", problems, want)
		}
	}
}

func manyPrefixes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "prefix 2001:db9:%x::/96\n", i)
	}
	return b.String()
}

// TestSessions: what a session.Table gets, and that it takes it.
func TestSessions(t *testing.T) {
	c := mustRead(t, minimal+`prefix 2001:db8:b::/96
prefix 2001:db8:c::/96
stateful-pool 203.0.113.1
stateful-pool 203.0.113.2/31 1-1023 Via 2001:db8:1:ffff::/96
dynamic-pool 10.1.0.0/24 via 2001:db8:b::/96
stateful-map TCP 203.0.113.1:80 [2001:db8:7::7]:8080
stateful-map udp 203.0.113.3:53 [2001:db8:7::8]:53
stateful-map icmp 203.0.113.3:0 [2001:db8:7::8]:7
stateful-filter address-dependent
stateful-timeout udp 3m
stateful-timeout dns 10
stateful-timeout tcp 3h
stateful-timeout tcp-transitory 5m
stateful-timeout tcp-opening 30
stateful-timeout tcp-syn 7
stateful-timeout icmp 90
stateful-timeout fragment 3
stateful-clients 2001:db8:7::/48 2001:db8:8::8
stateful-max-sessions 5000
stateful-max-per-prefix /56 70
stateful-max-held-syns 0
stateful-port-block 64
stateful-log blocks
`)
	p, ap := netip.MustParsePrefix, netip.MustParseAddrPort
	more, problems := c.ReadMaps(strings.NewReader("stateful-map tcp 203.0.113.1:25 [2001:db8:7::9]:25\n"), "maps")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := session.Config{
		Pools: []session.Pool{
			{Prefix: p("203.0.113.1/32"), Low: 1024, High: 65535},
			{Prefix: p("203.0.113.2/31"), Low: 1, High: 1023, Pref64: 1},
		},
		Static: []session.Static{
			{Proto: 6, Addr: ap("203.0.113.1:80"), Host: ap("[2001:db8:7::7]:8080"), Pref64: 3}, // the first prefix without a pool of its own
			{Proto: 17, Addr: ap("203.0.113.3:53"), Host: ap("[2001:db8:7::8]:53"), Pref64: 1},
			{Proto: 1, Addr: ap("203.0.113.3:0"), Host: ap("[2001:db8:7::8]:7"), Pref64: 1},
			{Proto: 6, Addr: ap("203.0.113.1:25"), Host: ap("[2001:db8:7::9]:25"), Pref64: 3},
		},
		Clients:   []netip.Prefix{p("2001:db8:7::/48"), p("2001:db8:8::8/128")},
		Filtering: session.AddressDependent,
		Timeouts: session.Timeouts{UDP: 3 * time.Minute, DNS: 10 * time.Second, TCP: 3 * time.Hour, TCPTransitory: 5 * time.Minute,
			TCPOpening: 30 * time.Second, TCPIncomingSYN: 7 * time.Second, ICMP: 90 * time.Second},
		Limits:    session.Limits{Sessions: 5000, PrefixLen: 56, PerPrefix: 70, HeldSYN: -1},
		PortBlock: 64,
		MaxProbes: 1024,
		Prefixes:  []netip.Prefix{p("2001:db8:1:ffff::/96"), p("2001:db8:b::/96"), p("2001:db8:c::/96")},
	}
	got := c.Sessions(more.Bindings, nil)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if _, err := session.New(got); err != nil {
		t.Error(err)
	}
	if c.Stateful.Fragment != 3*time.Second || c.Stateful.Log != LogBlocks {
		t.Errorf("%+v", c.Stateful)
	}
	if got := more.Bindings[0].String(); got != "tcp 203.0.113.1:25 [2001:db8:7::9]:25" {
		t.Error(got)
	}
}

// TestStatefulMapFile: static bindings of a map-file, and its maps beside them.
func TestStatefulMapFile(t *testing.T) {
	const conf = sharing + "map 10.0.0.0/24 2001:db8:a::/120\nstateful-map tcp 203.0.113.1:80 [2001:db8:7::7]:80\n"
	for _, test := range []struct{ text, want string }{
		{"stateful-map tcp 203.0.113.1:81 [2001:db8:7::7]:81\nStateful-Map udp 203.0.113.1:80 [2001:db8:7::7]:80\n", ""},
		{"stateful-map tcp 203.0.113.1:81\n", "1: stateful-map: write tcp, udp or icmp, an IPv4 address and port, and an IPv6 address and port after it, and nothing else"},
		{"stateful-map tcp 203.0.113.16:81 [2001:db8:7::7]:81\n", `1: stateful-map: 203.0.113.16 is in no stateful-pool: add a line such as "stateful-pool 203.0.113.16"`},
		{"stateful-map tcp 203.0.113.1:81 [2001:db8:a::7]:81\n", "1: stateful-map: 2001:db8:a::7 has an address of its own by map in tayga.conf, line 6, and would not answer from 203.0.113.1"},
		{"stateful-map tcp 203.0.113.1:80 [2001:db8:7::8]:80\n", "1: stateful-map: 203.0.113.1:80 is taken by stateful-map in tayga.conf, line 7"},
		{"stateful-map tcp 203.0.113.2:80 [2001:db8:7::7]:80\n", "1: stateful-map: [2001:db8:7::7]:80 of the host has a binding by stateful-map in tayga.conf, line 7: a port has one (RFC 6146 §3.1)"},
		{"stateful-map tcp 203.0.113.2:80 [2001:db8:7::9]:80\nstateful-map tcp 203.0.113.2:80 [2001:db8:7::8]:80\n", "2: stateful-map: 203.0.113.2:80 is taken by stateful-map on line 1"},
		{"map 10.0.1.1 2001:db8:b::7\nstateful-map tcp 203.0.113.1:81 [2001:db8:b::7]:81\n", "2: stateful-map: 2001:db8:b::7 has an address of its own by map on line 1, and would not answer from 203.0.113.1"},
		{"stateful-map tcp 203.0.113.1:81 [2001:db8:b::7]:81\nmap 10.0.1.0/24 2001:db8:b::/120\n", "1: stateful-map: 2001:db8:b::7 has an address of its own by map on line 2, and would not answer from 203.0.113.1"},
		{"map 203.0.113.0/24 2001:db8:b::/120\n", "1: map: 203.0.113.0/24 overlaps stateful-pool 203.0.113.0/28 in tayga.conf, line 5: give each its own addresses"},
		{"map 10.0.1.1 2001:db8:7::7\nmap 10.0.1.2 2001:db8:b::2\nmap 10.0.2.0/24 2001:db8:7::/120\n", "1: map: 2001:db8:7::7/128 has the host of stateful-map in tayga.conf, line 7, which would not answer from its shared address\n" +
			"3: map: 2001:db8:7::/120 has the host of stateful-map in tayga.conf, line 7, which would not answer from its shared address"},
		{"stateful-filter address-dependent\n", `1: map: "stateful-filter" is neither map nor stateful-map, the only directives of a map-file`},
	} {
		c := mustRead(t, conf)
		more, problems := c.ReadMaps(strings.NewReader(test.text), "maps")
		var got []string
		for _, p := range problems {
			got = append(got, strings.TrimPrefix(p.Error(), "maps:"))
		}
		if strings.Join(got, "\n") != test.want {
			t.Errorf("%s\ngot  %s\nwant %s", test.text, strings.Join(got, "\n"), test.want)
		}
		if n := strings.Count(test.text, "\n"); more.Len()+len(problems) != n {
			t.Errorf("%s: %d lines, %d taken, %d problems", test.text, n, more.Len(), len(problems))
		}
		if _, err := session.New(c.Sessions(more.Bindings, nil)); err != nil {
			t.Errorf("%s: %v", test.text, err)
		}
	}
	_, problems := mustRead(t, minimal).ReadMaps(strings.NewReader("stateful-map tcp 203.0.113.1:81 [2001:db8:7::7]:81\n"), "maps")
	if len(problems) != 1 || problems[0].Text != "there is no stateful-pool in tayga.conf" {
		t.Error(problems)
	}
}

// TestStatefulSources: a host inside a prefix could take the address that others share, so
// its packets are dropped, by whichever prefix: RFC 6146 §3.5.
func TestStatefulSources(t *testing.T) {
	c := mustRead(t, sharing+"prefix 2001:db8:b::/96\n")
	for _, r := range c.Table(nil, nil).Rules {
		if !r.DropSource {
			t.Errorf("%+v", r)
		}
	}
	if got := c.Table(nil, nil).Shared; !reflect.DeepEqual(got, []netip.Prefix{netip.MustParsePrefix("203.0.113.0/28")}) {
		t.Error(got)
	}
	if lines := c.Advice(nil); len(lines) > 0 {
		t.Error(lines)
	}
}

// TestOwners: who gets which addresses, prefix by prefix.
func TestOwners(t *testing.T) {
	c := mustRead(t, minimal+`prefix 2001:db8:b::/96
prefix 2001:db8:c::/96
stateful-pool 203.0.113.1
stateful-pool 203.0.113.2 via 2001:db8:1:ffff::/96
dynamic-pool 10.1.0.0/24 via 2001:db8:b::/96
dynamic-pool 10.2.0.0/24
dynamic-pool 10.3.0.0/24
dynamic-pool-clients 2001:db8:7::/48
`)
	p := func(texts ...string) (list []netip.Prefix) {
		for _, s := range texts {
			list = append(list, netip.MustParsePrefix(s))
		}
		return list
	}
	want := []Owners{
		{p("2001:db8:1:ffff::/96")[0], p("10.2.0.0/24", "10.3.0.0/24"), p("203.0.113.2/32")},
		{p("2001:db8:b::/96")[0], p("10.1.0.0/24"), p("203.0.113.1/32")},
		{p("2001:db8:c::/96")[0], p("10.2.0.0/24", "10.3.0.0/24"), p("203.0.113.1/32")},
	}
	if got := c.Owners(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

// TestManyBindings: a file of static bindings and maps is read in time that grows with its
// length: each line of a map-file was held against all static bindings of tayga.conf.
func TestManyBindings(t *testing.T) {
	const n = 20_000
	var conf, file strings.Builder
	conf.WriteString(minimal)
	for i := range 256 {
		fmt.Fprintf(&conf, "stateful-pool 203.0.113.%d\n", i)
	}
	for i := range n {
		fmt.Fprintf(&conf, "stateful-map tcp 203.0.113.%d:%d [2001:db8:7:%x::1]:80\n", i&255, 1+i>>8, i)
		fmt.Fprintf(&file, "stateful-map udp 203.0.113.%d:%d [2001:db8:7:%x::1]:80\nmap 10.%d.%d.0/24 2001:db8:8:%x::/64\n", i&255, 1+i>>8, i, i>>8, i&255, i)
	}
	begin := cpuTime(t)
	c := mustRead(t, conf.String())
	more, problems := c.ReadMaps(strings.NewReader(file.String()), "maps")
	if len(problems) > 0 || len(more.Bindings) != n || len(more.Maps) != n || len(c.Stateful.Bindings) != n {
		t.Errorf("%d and %d bindings, %d maps, %v", len(c.Stateful.Bindings), len(more.Bindings), len(more.Maps), problems)
	}
	if got := len(c.Sessions(more.Bindings, nil).Static); got != 2*n {
		t.Errorf("%d static bindings", got)
	}
	if took := cpuTime(t) - begin; took > time.Minute {
		t.Errorf("took %v", took)
	}
}

// TestSharedReach: with 64:ff9b::/96 alone, hosts could not reach each other by a shared
// address that is not global, and nothing said so. What is warned of is what the translator
// rejects.
func TestSharedReach(t *testing.T) {
	const wkp = "tun-device nat64\nipv4-addr 8.8.8.1\nprefix 64:ff9b::/96\n"
	for _, c := range []struct {
		lines  string
		warned bool
	}{
		{"stateful-pool 8.8.100.8", false},
		{"stateful-pool 203.0.113.7", true},
		{"stateful-pool 10.0.0.0/24", true},
		{"stateful-pool 100.64.0.1", true},
		{"stateful-pool 192.0.0.8", true},
		{"stateful-pool 240.0.0.1", true},
		{"stateful-pool 198.51.96.0/20", true}, // contains 198.51.100.0/24
		{"stateful-pool 203.0.113.7 via 64:ff9b::/96", true},
		{"stateful-pool 203.0.113.7\nwkpf-strict no", false},
		{"stateful-pool 203.0.113.7\nprefix 2001:db8:64::/96", false},
	} {
		t.Run(c.lines, func(t *testing.T) {
			conf, problems := read(wkp + c.lines + "\n")
			var lines []string
			for _, p := range problems {
				lines = append(lines, p.Error())
			}
			got := strings.Join(lines, "\n")
			if strings.Contains(got, "tayga.conf:4: stateful-pool: warning: hosts cannot reach each other by ") != c.warned || problems.Failed() {
				t.Error(got)
			}
			if pool := conf.Stateful.Pools[0].Prefix; pool.IsSingleIP() && len(conf.Prefixes) == 1 {
				if rejects := rejectsHairpin(t, conf, pool.Addr()); rejects != c.warned {
					t.Errorf("%s is rejected: %v", pool, rejects)
				}
			}
		})
	}
}

// rejectsHairpin reports whether a translator rejects a datagram to a shared address because
// that is not a global one.
func rejectsHairpin(t *testing.T, c *Config, a netip.Addr) bool {
	t.Helper()
	table, err := session.New(c.Sessions(nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	conf := c.Table(nil, nil)
	conf.Sessions = table
	tab, err := translate.NewTable(conf)
	if err != nil {
		t.Fatal(err)
	}
	trans, err := translate.New(c.Translator(1500), tab)
	if err != nil {
		t.Fatal(err)
	}
	packet := make([]byte, 48)
	copy(packet, []byte{0x60, 0, 0, 0, 0, 8, 17, 64, 0x20, 1, 0x0d, 0xb8, 23: 1})
	dst := embed(wellKnown, a).As16()
	copy(packet[24:], dst[:])
	copy(packet[40:], []byte{0x9c, 0x40, 0x9c, 0x41, 0, 8, 1, 1})
	ps := translate.NewPackets(1, 2048)
	ps[0].Set(packet)
	return trans.NewWorker().Translate(0, &ps[0]).Reason == translate.NonGlobal
}
