package taygaconf

import (
	"strings"
	"testing"
)

// TestHintsAreAllowed: some messages suggested a line that is an error, too, as
// "stateful-pool 8.8.100.8/8" did: 8.0.0.0/8 is too large. And a stateful-map without a pool
// suggested one with an address that has nothing to do with it.
func TestHintsAreAllowed(t *testing.T) {
	for line, want := range map[string]string{
		"stateful-pool 8.8.100.8/8":                                             "stateful-pool: 8.8.100.8/8 has more than 65536 addresses: use a length of 16 to 32",
		"stateful-pool 127.0.0.1/24":                                            "stateful-pool: 127.0.0.0 is a loopback address",
		"stateful-pool 255.255.255.255/31":                                      "stateful-pool: 255.255.255.255/31 contains 255.255.255.255, the broadcast address: use a smaller pool",
		"stateful-pool 203.0.113.1 5000-0":                                      "stateful-pool: ports 5000-0: no packet has port 0: begin with 1 or more, usually 1024",
		"dynamic-pool 224.0.0.1/8":                                              "dynamic-pool: 224.0.0.0 is a multicast address",
		"prefix fe80::1/64":                                                     "prefix: fe80:: is a link-local address",
		"stateful-map tcp 203.0.113.9:80 [2001:db8::2]:80":                      `stateful-map: there is no stateful-pool: add a line such as "stateful-pool 203.0.113.9"`,
		"stateful-map tcp 127.0.0.1:80 [2001:db8::2]:80":                        `stateful-map: there is no stateful-pool: add a line such as "stateful-pool 192.0.2.1"`,
		"stateful-pool 8.8.8.8\nstateful-map tcp 127.0.0.1:80 [::]:80":          `stateful-map: :: lies in ::/8, which is reserved`,
		"stateful-pool 8.8.8.8\nstateful-map tcp 127.0.0.1:80 [2001:db8::2]:80": `stateful-map: 127.0.0.1 is a loopback address`,
		"stateful-pool 8.8.8.8\nstateful-map tcp 0.1.2.3:80 [2001:db8::2]:80":   `stateful-map: 0.1.2.3 lies in 0.0.0.0/8: packets with such an address are not translated`,
		"stateful-pool 8.8.8.8\nmap 9.9.9.0/24 2001:db8:9::/120\nstateful-map tcp 9.9.9.9:80 [2001:db8::2]:80": `stateful-map: 9.9.9.9 is in no stateful-pool, but belongs to map 9.9.9.0/24 on line 5`,
		"stateful-pool 8.8.8.8\ndynamic-pool 9.9.9.0/24\nstateful-map tcp 9.9.9.9:80 [2001:db8::2]:80":         `stateful-map: 9.9.9.9 is in no stateful-pool, but belongs to dynamic-pool 9.9.9.0/24 on line 5`,
		"stateful-pool 8.8.8.8\ndynamic-pool 9.9.9.0/24\nstateful-map tcp 8.8.8.8:80 [2001:db8:5::2]:80":       `stateful-map: 2001:db8:5::2 leases an address of a dynamic-pool, as all hosts do, and would not answer from 8.8.8.8: name those that lease by a line with dynamic-pool-clients, without this one, or give it a map`,
		"statefull-pool 8.8.8.8": `unknown directive "statefull-pool": did you mean stateful-pool?`,
	} {
		_, problems := read(minimal + line + "\n")
		found := false
		for _, p := range problems {
			_, text, _ := strings.Cut(p.Error(), ": ")
			found = found || text == want
		}
		if !found {
			t.Errorf("%s: %v", line, problems)
		}
	}
}

// TestMisspeltDirectives: each directive with one mistake leads back to it or to another one
// as near, words far from all lead to none, and a file of a million mistakes is read in time.
func TestMisspeltDirectives(t *testing.T) {
	hint := func(word string) string {
		_, problems := read(minimal + word + " 1\n")
		_, hint, _ := strings.Cut(problems[0].Text, ": did you mean ")
		return strings.TrimSuffix(hint, "?")
	}
	for name := range directives {
		for i := range name {
			for _, word := range []string{name[:i] + name[i+1:], name[:i] + "x" + name[i:], name[:i] + "_" + name[i+1:], strings.ToUpper(name[:i] + name[i:i+1] + name[i:])} {
				if _, known := directives[strings.ToLower(word)]; known || len(word) < 3 {
					continue
				}
				got := hint(word)
				if _, known := directives[got]; !known || distance(strings.ToLower(word), got, 9) != 1 {
					t.Errorf("%s: %q", word, got)
				}
			}
		}
	}
	for word, want := range map[string]string{
		"stateful-pol": "stateful-pool", "statefullpool": "stateful-pool", "dynamc-pol": "dynamic-pool", "tun-devcie": "tun-device", "perfix": "prefix",
		"maps": "map", "logs": "log", "x": "", "ip": "", "server": "", "interface": "", "stateful": "", strings.Repeat("s", 70_000/2): "",
		"präfix": "prefix", "stateful-max-per-prefix-and-more-than-that-": "",
	} {
		if got := hint(word); got != want {
			t.Errorf("%.40s: %q, want %q", word, got, want)
		}
	}
	_, problems := read(strings.Repeat("statefull-pool 1\n", 1_000_000))
	if !strings.Contains(problems[0].Text, "did you mean stateful-pool?") {
		t.Error(problems[0])
	}
}
