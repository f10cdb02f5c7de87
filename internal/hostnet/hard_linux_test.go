package hostnet

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A journal that no Manager has written changes nothing, is reported and removed.
func TestHostileJournal(t *testing.T) {
	m := newMachine(t)
	m.sh(firewalls)
	before, dir := m.state(), t.TempDir()
	manager := m.mustOpen(dir)
	path := filepath.Join(dir, manager.files.name)
	require.NoError(t, m.Do(manager.Close))
	for name, text := range hostile {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			manager, err := m.open(dir, Policy{Device: "clat"})
			assert.ErrorContains(t, err, path)
			require.NotNil(t, manager)
			m.same(before)
			assert.NoFileExists(t, path)
			require.NoError(t, m.apply(manager, settings()...))
			require.NoError(t, m.Do(manager.Close))
			m.same(before)
		})
	}
}

// What other users have made, or can change, is not read.
func TestJournalOfOthers(t *testing.T) {
	m := newMachine(t)
	dir := t.TempDir()
	manager := m.mustOpen(dir)
	path := filepath.Join(dir, manager.files.name)
	require.NoError(t, m.apply(manager, settings()...))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, m.Do(manager.Close))
	m.sh("ip link set clat up; ip address add 192.0.0.1/29 dev clat")
	before := m.state()
	for name, test := range map[string]struct {
		make func() error
		want string
	}{
		"owner": {func() error {
			return errors.Join(os.WriteFile(path, text, 0o600), os.Chown(path, 12345, 12345))
		}, "it belongs to user 12345"},
		"link": {func() error {
			return errors.Join(os.WriteFile(dir+"/other", text, 0o600), os.Symlink("other", path))
		}, "is a symbolic link"},
		"pipe":      {func() error { return unix.Mkfifo(path, 0o600) }, "is not a regular file"},
		"directory": {func() error { return os.Mkdir(path, 0o700) }, "is a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, test.make())
			manager, err := m.open(dir, Policy{Device: "clat"})
			assert.ErrorContains(t, err, test.want)
			require.NotNil(t, manager)
			m.same(before)
			manager.crash()
			os.RemoveAll(path)
		})
	}
	require.NoError(t, os.Chmod(dir, 0o777))
	_, err = m.open(dir, Policy{Device: "clat"})
	assert.ErrorContains(t, err, "can be written by every user")
	require.NoError(t, os.Chmod(dir, 0o755))

	require.NoError(t, os.Symlink("other", dir+"/"+filepath.Base(path)+".new"))
	manager = m.mustOpen(dir)
	require.NoError(t, m.apply(manager, settings()...))
	got, err := os.ReadFile(dir + "/other")
	require.NoError(t, err)
	assert.Equal(t, string(text), string(got), "written through a link")
}

// Nothing is changed that can't be noted.
func TestNoJournal(t *testing.T) {
	m := newMachine(t)
	dir := t.TempDir()
	manager := m.mustOpen(dir)
	before := m.state()
	require.NoError(t, os.Mkdir(filepath.Join(dir, manager.files.name), 0o700)) // no file takes its place
	err := m.apply(manager, settings()...)
	assert.ErrorContains(t, err, "journal")
	var partial *PartialError
	assert.False(t, errors.As(err, &partial))
	m.same(before)
}

// Tables and rules of nftables go at the next start even if the journal is lost; those of
// other devices and programs stay.
func TestSweep(t *testing.T) {
	m := newMachine(t)
	m.sh(firewalls + iptablesRules + `
		nft 'table ip6 tayga-clat-2-nat { chain x { accept comment "tayga-clat-2-nat 1"; }; }'
		nft 'table ip6 tayga-clat-own { chain x { accept; }; }'
		nft 'insert rule inet filter forward accept comment "tayga-clat-2-accept 12345678"'`)
	dir := t.TempDir()
	before, manager := m.state(), m.mustOpen(dir)
	require.NoError(t, m.apply(manager, tables()...))
	require.True(t, before != m.state())
	require.NoError(t, os.Remove(filepath.Join(dir, manager.files.name)))
	manager.crash()
	m.mustOpen(dir)
	m.same(before)
}

