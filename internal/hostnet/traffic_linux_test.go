package hostnet

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// A path is a machine between two hosts, "inside" at its eth0 and "outside" at its eth1.
type path struct {
	machine         *machine
	inside, outside *netlab.Host
}

const (
	inside4, outside4 = "198.51.0.9", "198.51.1.9"
	inside6, outside6 = "2001:db8::9", "2001:db8:1::9"
)

func newPath(t *testing.T) path {
	t.Helper()
	lab := netlab.New(t)
	p := path{&machine{lab.Host("machine"), t}, lab.Host("inside"), lab.Host("outside")}
	for i, h := range []*netlab.Host{p.inside, p.outside} {
		ifname := []string{"eth0", "eth1"}[i]
		lab.Link(p.machine.Host, ifname, h, "eth0", 1500)
		p.machine.Addr(ifname, []string{"198.51.0.1/24", "198.51.1.1/24"}[i])
		p.machine.Addr(ifname, []string{"2001:db8::1/64", "2001:db8:1::1/64"}[i])
		h.Addr("eth0", []string{inside4, outside4}[i]+"/24")
		h.Addr("eth0", []string{inside6, outside6}[i]+"/64")
		_, err := h.ServeUDPEcho(":7")
		require.NoError(t, err)
	}
	p.inside.DefaultRoute("198.51.0.1", "eth0")
	p.inside.DefaultRoute("2001:db8::1", "eth0")
	p.machine.Forwarding()
	return p
}

// routes gives the host outside a way back.
func (p path) routes() {
	p.outside.DefaultRoute("198.51.1.1", "eth0")
	p.outside.DefaultRoute("2001:db8:1::1", "eth0")
}

// echo checks whether a host gets an answer.
func echo(t *testing.T, want bool, from *netlab.Host, to string, what ...any) {
	t.Helper()
	e := netlab.UDPEcho{Sizes: []int{100}, Attempts: 2, Timeout: 150 * time.Millisecond}
	if want { // however slow the machine is
		e.Attempts, e.Timeout = 20, time.Second
	}
	_, err := from.UDPEcho(netip.AddrPortFrom(netip.MustParseAddr(to), 7).String(), e)
	assert.Equal(t, want, err == nil, what...)
}

// Hosts inside reach those outside that have no route to them.
func TestNATTraffic(t *testing.T) {
	p := newPath(t)
	manager, err := p.machine.open(t.TempDir(), Policy{Device: "clat", Gateway: true})
	require.NoError(t, err)
	sources := []netip.Prefix{netip.MustParsePrefix("198.51.0.0/24"), netip.MustParsePrefix("2001:db8::/64")}
	to := func(to string, source netip.Prefix, table string) Change {
		return Change{NAT: &NAT{Table: table, Out: "eth1", Sources: []netip.Prefix{source}, To: netip.MustParseAddr(to)}}
	}
	for name, want := range map[string][]Change{
		"masquerade": {{NAT: &NAT{Table: "tayga-clat-nat", In: "eth0", Out: "eth1", Sources: sources}}},
		"address":    {to("198.51.1.1", sources[0], "tayga-clat-nat4"), to("2001:db8:1::1", sources[1], "tayga-clat-nat6")},
	} {
		t.Run(name, func(t *testing.T) {
			echo(t, false, p.inside, outside4)
			require.NoError(t, p.machine.apply(manager, want...))
			echo(t, true, p.inside, outside4)
			echo(t, true, p.inside, outside6)
			require.NoError(t, p.machine.apply(manager))
			echo(t, false, p.inside, outside6)
		})
	}
}

// A guarded device begins connections, and nothing from outside reaches it.
func TestGuardTraffic(t *testing.T) {
	p := newPath(t)
	p.routes()
	dir := t.TempDir()
	manager, err := p.machine.open(dir, Policy{Device: "eth0"})
	require.NoError(t, err)
	echo(t, true, p.outside, inside6)
	require.NoError(t, p.machine.apply(manager, Change{Guard: &Guard{Table: "tayga-eth0-guard", Device: "eth0"}}))
	echo(t, true, p.inside, outside6)
	echo(t, false, p.outside, inside6)
	echo(t, true, p.outside, inside4, "IPv4")
	require.NoError(t, p.machine.apply(manager))
	echo(t, true, p.outside, inside6)
}

