package main

import (
	"encoding/json"
	"errors"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// clatFindings runs the doctor for a CLAT without a file.
func (c *clinic) clatFindings() (list []finding) {
	c.Helper()
	cmd := c.doctorCommand("--clat", "--json")
	cmd.Args = append(cmd.Args[:len(cmd.Args)-4], "--clat", "--json") // without -c FILE
	text, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.Fatal(err)
	}
	require.NoError(c, json.Unmarshal(text, &list), string(text))
	return list
}

// Without any file, the doctor says what keeps a CLAT from working, and asks for nothing
// that the CLAT does itself.
func TestDoctorCLATWithoutFile(t *testing.T) {
	c := newCLAT(t)
	const absent = "tayga does not run on clat: run "
	list := c.clatFindings()
	require.Len(t, list, 1, "%v", list)
	assert.Contains(t, list[0].Text, absent)

	// A packet filter that the CLAT passes itself, and one that it does not.
	c.sh(`nft 'table inet t { chain forw { type filter hook forward priority 0; policy drop; }; }'`)
	require.Len(t, c.clatFindings(), 1)
	c.sh(`nft 'table ip t { chain out { type filter hook output priority 0; policy drop; oifname "lo" accept; }; }'`)
	list = c.clatFindings()
	require.Len(t, list, 2, "%v", list)
	assert.Equal(t, "chain out of table ip t drops IPv4 packets of clat", list[0].Text)
	c.execute(list[0])
	require.Len(t, c.clatFindings(), 1)

	// Another CLAT, by a device that a process has.
	c.sh("ip tuntap add dev clat0 mode tun; ip addr add 192.0.0.1/29 dev clat0; ip link set clat0 up")
	list = c.clatFindings()
	require.Len(t, list, 2, "%v", list)
	assert.Equal(t, "another CLAT is active on clat0: a tayga or clatd has started it: end that; tayga does not run beside it", list[0].Text)
	c.sh("ip link del clat0")

	// No DNS64, no way to IPv6.
	c.synthesise("2001:db8:64:64::")
	require.Len(t, c.clatFindings(), 1, "any prefix will do")
	c.sh("ip -6 route del default")
	list = c.clatFindings()
	require.Len(t, list, 2, "%v", list)
	assert.Equal(t, "uplink", list[0].About)
}

// The same --fix and --undo for it.
func TestDoctorFixCLATWithoutFile(t *testing.T) {
	c := newCLAT(t)
	c.sh(`nft 'table ip t { chain out { type filter hook output priority 0; policy drop; oifname "lo" accept; }; }'`)
	before := c.state()
	fix := func(args ...string) string {
		cmd := c.doctorCommand(args...)
		cmd.Args = append(cmd.Args[:len(cmd.Args)-len(args)-2], append([]string{"--clat"}, args...)...)
		text, _ := cmd.CombinedOutput()
		return string(text)
	}
	text := fix("--fix", "--yes")
	assert.Contains(t, text, "   done\n1 command can be undone: tayga --doctor --undo\nwhat is left:\nerror: daemon: tayga does not run on clat")
	assert.Contains(t, fix("--undo", "--yes"), "   done\n")
	assert.Empty(t, difference(before, c.state()))
}

// Beside a CLAT that runs, nothing is missing; a packet filter that came later and dropped its
// packets is found, and what --fix did is undone.
func TestDoctorOfRunningCLAT(t *testing.T) {
	c := newCLAT(t)
	c.configure("clat yes\ndata-dir DIR\nstatus-socket DIR/sock\n")
	const script = `mount --bind "$1/resolv.conf" /etc/resolv.conf && exec "$2" -c "$3" --stdout -n`
	p, err := c.host.Launch("unshare", "-m", "sh", "-c", script, "sh", c.dir, c.self, c.conf)
	require.NoError(t, err)
	t.Cleanup(func() { p.Stop(patience) })
	c.eventually(func() bool {
		return c.host.Command("ping", "-n", "-c", "1", "-W", "1", serverAddr).Run() == nil
	}, p.Output)
	require.Empty(t, c.findings(), p.Output())

	c.sh(`nft 'table inet t { chain forw { type filter hook forward priority -5; iifname "clat" drop; }; chain out { type filter hook output priority 0; oifname "clat" drop; }; }'`)
	require.Error(t, c.host.Command("ping", "-n", "-c", "1", "-W", "1", serverAddr).Run())
	c.undone("firewall")
	_, code := c.repaired("--fix", "--yes")
	assert.Zero(t, code)
	assert.NoError(t, c.host.Command("ping", "-n", "-c", "1", "-W", "30", serverAddr).Run())
}

// Without a tayga.conf, the doctor said that there is none, beside a CLAT that runs; and with
// --clat, that it runs with another file, where that is the unit's.
func TestDoctorFindsCLAT(t *testing.T) {
	c := newCLAT(t)
	const script = `mount -t tmpfs tmpfs /run; cp "$1/resolv.conf" /run; mount -t tmpfs tmpfs /etc; mv /run/resolv.conf /etc; mkdir /run/tayga
		[ -z "$3" ] || echo clat yes >/etc/steppe-clat.conf
		"$2" --clat $3 & trap "kill $!; wait" EXIT
		until ping -n -c 1 -W 1 "$4" >/dev/null 2>&1; do sleep 0.1; done
		"$2" --doctor; echo "status $?"; "$2" --clat --doctor; echo "status $?"`
	for name, file := range map[string]string{"--clat": "", "/etc/steppe-clat.conf": "-c /etc/steppe-clat.conf"} {
		text, err := c.host.Command("timeout", "60", "unshare", "-m", "sh", "-c", script, "sh", c.dir, c.self, file, serverAddr).CombinedOutput()
		require.NoError(t, err, "%s", text)
		assert.Regexp(t, "(?m)^"+name+": nothing is missing\nstatus 0\n"+name+": nothing is missing\nstatus 0\n", string(text))
	}
}
