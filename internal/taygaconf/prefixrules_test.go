package taygaconf

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/steppe-nat64/steppe/translate"
)

const (
	wkpPool = "tun-device nat64\nipv4-addr 192.168.255.1\nipv6-addr 2001:db8:f::1\nprefix 64:ff9b::/96\ndynamic-pool 192.168.255.0/24\n"
	ownPool = "tun-device nat64\nipv4-addr 192.168.255.1\nipv6-addr 2001:db8:f::1\nprefix 2001:db8:64::/96\ndynamic-pool 192.168.255.0/24\n"
)

// TestEmbeddedSource: the daemon had no directive for embedded sources, so any host
// of a NAT64 network could send with any IPv4 source address, past the masquerading.
// It drops them by default where RFC 6052 lets no host have such an address.
func TestEmbeddedSource(t *testing.T) {
	const second = "prefix 2001:db8:65::/96\n"
	mapInside := []Map{{Map: translate.Map{IPv4: netip.MustParsePrefix("192.0.2.7/32"), IPv6: netip.MustParsePrefix("64:ff9b::c000:207/128")}}}
	for _, c := range []struct {
		name, text string
		more       []Map
		want       []bool // of each prefix
	}{
		{"well-known-with-pool", wkpPool, nil, []bool{true}},
		{"well-known-with-bound-pool", wkpPool + second + "dynamic-pool 10.0.0.0/24 via 2001:db8:65::/96\n", nil, []bool{true, false}},
		{"well-known-with-map-inside", wkpPool, mapInside, []bool{false}},
		{"well-known-without-pool", strings.Replace(wkpPool, "dynamic-pool", "#", 1), nil, []bool{false}},
		{"well-known-off", wkpPool + "embedded-source forward\n", nil, []bool{false}},
		{"well-known-off-by-name", wkpPool + "embedded-source forward 64:ff9b::/96\n", nil, []bool{false}},
		{"own-prefix", ownPool, nil, []bool{false}},
		{"own-prefix-on", ownPool + "embedded-source drop\n", nil, []bool{true}},
		{"one-of-two", ownPool + second + "embedded-source drop 2001:db8:65::/96\n", nil, []bool{false, true}},
		{"all-but-one", "embedded-source forward 2001:db8:65::/96\n" + ownPool + second + "embedded-source drop\n", nil, []bool{true, false}},
		{"both-by-name", ownPool + second + "embedded-source drop 2001:db8:65::/96 2001:db8:64::/96\n", nil, []bool{true, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := mustRead(t, c.text)
			var got []bool
			for _, r := range conf.Table(c.more, nil).Rules {
				got = append(got, r.DropSource)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("dropped: %v, want %v", got, c.want)
			}
			if _, err := translate.NewTable(conf.Table(c.more, nil)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLoopCheck: from 64:ff9b::/96 no host is numbered, so loops are checked for
// there unless the file says otherwise; for other prefixes the file has to say so.
func TestLoopCheck(t *testing.T) {
	const second = "prefix 2001:db8:65::/96\n"
	for _, c := range []struct {
		name, text string
		want       []bool // of each prefix
	}{
		{"well-known", wkpPool, []bool{true}},
		{"clat", "tun-device clat\nprefix 64:ff9b::/96\nipv4-addr 192.0.0.2\nmap 192.0.0.1 2001:db8:f00::464\n", []bool{true}},
		{"well-known-off", wkpPool + "loop-check no\n", []bool{false}},
		{"well-known-off-by-name", wkpPool + second + "loop-check no 64:ff9b::/96\n", []bool{false, false}},
		{"own-prefix", ownPool, []bool{false}},
		{"own-prefix-on", ownPool + "loop-check yes\n", []bool{true}},
		{"one-of-two", ownPool + second + "loop-check yes 2001:db8:65::/96\n", []bool{false, true}},
		{"all-but-one", ownPool + second + "loop-check yes\nloop-check no 2001:db8:65::/96\n", []bool{true, false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []bool
			for _, r := range mustRead(t, c.text).Table(nil, nil).Rules {
				got = append(got, r.CheckLoops)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("checked: %v, want %v", got, c.want)
			}
		})
	}
}

func TestEmbeddedSourceProblems(t *testing.T) {
	for text, want := range map[string]string{
		"embedded-source drop\nembedded-source forward\n":                                   "tayga.conf:7: embedded-source: given before without a prefix, on line 6: remove one of the two",
		"embedded-source drop 2001:db8:64::/96\nembedded-source forward 2001:db8:64::/96\n": "tayga.conf:7: embedded-source: 2001:db8:64::/96 is named before, on line 6: remove one of the two",
		"embedded-source drop 2001:db8:64::/96 2001:db8:64::/96\n":                          "tayga.conf:6: embedded-source: 2001:db8:64::/96 is named before, on line 6: remove one of the two",
		"embedded-source drop 2001:db8:64::1/96\n":                                          "tayga.conf:6: embedded-source: 2001:db8:64::1/96 has host bits set: did you mean 2001:db8:64::/96?",
		"embedded-source drop 2001:db8:64::\n":                                              "tayga.conf:6: embedded-source: length missing: write 2001:db8:64::/LENGTH",
		"embedded-source drop 10.0.0.0/8\n":                                                 `tayga.conf:6: embedded-source: "10.0.0.0" is not an IPv6 address such as 2001:db8::1`,
	} {
		if _, problems := read(ownPool + text); len(problems) != 1 || problems[0].Error() != want {
			t.Errorf("%q: %v, want %s", text, problems, want)
		}
	}
	odd := strings.ReplaceAll(ownPool, "2001:db8:64::/96", "2001:db8:0:0:100::/96")
	for text, want := range map[string]string{
		"embedded-source drop 2001:db8::100:0:0:0/96\n": "tayga.conf:6: embedded-source: bits 64 to 71 of 2001:db8:0:0:100::/96 must be zero for that (RFC 6052 §2.2)",
		"embedded-source drop\n":                        "tayga.conf:6: embedded-source: warning: does not apply to 2001:db8:0:0:100::/96, whose bits 64 to 71 are not zero (RFC 6052 §2.2)",
	} {
		if _, problems := read(odd + text); len(problems) == 0 || problems[len(problems)-1].Error() != want {
			t.Errorf("%q: %v, want %s", text, problems, want)
		}
	}
}

// TestAdvice: embedded sources are worth a note wherever they pass without having
// been asked for, but not before IPv4 hosts, for which they are the purpose.
func TestAdvice(t *testing.T) {
	const note = `tayga.conf:4: prefix: note: an IPv6 host can send packets with any IPv4 source address, from an address inside `
	for _, c := range []struct{ name, text, want string }{
		{"well-known-with-pool", wkpPool, ""},
		{"own-prefix", ownPool, note + `2001:db8:64::/96: unless hosts are numbered from it, add "embedded-source drop"`},
		{"decided", ownPool + "embedded-source forward\n", ""},
		{"one-of-two", ownPool + "prefix 2001:db8:65::/96\nembedded-source drop 2001:db8:65::/96\n", note + `2001:db8:64::/96: unless hosts are numbered from it, add "embedded-source drop 2001:db8:64::/96"`},
		{"maps", "tun-device siit\nipv4-addr 192.0.2.1\nipv6-addr 2001:db8:f::1\nprefix 64:ff9b::/96\nmap 192.0.2.7 2001:db8:7::7\n", note + `64:ff9b::/96: unless hosts are numbered from it, add "embedded-source drop"`},
		{"clat", "tun-device clat\nprefix 64:ff9b::/96\nipv4-addr 192.0.0.2\nmap 192.0.0.1 2001:db8:f00::464\n", ""},
		{"public-pool", strings.Replace(wkpPool, "dynamic-pool 192.168.255.0/24", "dynamic-pool 45.67.89.0/24", 1), `tayga.conf:5: dynamic-pool: note: packets from the internet to 45.67.89.0/24 renew leases of hosts that have left: add "dynamic-pool-refresh outbound"`},
		{"public-pool-decided", strings.Replace(wkpPool, "dynamic-pool 192.168.255.0/24", "dynamic-pool 45.67.89.0/24", 1) + "dynamic-pool-refresh both\n", ""},
		{"edge-relay", "tun-device siit\nipv4-addr 192.0.0.2\nipv6-addr 2001:db8:f::1\nprefix 2001:db8:46::/96\ntun-ip 192.0.2.20\nmap 192.0.2.20 2001:db8:1:34::20\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.Join(mustRead(t, c.text).Advice(nil), "\n"); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