// A route of another program that goes where ours would, with another MTU, stays: also after
// a crash between the note and the change.
func TestSimilarRoute(t *testing.T) {
	m := newMachine(t)
	m.sh("ip link set clat up; ip -4 address add 192.0.0.1/29 dev clat")
	dir, manager := t.TempDir(), (*Manager)(nil)
	add := "ip -4 route add default dev clat src 192.0.0.1 metric 2048 mtu 1300"
	route := settings()[10]
	m.sh(add)
	before := m.state()
	manager = m.mustOpen(dir)
	assert.ErrorContains(t, m.apply(manager, route), "another route is there")
	m.same(before)
	require.NoError(t, m.apply(manager))
	m.same(before)

	m.sh("ip -4 route del default dev clat")
	n := 0
	manager.host.step = func() {
		if n++; n == 2 { // the journal is written
			m.sh(add)
			panic(crashed)
		}
	}
	require.False(t, m.crashes(manager, []Change{route}))
	manager.crash()
	m.mustOpen(dir)
	m.same(before)
}

// A journal that another program has removed is written again.
func TestJournalRemoved(t *testing.T) {
	m := newMachine(t)
	dir := t.TempDir()
	before, manager := m.state(), m.mustOpen(dir)
	require.NoError(t, m.apply(manager, settings()...))
	require.NoError(t, os.Remove(filepath.Join(dir, manager.files.name)))
	require.NoError(t, m.apply(manager, settings()...))
	manager.crash()
	m.mustOpen(dir)
	m.same(before)
}

// A second Manager of the device has to wait; one of another network namespace has not.
func TestBusy(t *testing.T) {
	m, other := newMachine(t), newMachine(t)
	dir := t.TempDir()
	manager := m.mustOpen(dir)
	_, err := m.open(dir, Policy{Device: "clat"})
	assert.ErrorIs(t, err, ErrBusy)
	other.mustOpen(dir)
	require.NoError(t, m.apply(manager, settings()...))
	require.NoError(t, m.Do(manager.Close))
	m.mustOpen(dir)
}

// What two managers have set is restored by the last one, whichever that is.
func TestTwoManagers(t *testing.T) {
	forward := []Change{
		{Sysctl: &Sysctl{"net/ipv6/conf/all/forwarding", "1"}},
		{Sysctl: &Sysctl{"net/ipv4/ip_forward", "1"}},
	}
	for _, first := range []int{0, 1} {
		m := newMachine(t)
		m.ra()
		m.sh("ip tuntap add nat64 mode tun")
		dir, before := t.TempDir(), m.state()
		var list [2]*Manager
		for i, p := range []Policy{{Device: "clat"}, {Device: "nat64", Gateway: true}} {
			var err error
			list[i], err = m.open(dir, p)
			require.NoError(t, err)
			require.NoError(t, m.apply(list[i], forward...))
		}
		made := m.state()
		require.NoError(t, m.Do(list[first].Close))
		m.same(made, "one has gone")
		require.NoError(t, m.apply(list[1-first], forward...))
		m.same(made)
		require.NoError(t, m.Do(list[1-first].Close))
		m.same(before, "both have gone")
	}
}

// After the crash of one of two, the other restores.
func TestTwoManagersCrash(t *testing.T) {
	m := newMachine(t)
	m.ra()
	dir, before := t.TempDir(), m.state()
	forward := Change{Sysctl: &Sysctl{"net/ipv6/conf/all/forwarding", "1"}}
	crashing := m.mustOpen(dir)
	require.NoError(t, m.apply(crashing, forward))
	gateway, err := m.open(dir, Policy{Device: "nat64", Gateway: true})
	require.NoError(t, err)
	require.NoError(t, m.apply(gateway, forward))
	crashing.crash()
	require.NoError(t, m.Do(gateway.Close))
	m.same(before)
	require.NoError(t, m.Do(m.mustOpen(dir).Close))
	m.same(before)
}

