package main

import (
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/steppe-nat64/steppe/fastpath"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// clinicConf is the configuration of the classic gateway: a private pool with
// the well-known prefix.
const clinicConf = `tun-device nat64
ipv4-addr 192.168.255.1
ipv6-addr 2001:db8:1::64
prefix 64:ff9b::/96
dynamic-pool 192.168.255.0/24
data-dir DIR
status-socket DIR/sock
`

// clinic is a gateway in good health between a client that has only IPv6 and a
// server that has only IPv4 and has no route beyond its own network.
type clinic struct {
	*village
	dns64    atomic.Pointer[[]netip.Addr] // what the resolver answers
	upstream *netlab.Host                 // of a host with a CLAT: the other translator
	environ  []string                     // of the doctor, beside that of the test
	failure  string                       // that the doctor may report
}

// finding is what --doctor --json prints.
type finding struct{ Severity, About, Text, Command string }

func newClinic(t *testing.T, conf string) *clinic {
	t.Helper()
	lab := netlab.New(t)
	v := &village{client: lab.Host("client"), server: lab.Host("server")}
	gateway := lab.Host("gateway")
	lab.Link(v.client, "eth0", gateway, "eth0", 1500)
	lab.Link(gateway, "eth1", v.server, "eth0", 1500)
	gateway.Addr("eth0", "2001:db8:c::1/64")
	gateway.Addr("eth1", "198.51.98.1/24")
	gateway.DefaultRoute("198.51.98.2", "")
	v.client.Addr("eth0", clientAddr+"/64")
	v.client.DefaultRoute("2001:db8:c::1", "")
	v.server.Addr("eth0", serverAddr+"/24")

	self, err := program()
	require.NoError(t, err)
	v.bench = &bench{T: t, host: gateway, self: self, dir: t.TempDir()}
	v.conf = v.dir + "/tayga.conf"
	v.configure(conf)
	require.NoError(t, os.WriteFile(v.dir+"/resolv.conf", []byte("nameserver 127.0.0.1\noptions timeout:1\n"), 0o644))
	c := &clinic{village: v}
	c.resolver("64:ff9b::")
	return c
}

// synthesise has the resolver answer with a prefix of 96 bits.
func (c *clinic) synthesise(prefix string) {
	c.dns64.Store(&[]netip.Addr{netip.MustParseAddr(prefix + "192.0.0.170"), netip.MustParseAddr(prefix + "192.0.0.171")})
}

// heal does what an operator does who knows what to do.
func (c *clinic) heal() {
	c.Helper()
	c.host.Forwarding()
	c.mktun()
	c.host.Up("nat64")
	c.host.Route("192.168.255.0/24", "", "nat64")
	c.host.Route("64:ff9b::/96", "", "nat64")
	c.host.Nft(`table ip nat {
	chain post {
		type nat hook postrouting priority srcnat;
		oifname "eth1" ip saddr 192.168.255.0/24 masquerade
	}
}`)
	c.start()
}

func (c *clinic) mktun() {
	c.Helper()
	out, errs, code := c.tayga("--mktun", "-c", c.conf)
	require.Equal(c, 0, code, out+errs)
}

// start starts the daemon in the background.
func (c *clinic) start() {
	c.Helper()
	out, errs, code := c.tayga("-c", c.conf, "-p", c.dir+"/pid")
	require.Equal(c, 0, code, out+errs)
}

// resolver answers every question with the addresses of c.dns64.
func (c *clinic) resolver(prefix string) {
	c.Helper()
	c.synthesise(prefix)
	conn, err := c.host.ListenPacket("udp4", "127.0.0.1:53")
	require.NoError(c, err)
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
			for _, a := range *c.dns64.Load() {
				m.Answers = append(m.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 60},
					Body:   &dnsmessage.AAAAResource{AAAA: a.As16()},
				})
			}
			if reply, err := m.Pack(); err == nil {
				conn.WriteTo(reply, from)
			}
		}
	}()
	c.Cleanup(func() { conn.Close() })
}

