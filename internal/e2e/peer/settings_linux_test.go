package peer

import (
	"strings"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
)

// A setting is a configuration and what is tried under it.
type setting struct {
	name   string
	conf   string
	raw    bool // nothing is masked
	trials []trial
}

// common begins all configurations.
const common = "tun-device " + device + "\nipv4-addr 192.0.2.254\n"

// usual has everything.
const usual = common + `ipv6-addr 2001:db8:f::254
prefix 2001:db8:64::/96
map 192.0.2.6 2001:db8:6::6
map 192.0.2.16/28 2001:db8:cccc::/124
map 192.0.2.18 2001:db8:18::18
dynamic-pool 203.0.113.64/26
`

// settings are what TestTraffic goes through.
var settings = []setting{
	{"from-ipv4", usual, false, from4},
	{"from-ipv6", usual, false, from6},
	{"errors-from-ipv4", usual, false, errors4},
	{"errors-from-ipv6", usual, false, errors6},
	{"unmasked", usual, true, unmasked},
	{"maps-only", common + `ipv6-addr 2001:db8:f::254
map 192.0.2.6 2001:db8:6::6
map 198.51.100.4 2001:db8:4::4
`, false, mapsOnly},
	{"well-known-prefix", common + `ipv6-addr 2001:db8:f::254
prefix 64:ff9b::/96
map 192.0.2.6 2001:db8:6::6
`, false, wellKnown},
	{"strict-frag-hdr", usual + "strict-frag-hdr on\n", false, strictFragHdr},
	{"small-pool", common + `ipv6-addr 2001:db8:f::254
prefix 2001:db8:64::/96
dynamic-pool 172.16.2.0/30
`, false, smallPool},
	prefixed("2001:db8::/32", "2001:db8:c000:2fe::", "2001:db8:c633:6404::", "2001:db8:c633:6404:80::1"),
	prefixed("2001:db8:100::/40", "2001:db8:1c0:2:fe::", "2001:db8:1c6:3364:4::", "2001:db8:1c6:3364:4::1"),
	prefixed("2001:db8:122::/48", "2001:db8:122:c000:2:fe00::", "2001:db8:122:c633:64:400::", "2001:db8:122:c633:64:401::"),
	prefixed("2001:db8:122:300::/56", "2001:db8:122:3c0:0:2fe::", "2001:db8:122:3c6:33:6404::", "2001:db8:122:3c6:133:6404::"),
	prefixed("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:fe00:0", "2001:db8:122:344:c6:3364:400:0", "2001:db8:122:344:c6:3364:400:1"),
}

// prefixed is a setting with a prefix of another length, and a map of M4 to N6.
// own is the address that stands for X4, host the one that stands for H4, and
// strange the same with bits set that should be zero.
func prefixed(prefix, own, host, strange string) setting {
	to := func(a string, p pt.Payload) []byte { return pt.IP(pt.Header{Src: n6, Dst: addr(a)}, p) }
	_, bits, _ := strings.Cut(prefix, "/")
	return setting{
		name: "prefix-" + bits,
		conf: common + "prefix " + prefix + "\nmap 192.0.2.6 " + n6.String() + "\n",
		trials: []trial{
			{"4to6", in(ip4(udp())), host + ">N6 udp 68", "", same},
			{"6to4", in(to(host, udp())), "M4>H4 udp 48", "", same},
			{"own-echo-request", in(to(own, request())), own + ">N6 ttl=64 icmp6=129/0 68", "", same},
			{"bits-after", in(to(strange, udp())),
				own + ">N6 ttl=64 icmp6=1/0 (N6>" + strange + " ttl=64 udp 68) 116", "M4>H4 udp 48", suffixBits},
		},
	}
}