// Firewalls of others let pass what is accepted, in the one direction and the other, and
// nothing else.
func TestAcceptTraffic(t *testing.T) {
	p := newPath(t)
	p.routes()
	p.machine.sh(`nft 'table inet filter { chain forward { type filter hook forward priority 0; policy drop; }; }'
		nft 'table inet late { chain no { reject; }; chain forward { type filter hook forward priority 5; jump no; }; }'
		iptables -P FORWARD DROP; ip6tables -A FORWARD -j REJECT`)
	manager, err := p.machine.open(t.TempDir(), Policy{Device: "eth0"})
	require.NoError(t, err)
	for _, test := range []struct {
		name       string
		accept     Accept
		out4, out6 bool // hosts inside reach those outside
		in4, in6   bool
	}{
		{"all", Accept{Device: "eth0"}, true, true, false, false},
		{"into", Accept{Device: "eth0", Into: true}, false, false, true, true},
		{"six", Accept{Device: "eth0", Src: netip.MustParsePrefix("2001:db8::/33"), Dst: netip.MustParsePrefix("2001:db8:1::/64")}, false, true, false, false},
		{"four", Accept{Device: "eth0", Dst: netip.MustParsePrefix("198.51.1.8/29")}, true, false, false, false},
		{"into-four", Accept{Device: "eth0", Src: netip.MustParsePrefix("0.0.0.0/0"), Into: true}, false, false, true, false},
		{"other-source", Accept{Device: "eth0", Src: netip.MustParsePrefix("2001:db9::/32")}, false, false, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.NoError(t, p.machine.apply(manager, Change{Accept: &test.accept}))
			echo(t, test.out4, p.inside, outside4, "out, IPv4")
			echo(t, test.out6, p.inside, outside6, "out, IPv6")
			echo(t, test.in4, p.outside, inside4, "in, IPv4")
			echo(t, test.in6, p.outside, inside6, "in, IPv6")
		})
	}
	require.NoError(t, p.machine.apply(manager))
	echo(t, false, p.inside, outside6)
	echo(t, false, p.inside, outside4)
}

// Rules that other programs insert before ours, and that may drop, are overtaken.
func TestOvertake(t *testing.T) {
	m := newMachine(t)
	m.sh(firewalls + iptablesRules)
	manager := m.mustOpen(t.TempDir())
	accept := tables()[6]
	require.NoError(t, m.apply(manager, accept))
	made := m.sh("nft list chain ip6 filter FORWARD; nft list chain inet filter forward")
	m.sh(`ip6tables -I FORWARD -j ufw6-reject; nft insert rule inet filter forward counter; nft insert rule inet filter forward iifname eth1 drop`)
	require.NoError(t, m.apply(manager, accept))
	lines := m.sh("ip6tables -S FORWARD | head -3; nft list chain inet filter forward | sed -n 4,6p")
	t.Log(lines)
	assert.Regexp(t, `(?s)-P FORWARD ACCEPT\n.*-i clat .*-o clat .*\n\s+iifname "clat" .*oifname "clat" .*iifname "eth1" drop`, lines)
	m.sh(`ip6tables -D FORWARD -j ufw6-reject; nft delete rule inet filter forward handle $(nft -a list chain inet filter forward | sed -n 's/.*counter packets.*handle //p')
		nft delete rule inet filter forward handle $(nft -a list chain inet filter forward | sed -n 's/.*eth1. drop.*handle //p')`)
	assert.Equal(t, made, m.sh("nft list chain ip6 filter FORWARD; nft list chain inet filter forward"))
}

// A table that only a running program can change is named, and all others are changed.
func TestOwnedTable(t *testing.T) {
	m := newMachine(t)
	m.sh(firewalls)
	owner := m.Command("nft", "-i")
	in, err := owner.StdinPipe()
	require.NoError(t, err)
	out, err := owner.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, owner.Start())
	_, err = in.Write([]byte("table inet firewalld { flags owner; chain forward { type filter hook forward priority 10; reject; }; }\nlist tables\n"))
	require.NoError(t, err)
	_, err = out.Read(make([]byte, 1)) // it has done the first line
	require.NoError(t, err)

	manager := m.mustOpen(t.TempDir())
	err = m.apply(manager, tables()[4])
	assert.ErrorIs(t, err, ErrOwned)
	assert.ErrorContains(t, err, "table inet firewalld")
	assert.Contains(t, m.sh("nft list table inet filter"), "tayga-clat-accept")
	assert.ErrorIs(t, m.apply(manager, tables()[4]), ErrOwned, "again")
	require.NoError(t, m.apply(manager))
	assert.NotContains(t, m.sh("nft list ruleset"), "tayga")
	require.NoError(t, in.Close())
	require.NoError(t, owner.Wait())
}

