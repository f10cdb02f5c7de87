package fuzz

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/steppe-nat64/steppe/internal/gateway"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/internal/taygaconf/vectors"
	"github.com/steppe-nat64/steppe/translate"
)

// checkProblems fails the test if the problems of a file can't be shown to a
// user: too much of it, lines that the file does not have, or characters
// that would do something to a terminal or begin a line of their own in a log.
func checkProblems(t *testing.T, file []byte, problems taygaconf.Problems) {
	t.Helper()
	if len(problems) > 101 {
		t.Errorf("%d problems", len(problems))
	}
	lines := max(1, bytes.Count(file, []byte("\n"))+1)
	last := 0
	for i, p := range problems {
		bad := func(r rune) bool { return !unicode.IsPrint(r) }
		if p.Text == "" || strings.ContainsFunc(p.Error(), bad) || !utf8.ValidString(p.Error()) || len(p.Error()) > 500 {
			t.Errorf("problem %q", p.Error())
		}
		if p.Line > lines || p.Line < last && i < 100 {
			t.Errorf("problem on line %d of %d, after line %d", p.Line, lines, last)
		}
		last = p.Line
	}
}

// startable says why the daemon could not start with a configuration that
// taygaconf has accepted.
func startable(c *taygaconf.Config, more taygaconf.MapFile) error {
	if !c.IPv4.Is4() || c.IPv6.Is6() == c.CLAT.On || c.TunDevice == "" {
		return fmt.Errorf("incomplete: %+v", c)
	}
	if path := c.MapPath(); (path == "") != (c.MapFile == "") || path != "" && path[0] != '/' {
		return fmt.Errorf("path of the map-file %q: %q", c.MapFile, path)
	}
	g, err := gateway.Install(gateway.Config{Conf: small(c), MapFile: more, Now: start})
	if err != nil {
		return err
	}
	g.Warnings()
	g.Worker(0)
	g.Close()
	return nil
}

// small returns c with smaller pools and fewer sessions: large ones would be fine, and take long.
func small(c *taygaconf.Config) *taygaconf.Config {
	cut := *c
	cut.Pools = nil
	for _, p := range c.Pools {
		p.Prefixes = slices.Clone(p.Prefixes)
		for i, q := range p.Prefixes {
			p.Prefixes[i] = netip.PrefixFrom(q.Addr(), max(q.Bits(), 20))
		}
		cut.Pools = append(cut.Pools, p)
	}
	cut.Stateful.MaxSessions = min(cut.Stateful.MaxSessions, 1<<12) // 0 is 2^18, which costs memory
	if cut.Stateful.MaxSessions == 0 {
		cut.Stateful.MaxSessions = 1 << 12
	}
	return &cut
}