// doctorCommand is the doctor, with the resolver and the state directory of the clinic.
func (c *clinic) doctorCommand(args ...string) *netlab.Cmd {
	const script = `mount --bind "$1/resolv.conf" /etc/resolv.conf && mkdir -p "$1/lib" && mount --bind "$1/lib" /var/lib && shift && exec "$@"`
	args = append([]string{"-m", "sh", "-c", script, "sh", c.dir, c.self, "--doctor", "-c", c.conf}, args...)
	cmd := c.host.Command("unshare", args...)
	cmd.Env = append(os.Environ(), c.environ...)
	return cmd
}

// doctor runs it.
func (c *clinic) doctor(args ...string) (out string, code int) {
	c.Helper()
	var errs strings.Builder
	cmd := c.doctorCommand(args...)
	cmd.Stderr = &errs
	text, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.Fatal(err)
	}
	assert.Empty(c, strings.Replace(errs.String(), c.failure, "", 1))
	return string(text), cmd.ProcessState.ExitCode()
}

// findings runs the doctor in both forms, which have to agree.
func (c *clinic) findings() (list []finding) {
	c.Helper()
	text, code := c.doctor("--json")
	require.NoError(c, json.Unmarshal([]byte(text), &list), text)
	status := 0
	var lines strings.Builder
	for _, f := range list {
		status = max(status, map[string]int{"note": 0, "warning": 1, "error": 2}[f.Severity])
		lines.WriteString(f.Severity + ": " + f.About + ": " + f.Text)
		if f.Command != "" {
			lines.WriteString("; run: " + f.Command)
		}
		lines.WriteString("\n")
	}
	if status == 0 {
		lines.WriteString(c.conf + ": nothing is missing\n")
	}
	assert.Equal(c, status, code)
	plain, code := c.doctor()
	assert.Equal(c, status, code)
	assert.Equal(c, lines.String(), plain)
	return slices.DeleteFunc(list, func(f finding) bool { return f.About == "fast-path" && fastpath.Supported() != nil })
}

// execute runs the command of a finding.
func (c *clinic) execute(f finding) {
	c.Helper()
	require.NotEmpty(c, f.Command, f)
	out, err := c.host.Command("sh", "-c", f.Command).CombinedOutput()
	require.NoError(c, err, "%v: %s", f, out)
}

// reaches reports whether the client gets an answer from an IPv4 address, soon.
func (c *clinic) reaches(v4 string) bool {
	c.Helper()
	for range 3 {
		if c.echo(v4, 300*time.Millisecond) {
			return true
		}
	}
	return false
}

// echo reports whether an answer comes in some time.
func (c *clinic) echo(v4 string, time time.Duration) bool {
	_, err := c.client.Ping(netip.MustParseAddr("64:ff9b::"+v4), netlab.Echo{Timeout: time})
	return err == nil
}

// connected is reaches where an answer has to come: a machine under load may take its time.
func (c *clinic) connected(v4 string) bool {
	c.Helper()
	return c.reaches(v4) || c.echo(v4, patience)
}

// sh runs a command on the gateway.
func (c *clinic) sh(script string) {
	c.Helper()
	out, err := c.host.Command("sh", "-ec", strings.ReplaceAll(script, "DIR", c.dir)).CombinedOutput()
	require.NoError(c, err, "%s: %s", script, out)
}

// From nothing but a configuration, what the doctor says makes a gateway.
func TestDoctorFromNothing(t *testing.T) {
	c := newClinic(t, clinicConf)
	require.False(t, c.reaches(serverAddr))
	list := c.findings()
	var about []string
	for _, f := range list {
		about = append(about, f.About)
		c.execute(f)
	}
	assert.Equal(t, []string{"forwarding", "forwarding", "device", "device", "route", "route", "masquerading", "daemon"}, about)
	assert.Empty(t, c.findings())
	assert.True(t, c.connected(serverAddr))
}

