package taygaconf

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// TestRefusedWords: what directives say to words that they do not take.
func TestRefusedWords(t *testing.T) {
	for added, want := range map[string]string{
		"map":                             "map: words are missing after it",
		"dynamic-pool x/24":               `dynamic-pool: "x" is not an IPv4 address such as 192.0.2.1`,
		"dynamic-pool 10.0.0.0":           "dynamic-pool: length missing: write 10.0.0.0/LENGTH",
		"dynamic-pool 169.254.0.0/16":     "dynamic-pool: warning: 169.254.0.0 is a link-local address, which routers do not forward",
		"dynamic-pool 240.0.0.0/32":       "dynamic-pool: length 32 leaves no address to assign: use 31 or less",
		"dynamic-pool 0.0.0.0/16":         "dynamic-pool: warning: 0.0.0.0/16 lies in 0.0.0.0/8: packets with such an address are not translated",
		"udp-cksum-mode zero":             `udp-cksum-mode: "zero" is none of drop, calc, fwd`,
		"tun-up yes\ntun-route x":         `tun-route: "x" is not an IPv4 address such as 192.0.2.1`,
		"tun-up yes\ntun-route 10.1/8":    `tun-route: "10.1" is not an IPv4 address such as 192.0.2.1`,
		"tun-up yes\ntun-route ::1/64":    "tun-route: warning: ::1/64 taken for ::/64",
		"tun-up yes\ntun-route 1.1.1.1/8": "tun-route: 1.1.1.1/8 has host bits set: did you mean 1.0.0.0/8?",
		"icmp-rate 0":                     `icmp-rate: rate: "0" is not a number from 1 to 1000000, nor off or unlimited`,
		"icmp-rate 100 0":                 `icmp-rate: burst: "0" is not a number from 1 to 1000000`,
		"icmp-rate off 5":                 `icmp-rate: "5" is one word too many: off has no burst`,
		"icmp-rate unlimited 5":           `icmp-rate: "5" is one word too many: unlimited has no burst`,
		"icmp-rate 1 2 3":                 `icmp-rate: "3" is one word too many: put comments after a #`,
		"icmp-rate":                       "icmp-rate: one word is missing after it",
		"icmp-mtu-rate none":              `icmp-mtu-rate: rate: "none" is not a number from 1 to 1000000, nor off or unlimited`,
		"icmp-mtu-rate off":               "icmp-mtu-rate: warning: without these errors hosts do not learn that their packets are too large, and connections stall",
		"icmp-pool x":                     `icmp-pool: "x" is not an IPv4 address such as 192.0.2.1`,
		"icmp-pool 192.0.2.1 ff02::1":     "icmp-pool: ff02::1 is a multicast address",
		"icmp-pool 169.254.1.1":           "icmp-pool: 169.254.1.1 is a link-local address, which routers do not forward",
		"icmp-pool" + strings.Repeat(" 192.0.2.1", 9) + strings.Repeat("\nicmp-pool"+strings.Repeat(" 192.0.2.2", 8), 31): "icmp-pool: more than 256 addresses of one family",
		"dynamic-pool 10.0.0.0/24\ndynamic-pool-clients 10.0.0.0/8":                                                       `dynamic-pool-clients: "10.0.0.0" is not an IPv6 address such as 2001:db8::1`,
		"dynamic-pool 10.0.0.0/24\ndynamic-pool-clients 2001:db8::1/64":                                                   "dynamic-pool-clients: 2001:db8::1/64 has host bits set: did you mean 2001:db8::/64?",
	} {
		_, problems := read(minimal + added + "\n")
		if len(problems) != 1 || !strings.HasSuffix(problems[0].Error(), ": "+want) || problems.Failed() == strings.Contains(want, "warning") {
			t.Errorf("%s\ngot  %v\nwant %s", added, problems, want)
		}
	}
}

func TestUDPChecksumMode(t *testing.T) {
	for word, want := range map[string]translate.UDPZero{
		"drop": translate.UDPZeroDrop, "DR": translate.UDPZeroDrop, "dry": translate.UDPZeroDrop,
		"calc": translate.UDPZeroCompute, "calculate": translate.UDPZeroCompute,
		"fwd": translate.UDPZeroForward, "Forward": translate.UDPZeroForward,
	} {
		c, problems := read(minimal + "udp-cksum-mode " + word + "\n")
		if c.UDPZero != want || len(problems) > 0 {
			t.Errorf("%s: %v, %v", word, c.UDPZero, problems)
		}
	}
}

// TestStateDirectory: systemd's directory stands in for data-dir if it can.
func TestStateDirectory(t *testing.T) {
	for value, want := range map[string]string{
		"/var/lib/tayga":                "/var/lib/tayga",
		"/var/lib/a:/var/lib/b":         "/var/lib/a",
		"relative":                      "",
		"":                              "",
		"/" + strings.Repeat("x", 510):  "/" + strings.Repeat("x", 510),
		"/" + strings.Repeat("x", 511):  "",
		"/" + strings.Repeat("x", 9999): "",
	} {
		c, problems := Read(strings.NewReader(minimal), "tayga.conf", func(string) (string, bool) { return value, true })
		if c.DataDir != want || problems.Failed() != (want == "") {
			t.Errorf("STATE_DIRECTORY=%.20s: %q, %v", value, c.DataDir, problems)
		}
	}
}

// TestPrefixOfTAYGA: a /96 that is none of RFC 6052 becomes a map of all of IPv4,
// and the table takes it.
func TestPrefixOfTAYGA(t *testing.T) {
	c, problems := read("tun-device nat64\nipv4-addr 192.0.2.1\nprefix 2001:db8:0:0:100::/96\nmap 198.51.100.7 2001:db8:7::7\n")
	if problems.Failed() {
		t.Fatal(problems)
	}
	p := netip.MustParsePrefix
	want := []translate.Map{
		{IPv4: p("0.0.0.0/0"), IPv6: p("2001:db8:0:0:100::/96")},
		{IPv4: p("198.51.100.7/32"), IPv6: p("2001:db8:7::7/128")},
	}
	tc := c.Table(nil, nil)
	if len(tc.Prefixes) > 0 || !reflect.DeepEqual(tc.Maps, want) {
		t.Errorf("got %+v", tc)
	}
	if _, err := translate.NewTable(tc); err != nil {
		t.Error(err)
	}
}

// TestManyPrefixes: each prefix and each pool is held against all the others, and
// a file of the size that is allowed, with nothing else in it, took hours.
func TestManyPrefixes(t *testing.T) {
	for directive, format := range map[string]string{"prefix": "2001:db9:%x:%x::/96", "dynamic-pool": "10.%d.%d.0/24"} {
		for _, n := range []int{255, 256, 200_000} {
			var b strings.Builder
			b.WriteString(minimal)
			if directive == "prefix" {
				b.Reset()
				b.WriteString(strings.Replace(minimal, "prefix", "#", 1))
			}
			for i := range n {
				fmt.Fprintf(&b, directive+" "+format+"\n", i>>8&255, i&255)
			}
			begin := cpuTime(t)
			_, problems := read(b.String())
			if problems.Failed() != (n > 256) {
				t.Errorf("%d lines: %.1v", n, problems)
			}
			if n > 256 && !strings.Contains(problems[0].Error(), ": more than 256 p") {
				t.Errorf("%d lines: %v", n, problems[0])
			}
			if took := cpuTime(t) - begin; took > time.Minute {
				t.Errorf("%d lines took %v", n, took)
			}
		}
	}
}