// FuzzTaygaConf: any file as tayga.conf, any STATE_DIRECTORY in the environment.
// No panic; what is said about it is bounded, printable, in the order of lines,
// and the same when it is read again; and if it is not refused, the daemon can
// start with it: table, translator and pool can be made of it. The same holds with
// the file as its own map-file.
func FuzzTaygaConf(f *testing.F) {
	base := strings.Join(vectors.Base, "\n") + "\n"
	add := func(file string) { f.Add([]byte(file), "") }
	add(base)
	for _, v := range vectors.All { // one for each thing that some version of TAYGA takes or refuses
		add(base + v.Added)
	}
	f.Add([]byte(base), "/var/lib/tayga")  // systemd's StateDirectory=
	f.Add([]byte(base), "/var/lib/a:/tmp") // several of them
	f.Add([]byte(base), "relative")        // what systemd never says
	add(base + "data-dir /var/db/tayga\ndata-dir relative\nudp-cksum-mode fwd\nlog drop icmp x\nicmp-errors rfc7915\n" +
		"icmp-node-address yes\nhairpin intrinsic\noffload no\nfast-path off\nworkers 4\nmap-file /tmp/m\ntun-up up\n") // all that vectors leave out
	add("\ufeff" + base + "map 0.0.0.0/0 2001:db8::/96") // byte order mark; a prefix as 0.9.2 writes it
	add(base + "icmp-pool 198.51.100.1 2001:db8::1\ndynamic-pool 10.0.0.0/24\ndynamic-pool-max-per-prefix 64 3\n" +
		"dynamic-pool-hold 90s\ndynamic-pool-forget 2h\ndynamic-pool-refresh outbound\ndynamic-pool-clients 2001:db8::/32\nstatus-socket /run/x\nmetrics-listen [::1]:9464\n") // ours
	add(base + "prefix 64:ff9b::/96\ndynamic-pool 10.0.0.0/28\ndynamic-pool 10.1.0.0/28 via 64:ff9b::/96\n") // bound to a prefix
	add(base + "icmp-rate 10 10\nicmp-mtu-rate unlimited\nicmp-rate off\n")                                  // budgets
	add(base + "prefix 64:ff9b::/96\nembedded-source drop 64:ff9b::/96\nembedded-source forward\nloop-check no\nloop-check yes 64:ff9b::/96\ntos 0\ntraffic-class copy\nflow-labels yes\ntcp-mss-clamp 1220\n")
	add(base + "stateful-pool 203.0.113.0/30 1024-32767\nprefix 64:ff9b::/96\nstateful-pool 192.168.255.1 via 64:ff9b::/96\n" +
		"stateful-map tcp 203.0.113.1:80 [2001:db8:7::7]:80\nstateful-map icmp 192.168.255.1:0 [2001:db8:7::7]:9\n" +
		"dynamic-pool 10.0.0.0/28\ndynamic-pool-clients 2001:db8:9::/48\nstateful-filter address-dependent\nstateful-timeout dns 1\nstateful-timeout tcp 3h\n" +
		"stateful-clients 2001:db8:7::/48\nstateful-max-sessions 4096\nstateful-max-per-prefix 56 70\nstateful-max-held-syns 0\nstateful-port-block 64\nstateful-log blocks\n")
	add("clat yes\nclat-uplink eth0\nclat-address 2001:db8:1::464\nclat-resolver 2001:db8::53 [fe80::1]:53 127.0.0.53\nclat-share 172.17.0.0/16 10.0.0.7\nclat-inbound no\nprefix 64:ff9b::/96\n")
	add("clat yes\nclat-share 0.0.0.0/0\nclat-share 10.0.0.0/8 10.0.0.0/9\nmap 0.0.0.0/0 2001:db8::/96\nprefix 2001:db8:0:0:100::/96\nhairpin simple\nipv4-addr 192.0.0.1\n")
	add(base + "icmp-pool 240.0.0.1\n")                                         // unicast to TAYGA alone
	add(base + "prefix 2001:db8:0:0:100::/96\nprefix 2001:db8:0:0:200::/96\n")  // none is of RFC 6052
	add(base + "prefix 2001:db8:0:0:100::/96\nmap 0.0.0.0/0 2001:db8:9::/64\n") // the same prefix of IPv4, twice
	add(base + "frob\x1b[2J\nmap \u202e 1\n")                                   // control characters of a terminal
	f.Fuzz(func(t *testing.T, file []byte, state string) {
		if len(file) > 1<<16 {
			return
		}
		getenv := func(name string) (string, bool) { return state, state != "" && name == "STATE_DIRECTORY" }
		c, problems := taygaconf.Read(bytes.NewReader(file), "f", getenv)
		checkProblems(t, file, problems)
		again, same := taygaconf.Read(bytes.NewReader(file), "f", getenv)
		if !reflect.DeepEqual(c, again) || !reflect.DeepEqual(problems, same) {
			t.Errorf("read again:\n%+v %v\n%+v %v", c, problems, again, same)
		}
		if problems.Failed() {
			return
		}
		if err := startable(c, taygaconf.MapFile{}); err != nil {
			t.Errorf("accepted, but %v", err)
		}
		maps, problems := c.ReadMaps(bytes.NewReader(file), "f")
		checkProblems(t, file, problems)
		if err := startable(c, maps); err != nil {
			t.Errorf("maps accepted, but %v", err)
		}
	})
}