// A filter of iptables-legacy is named.
func TestLegacy(t *testing.T) {
	m := newMachine(t)
	manager := m.mustOpen(t.TempDir())
	list := t.TempDir() + "/ip6_tables_names"
	m.sh("printf 'mangle\\nfilter\\n' >" + list)
	fd, err := unix.Open(list, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	manager.host.legacy["ip6"] = fd
	assert.ErrorIs(t, m.apply(manager, tables()[4]), ErrLegacy)
	assert.NoError(t, m.apply(manager, tables()[5]), "IPv4")
	delete(manager.host.legacy, "ip6")
	unix.Close(fd)
}

// Without nftables the other changes are made, and undone without an error.
func TestNoNFT(t *testing.T) {
	m := newMachine(t)
	before, manager := m.state(), m.mustOpen(t.TempDir())
	manager.host.nftErr = fmt.Errorf("nftables: %w", errNoNFT)
	err := m.apply(manager, append(settings(), tables()...)...)
	var partial *PartialError
	require.ErrorAs(t, err, &partial)
	assert.Len(t, partial.Failed, len(tables()))
	assert.ErrorContains(t, err, "nftables: the kernel lacks it")
	assert.Contains(t, m.sh("ip route"), "default dev clat")
	require.NoError(t, m.apply(manager))
	m.same(before)
}

// Any neighbour could send packets to 192.0.0.1, whatever interface has it, and so reach the IPv4
// programs of a machine without native IPv4; and what was sent with that address left by an
// interface with native IPv4. The addresses of a CLAT are for its device alone.
func TestGuardAddresses(t *testing.T) {
	p := newPath(t)
	p.routes()
	manager, err := p.machine.open(t.TempDir(), Policy{Device: "clat"})
	require.NoError(t, err)
	p.machine.sh("ip tuntap add clat mode tun; ip link set clat up; ip address add 192.0.0.1/29 dev clat")
	for _, addr := range []string{"192.0.0.1:7", "198.51.1.1:7"} {
		_, err = p.machine.ServeUDPEcho(addr)
		require.NoError(t, err)
	}
	echo(t, true, p.outside, "192.0.0.1", "without a guard")
	require.NoError(t, p.machine.apply(manager, Change{Guard: &Guard{Table: "tayga-clat-guard", Device: "clat"}}))
	p.machine.sh("nft 'table ip seen { chain input { type filter hook input priority 10; ip daddr 192.0.0.1 iifname eth1 counter; }; }'")
	echo(t, false, p.outside, "192.0.0.1")
	assert.Contains(t, p.machine.sh("nft list table ip seen"), "counter packets 0 ", "without an answer")
	echo(t, true, p.machine.Host, "192.0.0.1", "the machine itself")
	echo(t, true, p.outside, "198.51.1.1", "other addresses")
	p.machine.sh("nft 'table ip share { chain postrouting { type nat hook postrouting priority srcnat; ip saddr " + inside4 + " snat to 192.0.0.1; }; }'")
	echo(t, false, p.inside, outside4, "a client with the address of the CLAT")
	require.NoError(t, p.machine.apply(manager))
	echo(t, true, p.inside, outside4, "without a guard")
}

// To forward packets between its uplink and its device, a CLAT had the machine forward any IPv6
// packet that a neighbour on the uplink sent. Those to other devices are dropped, unless the
// machine forwards anyway.
func TestGuardUplink(t *testing.T) {
	p := newPath(t)
	p.routes()
	uplink := "net/ipv6/conf/eth1/force_forwarding"
	if p.machine.Command("test", "-e", "/proc/sys/"+uplink).Run() != nil {
		t.Skip("no force_forwarding before Linux 6.17")
	}
	p.machine.Sysctl("net/ipv6/conf/all/forwarding", "0")
	p.machine.Sysctl("net/ipv6/conf/eth0/force_forwarding", "1") // for answers
	manager, err := p.machine.open(t.TempDir(), Policy{Device: "clat"})
	require.NoError(t, err)
	want := []Change{
		{Sysctl: &Sysctl{uplink, "1"}},
		{Guard: &Guard{Table: "tayga-clat-guard", Device: "clat", Uplink: "eth1"}},
	}
	require.NoError(t, p.machine.apply(manager, want[0]))
	echo(t, true, p.outside, inside6, "without a guard")
	require.NoError(t, p.machine.apply(manager, want...))
	echo(t, false, p.outside, inside6)
	p.machine.Sysctl("net/ipv6/conf/all/forwarding", "1")
	require.NoError(t, p.machine.apply(manager, want...))
	echo(t, true, p.outside, inside6, "another program has forwarding on")
	require.NoError(t, p.machine.apply(manager))
	p.machine.Sysctl("net/ipv6/conf/all/forwarding", "0") // which also sets force_forwarding of all
	p.machine.Sysctl("net/ipv6/conf/eth0/force_forwarding", "1")
	p.machine.Sysctl(uplink, "1")
	require.NoError(t, p.machine.apply(manager, want...))
	echo(t, true, p.outside, inside6, "the uplink forwarded before")
}
