package gatewaytest

import (
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// TestKilled: what a gateway has left that had no chance to undo anything, the next one undoes.
func TestKilled(t *testing.T) {
	w := newWorld(t)
	w.static()
	before := w.state()
	p := w.start()
	w.reach()
	w.kill(p)
	assert.NotEmpty(t, difference(before, w.state()), "it has left nothing: this test shows nothing")

	p = w.start()
	w.reach()
	w.seenAs(gateway4 + "/32")
	require.NoError(t, p.Stop(patience))
	assert.Empty(t, difference(before, w.state()))

	// With its helper alive, a daemon that is killed leaves nothing.
	p = w.start()
	w.reach()
	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGKILL))
	w.eventually("the helper has undone all", func() error {
		if d := difference(before, w.state()); d != "" {
			return errText(d)
		}
		return nil
	})
}

type errText string

func (e errText) Error() string { return string(e) }

// link-local addresses and numbers of links differ from machine to machine.
var ownNames = regexp.MustCompile(`fe80::[0-9a-f:]+|([0-9a-f]{2}:){5}[0-9a-f]{2}|link-netnsid \d+|(?m)^\d+: |@if\d+|ff[0-9a-f]{2}:[0-9a-f:]+`)

// TestByHand: the script of --print makes of a machine what the daemon does.
func TestByHand(t *testing.T) {
	for name, rules := range map[string]string{
		"plain": "",
		"firewall": `table inet filter {
			chain forward {
				type filter hook forward priority 0; policy drop;
				ct state established,related accept
			}
		}`,
	} {
		t.Run(name, func(t *testing.T) {
			byDaemon, byHand := newWorld(t), newWorld(t)
			for _, w := range []*world{byDaemon, byHand} {
				w.static()
				if rules != "" {
					w.gateway.Nft(rules)
				}
			}
			p := byDaemon.start()
			byDaemon.reach()
			byDaemon.seenAs(gateway4 + "/32")

			script := byHand.printed()
			conf, _, ok := strings.Cut(script, "\nEND\n")
			require.True(t, ok)
			path := filepath.Join(byHand.dir, "tayga.conf")
			script = strings.ReplaceAll(script, "/etc/tayga.conf", path)
			script = strings.Replace(script, "\nEND\n", "\nstatus-socket no\nEND\n", 1) // which other tests have, too
			script = strings.Replace(script, "\ntayga -c", "\n"+tayga+" -p "+filepath.Join(byHand.dir, "pid")+" -c", 1)
			require.Contains(t, conf, "/etc/tayga.conf")
			byHand.sh(byHand.gateway, script)
			byHand.reach()
			byHand.seenAs(gateway4 + "/32")

			plain := func(w *world) string { return ownNames.ReplaceAllString(w.state(), "") }
			assert.Empty(t, difference(plain(byDaemon), plain(byHand)))
			require.NoError(t, p.Stop(patience))
		})
	}
}

// TestOtherUplink: IPv4 gets another address, as by DHCP, and another interface.
func TestOtherUplink(t *testing.T) {
	w := newWorld(t)
	w.static()
	w.Link(w.gateway, "wwan0", w.router, "wwan0", 1500)
	w.router.Addr("wwan0", "9.9.5.2/24")
	before := w.state()
	p := w.start()
	w.reach()

	w.sh(w.gateway, "ip address del 9.9.0.1/24 dev eth0; ip address add 9.9.0.7/24 dev eth0; ip route replace default via 9.9.0.2")
	w.reach()
	w.seenAs("9.9.0.7/32")

	w.sh(w.gateway, "ip address del 9.9.0.7/24 dev eth0; ip address add 9.9.5.1/24 dev wwan0; ip route add default via 9.9.5.2")
	w.said(p, "IPv4 by wwan0")
	w.reach()
	w.seenAs("9.9.5.1/32")

	// Another program deletes all rules of nftables: masquerading comes back by itself.
	w.sh(w.gateway, "nft flush ruleset")
	w.eventually("the server has an answer for the gateway's address", func() error {
		if !strings.Contains(w.sh(w.gateway, "nft list ruleset"), "masquerade") {
			return errText("no masquerading")
		}
		return nil
	})

	require.NoError(t, p.Stop(patience))
	w.sh(w.gateway, "ip address del 9.9.5.1/24 dev wwan0; ip address add 9.9.0.1/24 brd + dev eth0; ip route add default via 9.9.0.2")
	assert.NotContains(t, p.Output(), "Clients at eth0", "the former uplink has clients")
	assert.Empty(t, difference(before, w.state()))
}