// One that starts after the crash of another takes over what that has left, and both orders
// of their ends restore it.
func TestTwoManagersCrashBefore(t *testing.T) {
	forward := Change{Sysctl: &Sysctl{"net/ipv6/conf/all/forwarding", "1"}}
	for _, restarted := range []bool{false, true} {
		m := newMachine(t)
		m.ra()
		dir, before := t.TempDir(), m.state()
		clat := m.mustOpen(dir)
		require.NoError(t, m.apply(clat, forward))
		made := m.state()
		clat.crash()
		gateway, err := m.open(dir, Policy{Device: "nat64", Gateway: true})
		require.NoError(t, err)
		require.NoError(t, m.apply(gateway, forward))
		if restarted {
			clat = m.mustOpen(dir)
			m.same(made, "the other still wants it")
			require.NoError(t, m.apply(clat, forward))
			require.NoError(t, m.Do(gateway.Close))
			m.same(made)
			gateway = clat
		}
		require.NoError(t, m.Do(gateway.Close))
		m.same(before)
		require.NoError(t, m.Do(m.mustOpen(dir).Close))
		m.same(before)
	}
}

// Values that other programs have set meanwhile stay.
func TestOthersValues(t *testing.T) {
	m := newMachine(t)
	m.ra()
	m.Sysctl("net/ipv4/conf/eth1/forwarding", "1")
	before, manager := m.state(), m.mustOpen(t.TempDir())
	require.NoError(t, m.apply(manager, settings()...))
	m.Sysctl("net/ipv6/conf/eth0/accept_ra", "0")
	m.Sysctl("net/ipv6/conf/eth1/forwarding", "0")
	m.sh("ip link set clat mtu 1400; ip -4 route del default; ip -4 route add default dev eth1 metric 2048")
	require.NoError(t, m.apply(manager))
	m.sh("ip -4 route del default dev eth1 metric 2048")
	m.Sysctl("net/ipv6/conf/eth0/accept_ra", "1")
	assert.Contains(t, m.sh("ip link show clat"), "mtu 1400")
	m.sh("ip link set clat mtu 1500")
	m.same(before)
}

// A change takes the place of another at once, and both are undone.
func TestReplace(t *testing.T) {
	m := newMachine(t)
	dir := t.TempDir()
	m.sh("ip link set clat up; ip -4 address add 192.0.0.1/29 dev clat")
	before := m.state()
	nat := func(out string) Change {
		return Change{NAT: &NAT{Table: "tayga-clat-nat", In: "clat", Out: out, Sources: []netip.Prefix{host6}}}
	}
	route := func(mtu int) Change {
		return Change{Route: &Route{Device: "clat", Dst: any4, Src: ours4, MTU: mtu, Metric: 2048}}
	}
	route6 := func(via string) Change {
		return Change{Route: &Route{Device: "eth0", Dst: pref64, Via: netip.MustParseAddr(via), Table: 464}}
	}
	uplink := func(dev, via string) Change {
		return Change{Route: &Route{Device: dev, Dst: netip.MustParsePrefix("2001:db8:64::/96"), Via: netip.MustParseAddr(via), Table: 464}}
	}
	old := []Change{uplink("eth0", "2001:db8::1"), route(1400), route6("2001:db8::1"), nat("eth0"), {Link: &Link{"clat", 1400}}, {Sysctl: &Sysctl{"net/ipv4/conf/clat/rp_filter", "2"}}}
	want := []Change{uplink("eth1", "2001:db8:1::1"), route(1300), route6("2001:db8::3"), nat("eth1"), {Link: &Link{"clat", 1300}}, {Sysctl: &Sysctl{"net/ipv4/conf/clat/rp_filter", "1"}}}

	fresh := m.mustOpen(dir)
	require.NoError(t, m.apply(fresh, want...))
	made := m.state()
	require.NoError(t, m.apply(fresh))
	m.same(before)

	manager := fresh
	require.NoError(t, m.apply(manager, old...))
	require.NoError(t, m.apply(manager, want...))
	m.same(made)
	require.NoError(t, m.apply(manager, old...))
	// Another program makes it as it is wanted next.
	m.sh("ip -4 route replace default dev clat src 192.0.0.1 metric 2048 mtu 1300; ip link set clat mtu 1300")
	require.NoError(t, m.apply(manager, want...))
	m.same(made)
	require.NoError(t, m.apply(manager))
	m.same(before)
	require.NoError(t, m.Do(manager.Close))

	for step := 0; ; step++ { // a crash between the two
		manager := m.mustOpen(dir)
		require.NoError(t, m.apply(manager, old...))
		n := 0
		manager.host.step = func() {
			if n++; n > step {
				panic(crashed)
			}
		}
		done := m.crashes(manager, want)
		manager.crash()
		require.NoError(t, m.Do(m.mustOpen(dir).Close))
		m.same(before, step)
		if done {
			break
		}
	}
}