// patients are set-ups that are broken in one way each.
var patients = []struct {
	name     string
	more     string // configuration
	also     string // what it needs, done by who knows
	harm     func(c *clinic)
	harmless bool // the client reaches the server all the same
	severity string
	about    string
	text     string
	others   int // findings that follow from the same cause
	rounds   int // 1 if 0
}{
	{name: "no-forwarding-4", harm: func(c *clinic) { c.sh("sysctl -qw net.ipv4.ip_forward=0") },
		severity: "error", about: "forwarding", text: "the kernel does not forward IPv4 packets"},
	{name: "no-forwarding-6", harm: func(c *clinic) { c.sh("sysctl -qw net.ipv6.conf.all.forwarding=0") },
		severity: "error", about: "forwarding", text: "the kernel does not forward IPv6 packets"},
	{name: "no-forwarding-on-the-device", harm: func(c *clinic) { c.sh("sysctl -qw net.ipv4.conf.nat64.forwarding=0") },
		severity: "error", about: "forwarding", text: "the kernel does not forward IPv4 packets that arrive on nat64"},
	{name: "device-down", harm: func(c *clinic) { c.sh("ip link set nat64 down") },
		severity: "error", about: "device", text: "nat64 is down", others: 2}, // the kernel forgets the routes
	{name: "device-down-and-no-socket", harm: func(c *clinic) { c.sh("ip link set nat64 down; rm DIR/sock") },
		severity: "error", about: "device", text: "nat64 is down", others: 2},
	{name: "device-absent", harm: func(c *clinic) {
		c.sh("kill $(cat DIR/pid); sleep 1; ip link del nat64")
	}, severity: "error", about: "device", text: "there is no device nat64", others: 4},
	{name: "ipv6-off", harm: func(c *clinic) { c.sh("sysctl -qw net.ipv6.conf.nat64.disable_ipv6=1") },
		severity: "error", about: "ipv6", text: "IPv6 is switched off for nat64", others: 1},
	{name: "mtu", harm: func(c *clinic) {
		c.sh("kill $(cat DIR/pid); sleep 1; ip link set nat64 mtu 1200; sysctl -qw net.ipv6.conf.nat64.disable_ipv6=0 || true")
	}, severity: "error", about: "mtu", text: "nat64 has an MTU of 1200, less than the 1280 that IPv6 needs", others: 2},
	{name: "not-running", harm: func(c *clinic) { c.sh("kill $(cat DIR/pid); sleep 1") },
		severity: "error", about: "daemon", text: "tayga does not run on nat64"},
	{name: "not-running-but-the-lock-is-taken", harm: func(c *clinic) {
		c.sh("kill $(cat DIR/pid); sleep 1")
		_, err := c.host.ListenPacket("unixgram", "@steppe-tun/nat64")
		require.NoError(c, err)
	}, severity: "error", about: "daemon", text: "tayga does not run on nat64"},
	{name: "no-route-to-the-prefix", harm: func(c *clinic) { c.sh("ip route del 64:ff9b::/96 dev nat64") },
		severity: "error", about: "route", text: "packets for prefix 64:ff9b::/96 are not routed to nat64"},
	{name: "no-route-to-the-pool", harm: func(c *clinic) { c.sh("ip route del 192.168.255.0/24 dev nat64") },
		severity: "error", about: "route", text: "packets for pool 192.168.255.0/24 are not routed to nat64"},
	{name: "route-to-the-pool-elsewhere", harm: func(c *clinic) { c.sh("ip route replace 192.168.255.0/24 via 198.51.98.2") },
		severity: "error", about: "route", text: "packets for pool 192.168.255.0/24 are routed to eth1 instead of nat64"},
	{name: "own-address-taken", harm: func(c *clinic) { c.sh("ip addr add 192.168.255.1/32 dev nat64") }, harmless: true,
		severity: "error", about: "address", text: "192.168.255.1, the translator's own ipv4-addr, is also an address of this machine, on nat64"},
	{name: "no-masquerading", harm: func(c *clinic) { c.sh("nft flush ruleset") },
		severity: "warning", about: "masquerading", text: "pool 192.168.255.0/24 is private, and no rule replaces that source by one that is routed"},
	{name: "masquerading-of-others", harm: func(c *clinic) {
		c.sh("nft flush ruleset; nft 'add table ip nat; add chain ip nat post { type nat hook postrouting priority srcnat; }; add rule ip nat post oifname \"eth0\" masquerade; add rule ip nat post ip saddr { 192.168.0.0/24, 10.0.0.0/8 } masquerade'")
	}, severity: "warning", about: "masquerading", text: "pool 192.168.255.0/24 is private"},
	{name: "firewall-4", harm: func(c *clinic) {
		c.sh("nft 'add table ip filter; add chain ip filter forward { type filter hook forward priority filter; policy drop; }; add rule ip filter forward ct state established accept; add rule ip filter forward iifname \"eth0\" accept'")
	}, severity: "error", about: "firewall", text: "chain forward of table ip filter drops IPv4 packets of nat64"},
	{name: "firewall-both", harm: func(c *clinic) {
		c.sh("nft 'add table inet filter; add chain inet filter forward { type filter hook forward priority filter; }; add rule inet filter forward ct state vmap { established : accept, related : accept, invalid : drop }; add rule inet filter forward iifname \"eth0\" oifname \"eth1\" accept; add rule inet filter forward counter reject'")
	}, severity: "error", about: "firewall", text: "chain forward of table inet filter drops IPv4 packets of nat64"},
	{name: "firewall-6-by-iptables", harm: func(c *clinic) {
		c.needIPTables()
		c.sh("ip6tables -P FORWARD DROP; ip6tables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
	},
		severity: "error", about: "firewall", text: "drops IPv6 packets of nat64"},
	{name: "private-destination", harm: func(c *clinic) {
		c.sh("ip addr add 10.9.9.1/24 dev eth1")
		c.server.Addr("eth0", "10.9.9.2/24")
		require.False(c, c.reaches("10.9.9.2"))
	}, harmless: true, severity: "warning", about: "private", text: " packets were rejected because 64:ff9b::/96 is for public IPv4 addresses", rounds: 2},
	{name: "other-dns64", harm: func(c *clinic) { c.synthesise("2001:db8:64:64::") }, harmless: true, severity: "error", about: "dns64", text: "DNS64 uses prefix 2001:db8:64:64::/96, which is not in the configuration", rounds: 2},
	{name: "stale-configuration", harm: func(c *clinic) {
		c.sh("echo 'udp-cksum-mode calc' >>DIR/tayga.conf; touch -d 2001-01-01 DIR/tayga.conf")
	}, harmless: true,
		severity: "warning", about: "daemon", text: "was changed after tayga was started"},
	{name: "offlink-mtu", more: "offlink-mtu 1500\n", harm: func(c *clinic) { c.sh("ip link set eth0 mtu 1400") }, harmless: true,
		severity: "warning", about: "mtu", text: "offlink-mtu is 1500, and eth0 carries no more than 1400", rounds: 2},
	{name: "router-advertisements", harm: func(c *clinic) {
		c.sh("sysctl -qw net.ipv6.conf.eth0.accept_ra=1; ip addr add 2001:db8:c::99/64 dev eth0 valid_lft 1000 preferred_lft 1000")
	}, harmless: true, severity: "warning", about: "router-advertisements", text: "eth0 has its IPv6 address or route from router advertisements"},
	{name: "neighbours", more: "map 198.51.98.7 2001:db8:c::2\n",
		also: "ip route add 198.51.98.7 dev nat64; ip neigh add proxy 198.51.98.7 dev eth1",
		harm: func(c *clinic) { c.sh("ip neigh del proxy 198.51.98.7 dev eth1") }, harmless: true,
		severity: "warning", about: "neighbours", text: "map 198.51.98.7/32 lies in the network on eth1, where no host answers for it"},
	{name: "lists-of-packets", harm: func(c *clinic) { c.sh("ethtool -K eth1 gro on rx-gro-list on") }, harmless: true,
		severity: "note", about: "offload", text: "eth1 makes lists of packets (rx-gro-list)"},
}

// Set-ups that are broken in one way each: the doctor finds it, and what it says
// fixes it.
func TestDoctor(t *testing.T) {
	for _, test := range patients {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newClinic(t, clinicConf+test.more)
			c.heal()
			c.sh(test.also)
			require.Empty(t, c.findings(), "before")
			require.True(t, c.connected(serverAddr), "before")
			require.Empty(t, c.findings(), "with traffic")

			test.harm(c)
			if !test.harmless {
				require.False(t, c.reaches(serverAddr), "not broken")
			}
			list := c.findings()
			require.Len(t, list, 1+test.others, "%v", list)
			assert.Equal(t, test.severity, list[0].Severity)
			assert.Equal(t, test.about, list[0].About)
			assert.Contains(t, list[0].Text, test.text)
			for range max(test.rounds, 1) {
				for _, f := range list {
					c.execute(f)
				}
				list = c.findings()
			}
			assert.Empty(t, list, "after")
			assert.True(t, c.connected(serverAddr), "after")
		})
	}
}

