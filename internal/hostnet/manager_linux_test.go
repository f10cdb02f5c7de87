package hostnet

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// A machine is one to change: a device "clat", and two uplinks eth0 and eth1.
type machine struct {
	*netlab.Host
	t *testing.T
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	lab := netlab.New(t)
	m := &machine{lab.Host("host"), t}
	router := lab.Host("router")
	for i, ifname := range []string{"eth0", "eth1"} {
		lab.Link(m.Host, ifname, router, ifname, 1500)
		m.Addr(ifname, fmt.Sprintf("2001:db8:%d::2/64", i))
		m.Addr(ifname, fmt.Sprintf("198.51.%d.2/24", i))
	}
	m.sh("ip tuntap add clat mode tun")
	return m
}

// sh runs a line of commands on the machine.
func (m *machine) sh(line string) string {
	m.t.Helper()
	out, err := m.Command("sh", "-ec", line).CombinedOutput()
	require.NoError(m.t, err, "%s\n%s", line, out)
	return string(out)
}

// open opens a Manager on the machine, with its journal in dir.
func (m *machine) open(dir string, p Policy) (manager *Manager, err error) {
	m.t.Helper()
	require.NoError(m.t, m.Do(func() error {
		manager, err = Open(dir, p)
		return nil
	}))
	if manager != nil {
		m.t.Cleanup(func() { manager.crash() })
	}
	return manager, err
}

func (m *machine) mustOpen(dir string) *Manager {
	m.t.Helper()
	manager, err := m.open(dir, Policy{Device: "clat"})
	require.NoError(m.t, err)
	return manager
}

func (m *machine) apply(manager *Manager, want ...Change) error {
	m.t.Helper()
	return m.Do(func() error { return manager.Apply(want) })
}

// crash ends a Manager as the end of its process does: the locks go, the rest stays.
func (m *Manager) crash() {
	if m.files.alive != nil {
		m.files.alive.Close()
		m.files.alive = nil
		m.files.dir.Close()
		m.host.close()
	}
}

var changing = regexp.MustCompile(`(?m) (qlen|qdisc|expires|valid_lft|hoplimit) [^ \n]+|handle \d+|^multicast ff00::/8 dev clat.*\n`)

// state is all that this package could have changed. (The kernel adds the multicast route of
// a link when it gets its first IPv6 address, and keeps it until the link goes down.)
func (m *machine) state() string {
	m.t.Helper()
	// The kernel adds the local route of an IPv6 address a moment after it.
	m.sh(`for a in $(ip -6 -o address show dev clat scope global 2>/dev/null | sed 's/.* inet6 //; s,/.*,,'); do
			n=0; until ip -6 route show table local | grep -q "^local $a "; do n=$((n+1)); [ $n -lt 500 ]; sleep 0.02; done
		done`)
	text := m.sh(`ip link; ip address; ip -4 route show table all; ip -6 route show table all; ip -4 rule; ip -6 rule; nft -s list ruleset
		cd /proc/sys/net; grep -r . ipv4/ip_forward ipv4/conf ipv6/conf 2>/dev/null | grep -v stable_secret | sort`)
	return changing.ReplaceAllString(text, "")
}

// same compares the state with an earlier one.
func (m *machine) same(want string, what ...any) {
	m.t.Helper()
	require.Empty(m.t, difference(want, m.state()), what...)
}

// difference returns the lines that are in one text alone.
func difference(a, b string) string {
	var out strings.Builder
	for _, side := range []struct{ sign, text, other string }{{"-", a, b}, {"+", b, a}} {
		count := map[string]int{}
		for line := range strings.Lines(side.other) {
			count[line]++
		}
		for line := range strings.Lines(side.text) {
			if count[line]--; count[line] < 0 {
				out.WriteString(side.sign + line)
			}
		}
	}
	return out.String()
}

var (
	host6  = netip.MustParsePrefix("fd00:464::1/128")
	pref64 = netip.MustParsePrefix("64:ff9b::/96")
	any4   = netip.MustParsePrefix("0.0.0.0/0")
	router = netip.MustParseAddr("2001:db8::1")
	ours4  = netip.MustParseAddr("192.0.0.1")
)

// settings are what a CLAT asks for, without nftables.
func settings() []Change {
	return []Change{
		{Sysctl: &Sysctl{"net/ipv6/conf/all/forwarding", "1"}},
		{Sysctl: &Sysctl{"net/ipv4/ip_forward", "1"}},
		{Link: &Link{"clat", 1480}},
		{Address: &Address{"clat", netip.MustParsePrefix("192.0.0.1/29")}},
		{Address: &Address{"clat", netip.MustParsePrefix("fd00:464::7/128")}},
		{Route: &Route{Device: "clat", Dst: host6}},
		{Route: &Route{Device: "eth0", Dst: pref64, Via: router, Table: 464}},
		{Rule: &Rule{Six: true, Priority: 464, Table: 464, To: pref64, In: "clat"}},
		{Route: &Route{Device: "clat", Dst: any4, Src: ours4, MTU: 1400, Table: 464}},
		{Rule: &Rule{Priority: 464, Table: 464, From: netip.PrefixFrom(ours4, 32)}},
		{Route: &Route{Device: "clat", Dst: any4, Src: ours4, MTU: 1400, Metric: 2048}},
	}
}