// What has gone with its device is no error, and what can't be made is one for itself.
func TestGone(t *testing.T) {
	m := newMachine(t)
	dir := t.TempDir()
	manager := m.mustOpen(dir)
	require.NoError(t, m.apply(manager, append(settings(), tables()...)...))
	m.Delete("clat")
	m.Delete("eth0")
	err := m.apply(manager, settings()...)
	var partial *PartialError
	require.ErrorAs(t, err, &partial)
	assert.ErrorIs(t, err, unix.ENODEV)
	for _, f := range partial.Failed {
		assert.True(t, f.Change.Link != nil || f.Change.Address != nil || f.Change.Route != nil, f.Change.String())
	}
	require.NoError(t, m.apply(manager))
	left := m.sh("ip rule; ip -6 rule; ip route show table all; ip -6 route show table all; nft list ruleset")
	assert.NotContains(t, left, "464")
	assert.NotContains(t, left, "tayga")

	m.sh("ip tuntap add clat mode tun")
	require.NoError(t, m.apply(manager, settings()[1:6]...))
	m.Delete("clat")
	require.NoError(t, m.Do(manager.Close))
}

// A route or table of another program is not replaced.
func TestConflict(t *testing.T) {
	m := newMachine(t)
	m.sh(`ip link set clat up; ip -4 address add 192.0.0.1/29 dev clat
		ip -4 route add default dev eth1 metric 2048; ip -6 route add 64:ff9b::/96 dev eth1 table 464
		ip -6 address add fd00:464::7/64 dev clat nodad
		nft 'table ip6 tayga-clat-nat { chain x { accept; }; }'`)
	before := m.state()
	manager := m.mustOpen(t.TempDir())
	all := append(settings(), tables()...)
	err := m.apply(manager, all...)
	var partial *PartialError
	require.ErrorAs(t, err, &partial)
	var failed []string
	for _, f := range partial.Failed {
		failed = append(failed, f.Change.String())
	}
	assert.Equal(t, []string{all[4].String(), all[6].String(), all[10].String(), all[11].String()}, failed)
	assert.ErrorContains(t, err, "another route is there")
	assert.ErrorContains(t, err, "has rules of another program")
	require.NoError(t, m.apply(manager))
	m.same(before)
}

// A rule of another program that the kernel might take for ours is not deleted.
func TestSimilarRule(t *testing.T) {
	m := newMachine(t)
	manager := m.mustOpen(t.TempDir())
	rule := Change{Rule: &Rule{Priority: 464, Table: 464, From: netip.PrefixFrom(ours4, 32)}}
	m.sh("ip rule add priority 464 table 464 from 192.0.0.1 ipproto tcp")
	before := m.state()
	require.NoError(t, m.apply(manager, rule))
	assert.ErrorContains(t, m.apply(manager), "would delete a similar one")
	m.sh("ip rule del priority 464 table 464 from 192.0.0.1 ipproto tcp")
	require.NoError(t, m.apply(manager))
	m.sh("ip rule add priority 464 table 464 from 192.0.0.1 ipproto tcp")
	m.same(before)
}