// mapLine reads a line of a map-file as plainly as possible: ok is false if it is
// no map, words are what it consists of before a comment.
func mapLine(line string) (m translate.Map, words []string, ok bool) {
	words = strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r", r) })
	for i, w := range words {
		if w[0] == '#' {
			words = words[:i]
			break
		}
	}
	if len(words) != 3 || !strings.EqualFold(words[0], "map") {
		return m, words, false
	}
	parse := func(word string) (netip.Prefix, bool) {
		if a, err := netip.ParseAddr(word); err == nil {
			return netip.PrefixFrom(a, a.BitLen()), true
		}
		text, length, _ := strings.Cut(word, "/")
		length = strings.TrimLeft(strings.TrimPrefix(length, "+"), "0") // as strtol does
		if length == "" {
			length = "0"
		}
		p, err := netip.ParsePrefix(text + "/" + length)
		return p.Masked(), err == nil
	}
	v4, ok4 := parse(words[1])
	v6, ok6 := parse(words[2])
	return translate.Map{IPv4: v4, IPv6: v6}, words, ok4 && ok6 && v4.Addr().Is4() && v6.Addr().Is6()
}

// FuzzMapFile: any file as map-file beside a configuration that has a prefix, a
// map, pools of both kinds and its own addresses. No panic; messages as in FuzzTaygaConf; each
// map that is taken stands on the line that it names, as a plain reader reads it,
// each line is taken or spoken of, of two lines for an address the later one
// counts; the table can be built; and the maps that were taken, written to a file
// by themselves, are taken again without a word.
func FuzzMapFile(f *testing.F) {
	f.Add([]byte("map 198.51.100.1 2001:db8:7::1\n# remark\n\nMAP\t198.51.100.2/32\t2001:db8:7::2/128 # remark\r\n"))    // good
	f.Add([]byte("map 198.51.100.1 2001:db8:7::1\nmap 198.51.100.1 2001:db8:7::2\nmap 198.51.100.3 2001:db8:7::2"))      // the later counts
	f.Add([]byte("map 192.0.2.7 2001:db8:7::1\nmap 198.51.100.1 2001:db8:1:ffff::1\nmap 192.168.255.1 2001:db8:7::3\n")) // taken by tayga.conf
	f.Add([]byte("map 198.51.100.77/24 2001:db8:7::77/120\nmap 198.51.100.0/24 2001:db8:7::/121\n"))                     // host bits; too little room
	f.Add([]byte("map 0.0.0.0/0 2001:db8:7::/96\nmap 0/0 ::/0\nmap 1.2.3.4/032 2001:db8:7::9/+128\nprefix 64:ff9b::/96\n"))
	f.Add([]byte("map 224.0.0.1 ff02::1\nmap 127.0.0.1 ::1\nmap 198.51.100.1 fe80::1\nmap 10.0.0.0/8 fe00::/8\n")) // no hosts
	f.Add([]byte("\ufffd"))                                                                                        // valid UTF-8
	f.Add([]byte("map 1.2.3.4 2001:db8:7::1 x\nmap 1.2.3.4\nmap\nmap 1.2.3.4 5.6.7.8\nmap a b c d e f g h i j k\n"))
	const conf = "tun-device nat64\nipv4-addr 192.168.255.1\nipv6-addr 2001:db8:f::1\nprefix 2001:db8:1:ffff::/96\n" +
		"map 192.0.2.7 2001:db8:6::7\ndynamic-pool 10.0.0.0/24\ndynamic-pool-clients 2001:db8:9::/48\nstateful-pool 203.0.113.0/30\nstateful-map tcp 203.0.113.1:80 [2001:db8:6::8]:80\n"
	f.Add([]byte("stateful-map tcp 203.0.113.1:25 [2001:db8:6::8]:25\nmap 203.0.113.1 2001:db8:6::9\nmap 198.51.100.1 2001:db8:6::8\nstateful-map udp 203.0.113.1:25 [2001:db8:6::7]:25\n")) // shared
	f.Add([]byte("map 198.51.100.1 2001:db8:7::1\nmap 198.51.100.0/24 2001:db8:8::/120\nstateful-map tcp 203.0.113.1:26 [2001:db8:7::1]:1\nstateful-map icmp 203.0.113.1:0 [2001:db8:8::2]:0\nstateful-map tcp x y\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if len(file) > 1<<14 || bytes.IndexByte(file, 0) >= 0 || bytes.HasPrefix(file, []byte("\ufeff")) {
			return // no text file: FuzzTaygaConf reads such
		}
		c, problems := taygaconf.Read(strings.NewReader(conf), "tayga.conf", nil)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		maps, problems := c.ReadMaps(bytes.NewReader(file), "maps")
		checkProblems(t, file, problems)
		if err := startable(c, maps); err != nil {
			t.Errorf("accepted, but %v", err)
		}

		lines := strings.Split(string(file), "\n")
		spoken, refused := map[int]bool{}, map[int]bool{}
		for _, p := range problems {
			spoken[p.Line] = true
			refused[p.Line] = refused[p.Line] || !p.Warning
		}
		for _, b := range maps.Bindings {
			spoken[b.Line] = true
			if got := "stateful-map " + b.String(); strings.Join(strings.Fields(got), " ") != got || refused[b.Line] {
				t.Errorf("line %d, %q, was read as %q", b.Line, lines[b.Line-1], got)
			}
		}
		taken := map[int]translate.Map{}
		for _, m := range maps.Maps {
			taken[m.Line] = m.Map
		}
		later := map[netip.Prefix]bool{} // named by a line that was taken, or would be but for one still later
		for i := len(lines); i > 0; i-- {
			m, words, ok := mapLine(lines[i-1])
			got, found := taken[i]
			replaced := ok && (later[m.IPv4] || later[m.IPv6])
			switch {
			case found && (!ok || got != m):
				t.Errorf("line %d, %q, was read as %v", i, lines[i-1], got)
			case found && replaced:
				t.Errorf("line %d, %q, counts in spite of a later one", i, lines[i-1])
			case !found && len(words) > 0 && !spoken[i] && !replaced && len(problems) < 100:
				t.Errorf("nothing was said about line %d, %q", i, lines[i-1])
			}
			if ok && !refused[i] {
				later[m.IPv4], later[m.IPv6] = true, true
			}
		}

		var b bytes.Buffer
		for _, m := range maps.Maps {
			fmt.Fprintf(&b, "map %s\n", m.Map)
		}
		for _, m := range maps.Bindings {
			fmt.Fprintf(&b, "stateful-map %s\n", m)
		}
		again, problems := c.ReadMaps(&b, "maps")
		for _, p := range problems {
			if !strings.Contains(p.Text, "are not translated") && !strings.Contains(p.Text, "link-local") { // always warned of
				t.Errorf("written and read: %v", p)
			}
		}
		if len(again.Maps) != len(maps.Maps) {
			t.Fatalf("%d maps written, %d read", len(maps.Maps), len(again.Maps))
		}
		if len(again.Bindings) != len(maps.Bindings) {
			t.Fatalf("%d bindings written, %d read", len(maps.Bindings), len(again.Bindings))
		}
		for i := range maps.Maps {
			if maps.Maps[i].Map != again.Maps[i].Map {
				t.Errorf("%v written, %v read", maps.Maps[i].Map, again.Maps[i].Map)
			}
		}
	})
}