// ra gives the machine interfaces that listen to router advertisements.
func (m *machine) ra() {
	m.Sysctl("net/ipv6/conf/eth0/accept_ra", "1")
	m.Sysctl("net/ipv6/conf/eth1/accept_ra", "1")
	m.Sysctl("net/ipv6/conf/default/accept_ra", "1")
}

// Each kind of change is made, found, made again after another program undid it, and undone.
func TestKinds(t *testing.T) {
	m := newMachine(t)
	m.ra()
	dir := t.TempDir()
	manager := m.mustOpen(dir)
	for i, undo := range []string{
		"echo 0 >/proc/sys/net/ipv6/conf/all/forwarding",
		"echo 0 >/proc/sys/net/ipv4/ip_forward",
		"ip link set clat down",
		"ip address del 192.0.0.1/29 dev clat",
		"ip -6 address del fd00:464::7/128 dev clat",
		"ip -6 route del fd00:464::1/128",
		"ip -6 route del 64:ff9b::/96 table 464",
		"ip -6 rule del priority 464",
		"ip -4 route del default table 464",
		"ip -4 rule del priority 464",
		"ip -4 route del default",
	} {
		want := settings()
		setUp := []Change{want[2], want[3]}
		if i == 2 || i == 3 {
			setUp = nil
		}
		require.NoError(t, m.apply(manager, setUp...))
		before := m.state()
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			all := append(setUp, want[i])
			require.NoError(t, m.apply(manager, all...), want[i])
			made := m.state()
			require.True(t, before != made)
			require.NoError(t, m.apply(manager, all...))
			m.same(made, "again")
			m.sh(undo)
			require.True(t, made != m.state(), undo)
			require.NoError(t, m.apply(manager, all...))
			m.same(made, "after "+undo)
			require.NoError(t, m.apply(manager, setUp...))
			m.same(before, "undone")
		})
	}
}

// All settings are made and undone, and after a crash the next start undoes them.
func TestUndo(t *testing.T) {
	m := newMachine(t)
	m.ra()
	before, dir := m.state(), t.TempDir()
	manager := m.mustOpen(dir)
	require.NoError(t, m.apply(manager, settings()...))
	made := m.state()
	st, err := os.Stat(filepath.Join(dir, manager.files.name))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), st.Mode())
	require.NoError(t, m.apply(manager))
	m.same(before)
	assert.NoFileExists(t, filepath.Join(dir, manager.files.name))

	require.NoError(t, m.apply(manager, settings()...))
	m.same(made)
	manager.crash()
	manager = m.mustOpen(dir)
	m.same(before)
	require.NoError(t, m.apply(manager, settings()...))
	require.NoError(t, m.Do(manager.Close))
	m.same(before)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// What was there before stays.
func TestFound(t *testing.T) {
	m := newMachine(t)
	m.ra()
	m.sh(strings.Join(commands(settings()), "\n"))
	before := m.state()
	dir := t.TempDir()
	manager := m.mustOpen(dir)
	require.NoError(t, m.apply(manager, settings()...))
	m.same(before)
	require.NoError(t, m.apply(manager))
	m.same(before)

	require.NoError(t, m.apply(manager, settings()...))
	manager.crash()
	m.mustOpen(dir)
	m.same(before)
}

func commands(list []Change) (lines []string) {
	for _, c := range list {
		lines = append(lines, c.Command())
	}
	return lines
}

// The commands do what a Manager does.
func TestCommands(t *testing.T) {
	byCommand, byManager := newMachine(t), newMachine(t)
	byCommand.ra()
	byManager.ra()
	byCommand.sh(strings.Join(commands(settings()), "\n"))
	require.NoError(t, byManager.apply(byManager.mustOpen(t.TempDir()), settings()...))
	assert.Empty(t, difference(byCommand.comparable(), byManager.comparable()))
}

var (
	ownNames = regexp.MustCompile(`fe80::[0-9a-f:]+|([0-9a-f]{2}:){5}[0-9a-f]{2}|link-netnsid \d+|(?m)^\d+: |@if\d+`)
)

// comparable is the state without what differs between two machines.
func (m *machine) comparable() string {
	lines := strings.Split(ownNames.ReplaceAllString(m.state(), ""), "\n")
	return strings.Join(lines, "\n")
}

// A crash at any step leaves nothing behind after the next start.
func TestCrash(t *testing.T) {
	for name, want := range map[string][]Change{"settings": settings(), "tables": tables()} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.ra()
			m.sh(firewalls + iptablesRules)
			before, dir := m.state(), t.TempDir()
			for step := 0; ; step++ {
				manager := m.mustOpen(dir)
				n := 0
				manager.host.step = func() {
					if n++; n > step {
						panic(crashed)
					}
				}
				done := m.crashes(manager, want)
				manager.crash()
				manager = m.mustOpen(dir)
				m.same(before, step)
				require.NoError(t, m.Do(manager.Close))
				if done {
					assert.Greater(t, step, 2*len(want))
					return
				}
			}
		})
	}
}

const crashed = "crash"

// crashes applies changes and then undoes them, and reports whether that went to its end.
func (m *machine) crashes(manager *Manager, want []Change) (done bool) {
	defer func() {
		if r := recover(); r != nil && r != crashed {
			panic(r)
		}
	}()
	require.NoError(m.t, m.apply(manager, want...))
	require.NoError(m.t, m.apply(manager))
	return true
}