// clatConf is that of a host with programs that know only IPv4.
const clatConf = `tun-device clat
ipv4-addr 192.0.0.2
prefix 64:ff9b::/96
map 192.0.0.1 2001:db8:c::464
data-dir DIR
status-socket DIR/sock
`

// newCLAT makes the client of a healthy clinic a host with a CLAT, and the
// patient.
func newCLAT(t *testing.T) *clinic {
	t.Helper()
	c := newClinic(t, clinicConf)
	c.heal()
	b := &bench{T: t, host: c.client, self: c.self, dir: t.TempDir()}
	b.conf = b.dir + "/tayga.conf"
	b.configure(clatConf)
	require.NoError(t, os.WriteFile(b.dir+"/resolv.conf", []byte("nameserver 127.0.0.1\noptions timeout:1\n"), 0o644))
	clat := &clinic{village: &village{bench: b, client: c.client, server: c.server}, upstream: c.host}
	clat.resolver("64:ff9b::")
	return clat
}

// online is pings where an answer has to come.
func (c *clinic) online() bool {
	c.Helper()
	return c.pings() || c.host.Command("ping", "-n", "-c", "1", "-W", "30", "-I", "clat", serverAddr).Run() == nil
}

// pings reports whether a program that knows only IPv4 gets an answer.
func (c *clinic) pings() bool {
	c.Helper()
	for range 3 {
		if c.host.Command("ping", "-n", "-c", "1", "-W", "0.5", "-I", "clat", serverAddr).Run() == nil {
			return true
		}
	}
	return false
}

