package hostnet

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tables are changes of nftables.
func tables() []Change {
	return []Change{
		{NAT: &NAT{Table: "tayga-clat-nat", In: "clat", Out: "eth0", Sources: []netip.Prefix{host6}}},
		{NAT: &NAT{Table: "tayga-clat-share", Out: "clat", To: ours4, Sources: []netip.Prefix{
			netip.MustParsePrefix("172.17.0.0/16"), netip.MustParsePrefix("10.0.0.0/9")}}},
		{NAT: &NAT{Table: "tayga-clat-both", In: "clat", Out: "eth0", Sources: []netip.Prefix{
			netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fc00::/7")}}},
		{Guard: &Guard{Table: "tayga-clat-guard", Device: "clat"}},
		{Accept: &Accept{Device: "clat", Src: host6, Dst: pref64}},
		{Accept: &Accept{Device: "clat", Src: netip.MustParsePrefix("10.0.0.0/9"), Into: true}},
		{Accept: &Accept{Device: "clat"}},
	}
}

// firewalls are those of others: by nft(8), by iptables-nft as UFW and Docker have it, and
// like firewalld. The first two drop by policy, the others by a rule that is jumped to.
const firewalls = `
nft -f - <<'END'
table inet filter {
	chain forward { type filter hook forward priority filter; policy drop; ct state established accept; }
	chain input { type filter hook input priority filter; policy drop; iif lo accept; }
}
table ip6 early {
	chain last { reject; }
	chain second { iifname "eth1" jump last; }
	chain forward { type filter hook forward priority -200; policy accept; jump second; }
}
table inet verdicts {
	map v { type ifname : verdict; elements = { "eth0" : drop }; }
	chain forward { type filter hook forward priority 10; policy accept; oifname vmap @v; }
}
table ip count {
	chain forward { type filter hook forward priority 20; policy accept; counter; }
	chain nat { type nat hook postrouting priority 100; policy accept; oifname "eth1" masquerade; }
}
table bridge filter {
	chain forward { type filter hook forward priority 0; policy drop; }
}
END
`

const iptablesRules = `
iptables -N DOCKER-USER
iptables -I FORWARD -j DOCKER-USER
iptables -P FORWARD DROP
ip6tables -N ufw6-reject
ip6tables -A ufw6-reject -j REJECT
ip6tables -A FORWARD -i eth0 -m conntrack --ctstate INVALID -j ufw6-reject
iptables-save | iptables-restore
ip6tables-save | ip6tables-restore
`

// Tables of nftables and rules in those of others are made, found, made again after another
// program has flushed them, and undone.
func TestTables(t *testing.T) {
	m := newMachine(t)
	m.sh(firewalls)
	before := m.state()
	manager := m.mustOpen(t.TempDir())
	for _, c := range tables() {
		t.Run(c.key(), func(t *testing.T) {
			require.NoError(t, m.apply(manager, c))
			made := m.state()
			t.Log(difference(before, made))
			require.True(t, before != made)
			require.NoError(t, m.apply(manager, c))
			m.same(made, "again")
			m.sh(`nft list ruleset >` + manager.files.path + `/rules; nft flush ruleset; ` + firewalls)
			m.same(before)
			require.NoError(t, m.apply(manager, c))
			m.same(made, "after others were made anew")
			m.sh(`nft flush ruleset; nft -f ` + manager.files.path + `/rules`)
			m.same(made, "reloaded")
			require.NoError(t, m.apply(manager, c))
			m.same(made, "after a reload")
			m.sh(`nft flush ruleset; nft -f ` + manager.files.path + `/rules`)
			require.NoError(t, m.apply(manager))
			m.same(before, "undone")
		})
	}
}

// A kernel without nftables made the routes of a CLAT without its guard: any host could reach
// the machine's IPv4 programs. Now there is no route until the guard is there.
func TestGuardFails(t *testing.T) {
	m := newMachine(t)
	manager := m.mustOpen(t.TempDir())
	want := slices.Insert(settings(), 5, tables()[3], tables()[4])
	for range 2 {
		manager.host.nftErr = fmt.Errorf("nftables: %w", errNoNFT)
		err := m.apply(manager, want...)
		require.ErrorContains(t, err, "clat is without a guard, and gets no routes")
		for _, list := range []string{"ip route", "ip -6 route", "ip route show table 464"} {
			routes := m.sh(list + " 2>/dev/null || true")
			assert.NotContains(t, routes, "default dev clat", list)
			assert.NotContains(t, routes, host6.Addr().String()+" dev clat", list)
		}
		manager.host.nftErr = nil
		require.NoError(t, m.apply(manager, want...))
		assert.Contains(t, m.sh("ip -6 route"), host6.Addr().String()+" dev clat")
		assert.Contains(t, m.sh("ip route"), "default dev clat")
	}
}

// iptables still takes the tables that it manages, and keeps our rules.
func TestIptables(t *testing.T) {
	m := newMachine(t)
	m.sh(firewalls + iptablesRules)
	before := m.state()
	manager := m.mustOpen(t.TempDir())
	all := tables()
	require.NoError(t, m.apply(manager, all...))
	made := m.state()
	for _, program := range []string{"iptables", "ip6tables"} {
		rules := m.sh(program + ` -S FORWARD`)
		t.Log(rules)
		assert.Contains(t, rules, "RELATED,ESTABLISHED")
		assert.Contains(t, rules, `--comment "tayga-clat-accept `)
		m.sh(program + `-save >` + manager.files.path + `/saved; ` + program + `-restore <` + manager.files.path + `/saved`)
		assert.Equal(t, rules, m.sh(program+` -S FORWARD`))
	}
	require.NoError(t, m.apply(manager, all...))
	m.same(made)
	require.NoError(t, m.apply(manager))
	m.same(before)
}

// The commands for the tables do what a Manager does.
func TestTableCommands(t *testing.T) {
	byCommand, byManager := newMachine(t), newMachine(t)
	byCommand.sh(firewalls + iptablesRules)
	byManager.sh(firewalls + iptablesRules)
	var lines []string
	require.NoError(t, byCommand.Do(func() (err error) {
		lines, err = Commands(tables())
		return err
	}))
	t.Log(strings.Join(lines, "\n"))
	byCommand.sh(strings.Join(lines, "\n"))
	require.NoError(t, byManager.apply(byManager.mustOpen(t.TempDir()), tables()...))
	assert.Empty(t, difference(byCommand.comparable(), byManager.comparable()))
}

// Rules that the library cannot read are found and deleted all the same.
func TestBareRules(t *testing.T) {
	m := newMachine(t)
	m.sh(firewalls + iptablesRules)
	manager := m.mustOpen(t.TempDir())
	require.NoError(t, m.apply(manager, tables()...))
	n := manager.host.nft
	s, err := n.foreign()
	require.NoError(t, err)
	require.NotEmpty(t, s.forward())
	for _, c := range s.forward() {
		want, err := n.rules(c)
		require.NoError(t, err)
		got, err := n.bareRules(c)
		require.NoError(t, err)
		require.Len(t, got, len(want))
		for i := range got {
			assert.Equal(t, want[i].Handle, got[i].Handle)
			assert.Equal(t, comment(want[i]), comment(got[i]))
			if comment(got[i]) == "" {
				drops, err := s.anyDrops(c, got[i:i+1], nil)
				assert.True(t, drops && err == nil)
			}
		}
	}
}