// TestGivenUplink: clients leave by an interface that is not the machine's own choice.
func TestGivenUplink(t *testing.T) {
	w := newWorld(t)
	w.static()
	w.Link(w.gateway, "wwan0", w.router, "wwan0", 1500)
	w.router.Addr("wwan0", "9.9.5.2/24")
	w.gateway.Addr("wwan0", "9.9.5.1/24")
	w.sh(w.gateway, "ip route add default via 9.9.5.2 metric 200")
	before := w.state()
	p := w.start("--wan", "wwan0")
	w.reach()
	w.seenAs("9.9.5.1/32")
	require.NoError(t, p.Stop(patience))
	assert.Empty(t, difference(before, w.state()))
}

// TestNoIPv4Yet waits for IPv4, and says so once.
func TestNoIPv4Yet(t *testing.T) {
	w := newWorld(t)
	w.static()
	w.sh(w.gateway, "ip route del default")
	out, err := w.gateway.Command(tayga, "--gateway", "--print").CombinedOutput()
	assert.Error(t, err)
	assert.Equal(t, "tayga: there is no way to IPv4 yet: no IPv4 default route\n", string(out))

	p := w.start()
	const waits = "there is no way to IPv4 yet: no IPv4 default route: waiting for it\n"
	w.said(p, waits)
	w.sh(w.gateway, "ip route add default via 9.9.0.2")
	w.reach()
	assert.Equal(t, 1, strings.Count(p.Output(), waits))
	require.NoError(t, p.Stop(patience))

	// A signal ends the waiting.
	w.sh(w.gateway, "ip route del default")
	p = w.start()
	w.said(p, waits)
	require.NoError(t, p.Stop(patience))
}

// TestRoutedBlock: clients share addresses that are routed to the gateway.
func TestRoutedBlock(t *testing.T) {
	for name, c := range map[string]struct{ setup, option string }{
		"found": {"ip route add blackhole 9.9.7.8/30", ""},
		"given": {"true", "--pool=9.9.7.8/30"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.static()
			w.router.Route("9.9.7.8/30", gateway4, "")
			w.sh(w.gateway, c.setup)
			before := w.state()
			var args []string
			if c.option != "" {
				args = append(args, c.option)
			}
			p := w.start(args...)
			w.reach()
			w.seenAs("9.9.7.8/30")
			assert.NotContains(t, w.sh(w.gateway, "nft list ruleset"), "masquerade")
			require.NoError(t, p.Stop(patience))
			assert.Empty(t, difference(before, w.state()))
		})
	}
}

// TestOneArmed: clients are on the link that leads to the internet. Those of its network are
// translated, and no others.
func TestOneArmed(t *testing.T) {
	w := newWorld(t)
	w.sh(w.gateway, "ip address flush dev eth1; ip link set eth1 down")
	w.router.Addr("eth0", "2001:db8:7::2/64")
	w.router.Route("2001:db8:7::/64", "", "eth0")
	p := w.start()
	w.said(p, "Clients at eth0: those in 2001:db8:ffff::/64\n")
	from := func(source string) error {
		_, err := w.router.Ping(embedded, netlab.Echo{Size: 8, Timeout: 300 * time.Millisecond, Source: netip.MustParseAddr(source)})
		return err
	}
	w.eventually("a client is translated", func() error { return from("2001:db8:ffff::2") })
	assert.Error(t, from("2001:db8:7::2"))
	require.NoError(t, p.Stop(patience))
}

// TestWrongOptions says what to give.
func TestWrongOptions(t *testing.T) {
	w := newWorld(t)
	for option, want := range map[string]string{
		"--lan=eth7":           "--lan eth7: there is no such interface: there are eth0 and eth1",
		"--wan=nat64":          "--wan nat64: there is no such interface: there are eth0 and eth1",
		"--pool=9.9.0.1":       "--pool 9.9.0.1/32: packets to it stay on this machine, which has it as its own: remove it from eth0 first, or give another",
		"--pool=much":          "--pool much: this is no IPv4 address or prefix",
		"--pool=2001:db8::/64": "--pool 2001:db8::/64: an IPv4 prefix of length 8 to 32 is needed",
	} {
		for _, print := range []bool{false, true} {
			args := []string{"--gateway", option}
			if print {
				args = append(args, "--print")
			}
			out, err := w.gateway.Command(tayga, args...).CombinedOutput()
			assert.Error(t, err, option)
			assert.Contains(t, string(out), want)
			assert.LessOrEqual(t, strings.Count(string(out), "\n"), 2, "%s", out)
		}
	}
}

// TestTwice: a second gateway says that there is one.
func TestTwice(t *testing.T) {
	w := newWorld(t)
	w.static()
	p := w.start()
	w.reach()
	out, err := w.gateway.Command(tayga, "--gateway").CombinedOutput()
	assert.Error(t, err)
	assert.Contains(t, string(out), "there is an interface nat64 already")
	assert.Contains(t, w.printed(), "\ntun-device nat64\n", "what it amounts to, while it runs")
	w.reach()
	require.NoError(t, p.Stop(patience))
}