// clatPatients are hosts with a CLAT that are broken in one way each.
var clatPatients = []struct {
	name  string
	harm  string
	about string
	text  string
}{
	{"nothing", "", "", ""},
	{"rp-filter", "ip link add dum0 type veth peer name dum1; ip link set dum1 up; ip addr add 10.0.0.2/24 dev dum0; ip link set dum0 up; ip route replace default via 10.0.0.1 dev dum0; sysctl -qw net.ipv4.conf.all.rp_filter=1",
		"rp-filter", "the reverse path filter drops packets from clat whose source is reached by another interface"},
	{"prefix-leads-back", "ip route add 64:ff9b::/96 dev clat", "route", "what goes to prefix 64:ff9b::/96 leads back to clat, and the other translator is elsewhere"},
	{"no-address", "ip addr del 192.0.0.1/29 dev clat", "address", "192.0.0.1, to which a map gives an IPv6 address, is no address of this host"},
	{"no-way-back", "ip route del 2001:db8:c::464 dev clat", "route", "packets for map 2001:db8:c::464/128 are not routed to clat; the route for 2001:db8:c::/64 leads to eth0"},
	{"no-neighbour", "ip neigh del proxy 2001:db8:c::464 dev eth0", "neighbours", "map 2001:db8:c::464/128 lies in the network on eth0, where no host answers for it"},
}

// A host with a CLAT has other needs: the doctor makes one from nothing, too,
// and fixes what is broken.
func TestDoctorCLAT(t *testing.T) {
	for _, test := range clatPatients {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newCLAT(t)
			require.False(t, c.pings(), "from nothing")
			var about []string
			for _, f := range c.findings() {
				about = append(about, f.About)
				c.execute(f)
			}
			assert.Equal(t, []string{"forwarding", "device", "device", "address", "route", "route", "neighbours", "daemon"}, about)
			require.Empty(t, c.findings())
			require.True(t, c.online())
			if test.harm == "" {
				return
			}
			c.sh(test.harm)
			require.NoError(t, c.upstream.Command("ip", "neigh", "flush", "dev", "eth0").Run())
			require.False(t, c.pings(), "not broken")
			list := c.findings()
			require.NotEmpty(t, list)
			assert.Equal(t, test.about, list[0].About)
			assert.Contains(t, list[0].Text, test.text)
			for _, f := range list {
				c.execute(f)
			}
			assert.Empty(t, c.findings(), "after")
			assert.True(t, c.online(), "after")
		})
	}
}

// needIPTables skips the test where there is no iptables.
func (c *clinic) needIPTables() {
	c.Helper()
	if _, err := exec.LookPath("iptables"); err == nil {
		return
	}
	if os.Getenv("STEPPE_REQUIRE_NETNS") == "1" {
		c.Fatal("iptables is not installed")
	}
	c.Skip("iptables is not installed (with STEPPE_REQUIRE_NETNS=1 this is a failure)")
}

// Whatever the doctor finds instead of a configuration, a daemon or a resolver
// is worth a line or nothing.
func TestDoctorBadInput(t *testing.T) {
	c := newClinic(t, clinicConf)
	c.heal()
	for name, text := range map[string]string{
		"empty": "", "binary": "\x00\x01\x02", "nonsense": "\x1b[2Jfrobnicate\n", "device-with-blanks": "tun-device \t\n",
	} {
		c.configure(text)
		list := c.findings()
		require.NotEmpty(t, list, name)
		for _, f := range list[:len(list)-1] {
			assert.Equal(t, "error", f.Severity, name)
			assert.Equal(t, "configuration", f.About, name)
			assert.NotContains(t, f.Text, "\x1b")
		}
		assert.Equal(t, "nothing else was checked, since the configuration is not valid", list[len(list)-1].Text)
	}
	c.configure(clinicConf + "map-file DIR/absent\n")
	list := c.findings()
	require.Len(t, list, 2)
	assert.Contains(t, list[0].Text, "map-file: ")
	// Bad lines of the map-file do not keep the daemon from starting, nor the doctor from
	// going on: it said that nothing else was checked.
	c.configure(clinicConf + "map-file DIR/maps\n")
	require.NoError(t, os.WriteFile(c.dir+"/maps", []byte("map 198.51.97.1 2001:db8:c::7\nmap 198.51.97.2\n"), 0o644))
	list = c.findings()
	require.Len(t, list, 4)
	assert.Equal(t, finding{"error", "configuration", c.dir + "/maps:2: map: write an IPv4 and an IPv6 address or prefix after it, and nothing else", ""}, list[0])
	assert.Equal(t, finding{"note", "configuration", "tayga skips the lines of " + c.dir + "/maps with errors when it starts, and changes nothing on a reload", ""}, list[1])
	assert.Equal(t, "daemon", list[2].About, "the running one is asked")
	assert.Contains(t, list[3].Text, "198.51.97.1", "the good line is checked")
	require.NoError(t, os.Remove(c.conf))
	out, code := c.doctor()
	assert.Equal(t, 2, code)
	assert.Contains(t, out, "error: configuration: "+c.conf+": no such file or directory\n")

	// A socket on which another program answers is no daemon's; that the device is
	// in use tells that there is one.
	c.configure(strings.Replace(clinicConf, "DIR/sock", "DIR/liar", 1))
	liar, err := net.Listen("unix", c.dir+"/liar")
	require.NoError(t, err)
	defer liar.Close()
	go func() {
		for {
			conn, err := liar.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte("\x1b]0;owned\x07{\"pid\":1}\n"))
			conn.Close()
		}
	}()
	assert.Empty(t, c.findings())

	// A resolver that cannot be understood.
	c.configure(clinicConf)
	require.NoError(t, os.WriteFile(c.dir+"/resolv.conf", []byte("nameserver \x00\nnameserver ::::\noptions timeout:1 attempts:1\n"), 0o644))
	for _, f := range c.findings() {
		assert.Contains(t, []string{"dns64", "daemon"}, f.About) // and the file was changed
		assert.NotEqual(t, "error", f.Severity)
	}

	// The user nobody may not list packet filters, and the doctor says so.
	require.NoError(t, os.WriteFile(c.dir+"/resolv.conf", []byte("nameserver 127.0.0.1\n"), 0o644))
	c.openDir()
	cmd := c.host.Command(c.self, "--doctor", "-c", c.conf)
	if !reachable(c.self) {
		require.NoError(t, os.Chmod(programDir, 0o755))
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	text, err := cmd.CombinedOutput()
	assert.NoError(t, err, string(text))
	assert.Contains(t, string(text), "note: firewall: packet filters were not checked: ")
}
