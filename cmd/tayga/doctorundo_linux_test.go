package main

import (
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A command that would cut the connection over which it is run is not run, and a sentence
// says why; others are.
func TestDoctorFixOverSSH(t *testing.T) {
	for _, test := range []struct {
		name, more, harm string
		peer, local      string
		skipped, done    []string // what the findings are about
		reason           string
	}{
		{name: "route-to-the-peer", harm: "ip route replace 192.168.255.0/24 via 198.51.98.2", peer: "192.168.255.7", local: "198.51.98.1",
			skipped: []string{"route"}, reason: "192.168.255.7 is in 192.168.255.0/24"},
		{name: "route-to-another", harm: "ip route replace 192.168.255.0/24 via 198.51.98.2", peer: "198.51.98.2", local: "198.51.98.1", done: []string{"route"}},
		{name: "of-the-other-family", harm: "ip route replace 192.168.255.0/24 via 198.51.98.2", peer: clientAddr, local: "2001:db8:c::1", done: []string{"route"}},
		{name: "through-the-translator", harm: "touch -d 2001-01-01 DIR/tayga.conf", peer: "192.168.255.7", local: "198.51.98.1",
			skipped: []string{"daemon"}, reason: "its packets pass nat64"},
		{name: "address-that-is-not-ours", harm: "ip route del 64:ff9b::/96 dev nat64; sysctl -qw net.ipv4.ip_forward=0", peer: clientAddr, local: "2001:db8:c::99",
			skipped: []string{"route"}, done: []string{"forwarding"}, reason: "2001:db8:c::99, to which it comes, is no address of this machine"},
		{name: "advertisements-first", harm: "sysctl -qw net.ipv6.conf.all.forwarding=0 net.ipv6.conf.eth0.accept_ra=1; ip addr add 2001:db8:c::99/64 dev eth0 valid_lft 1000 preferred_lft 1000",
			peer: clientAddr, local: "2001:db8:c::1", done: []string{"router-advertisements", "forwarding"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newClinic(t, clinicConf+test.more)
			c.heal()
			c.sh(test.harm)
			c.environ = []string{"SSH_CONNECTION=" + test.peer + " 50000 " + test.local + " 22"}
			list, _ := c.repaired("--fix", "--yes")
			var skipped, done []string
			for _, r := range list {
				switch r.Result {
				case resultSkipped:
					skipped = append(skipped, r.About)
					assert.Contains(t, r.Reason, "the connection from "+test.peer+", over which this is run, could be cut: ")
					assert.Contains(t, r.Reason, test.reason)
				case resultDone:
					done = append(done, r.About)
				}
			}
			assert.Equal(t, test.skipped, skipped)
			assert.Equal(t, test.done, done)
		})
	}
}

// Forwarding deletes default routes of router advertisements. If the command that keeps
// them is not chosen, the other one is not run.
func TestDoctorFixKeepsAdvertisedRoute(t *testing.T) {
	c := newClinic(t, clinicConf)
	c.heal()
	c.sh("sysctl -qw net.ipv6.conf.all.forwarding=0 net.ipv6.conf.eth0.accept_ra=1; ip addr add 2001:db8:c::99/64 dev eth0 valid_lft 1000 preferred_lft 1000")
	c.environ = []string{"SSH_CONNECTION=" + clientAddr + " 50000 2001:db8:c::1 22"}
	list, _ := c.repaired("--fix", "--yes", "2")
	require.NotEmpty(t, list)
	assert.Equal(t, "forwarding", list[0].About)
	assert.Equal(t, resultSkipped, list[0].Result)
	assert.Contains(t, list[0].Reason, "eth0 has its address or route from router advertisements")
	list, _ = c.repaired("--fix", "--yes")
	require.Len(t, results(list, resultDone), 2)
	// Undone in this order, the connection stays; it would not if forwarding were left on.
	c.sh("sysctl -qw net.ipv6.conf.all.forwarding=0; sysctl -qw net.ipv6.conf.all.forwarding=1")
	list, _ = c.repaired("--undo", "--yes")
	assert.Len(t, results(list, resultDone), 1)
	assert.Len(t, results(list, resultSkipped), 1)
}

// The connection is found by its socket, too, in a process that has started this one.
func TestDoctorFixFindsSocket(t *testing.T) {
	c := newClinic(t, clinicConf+"map "+serverAddr+" 2001:db8:c::77\n")
	c.heal()
	conn, err := c.server.ListenPacket("udp4", serverAddr+":7") // so that the address is in use
	require.NoError(t, err)
	defer conn.Close()
	var l net.Listener
	require.NoError(t, c.server.Do(func() (err error) {
		l, err = net.Listen("tcp4", serverAddr+":22")
		return err
	}))
	defer l.Close()
	const script = `exec 5<>/dev/tcp/` + serverAddr + `/22; mount --bind "$1/resolv.conf" /etc/resolv.conf; mkdir -p "$1/lib"; mount --bind "$1/lib" /var/lib; "$2" --doctor -c "$3" --fix --yes 5>&-; true`
	cmd := c.host.Command("unshare", "-m", "bash", "-c", script, "bash", c.dir, c.self, c.conf)
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, string(text))
	assert.Contains(t, string(text), "skipped: the connection from "+serverAddr+", over which this is run, could be cut: "+serverAddr+" is in "+serverAddr+"/32")
}

// Not on a terminal, nothing is changed without --yes, and all is said.
func TestDoctorFixDryRun(t *testing.T) {
	c := newClinic(t, clinicConf)
	c.heal()
	c.sh("sysctl -qw net.ipv4.ip_forward=0; ip route del 64:ff9b::/96 dev nat64")
	before := c.state()
	text, code := c.doctor("--fix")
	assert.Equal(t, 2, code)
	assert.Equal(t, `1. error: forwarding: the kernel does not forward IPv4 packets
   run:  sysctl -w net.ipv4.ip_forward=1
   undo: sysctl -w net.ipv4.ip_forward=0
2. error: route: packets for prefix 64:ff9b::/96 are not routed to nat64
   run:  ip route add 64:ff9b::/96 dev nat64
   undo: ip route del 64:ff9b::/96 dev nat64
`+c.conf+`: nothing was changed, since standard input or output is no terminal; with --yes, 2 commands would be run
`, text)
	assert.Empty(t, difference(before, c.state()))

	// Those with the numbers, and no others.
	list, code := c.repaired("--fix", "--yes", "2")
	assert.Equal(t, 2, code)
	require.Len(t, results(list, resultDone), 1)
	assert.Equal(t, commandReport{2, "error", "route", "packets for prefix 64:ff9b::/96 are not routed to nat64",
		"ip route add 64:ff9b::/96 dev nat64", "ip route del 64:ff9b::/96 dev nat64", resultDone, ""}, list[0])
	require.Len(t, results(list, resultLeft), 1)
	c.failure = "tayga: there is no command 7, but 1 of them\n"
	text, code = c.doctor("--fix", "7")
	assert.Equal(t, 2, code)
	assert.Empty(t, text)

	// Fixed twice, all of it is undone.
	list, code = c.repaired("--fix", "--yes")
	assert.Zero(t, code, "%v", list)
	after := c.state()
	text, code = c.doctor("--undo")
	assert.Zero(t, code)
	assert.Equal(t, `1. forwarding
   run:  sysctl -w net.ipv4.ip_forward=0
2. route
   run:  ip route del 64:ff9b::/96 dev nat64
nothing was changed, since standard input or output is no terminal; --yes runs these commands
`, text)
	assert.Empty(t, difference(after, c.state()))
	text, code = c.doctor("--undo", "--yes")
	assert.Zero(t, code)
	assert.Equal(t, `1. forwarding
   run:  sysctl -w net.ipv4.ip_forward=0
   done
2. route
   run:  ip route del 64:ff9b::/96 dev nat64
   done
`, text)
	assert.Empty(t, difference(before, c.state()))
}

// At the first command that fails it ends, and says what was done and what is left.
func TestDoctorFixStopsAtFailure(t *testing.T) {
	c := newClinic(t, clinicConf)
	c.heal()
	c.sh(`sysctl -qw net.ipv4.ip_forward=0; ip route del 64:ff9b::/96 dev nat64; nft flush ruleset
		mkdir DIR/bin; printf '#!/bin/sh\necho no such route >&2\nexit 2\n' >DIR/bin/ip; chmod +x DIR/bin/ip`)
	c.environ = []string{"PATH=" + c.dir + "/bin:" + os.Getenv("PATH")}
	c.failure = "tayga: ip route add 64:ff9b::/96 dev nat64: exit status 2: no such route\n"
	list, code := c.repaired("--fix", "--yes")
	assert.Equal(t, 2, code)
	require.Len(t, list, 4)
	assert.Equal(t, resultDone, list[0].Result)
	assert.Equal(t, resultFailed, list[1].Result)
	assert.Equal(t, "exit status 2: no such route", list[1].Reason)
	assert.Len(t, results(list, resultLeft), 2)
	c.environ = nil
	list, _ = c.repaired("--undo", "--yes")
	require.Len(t, list, 1, "what failed and changed nothing is not undone")
	assert.Equal(t, "sysctl -w net.ipv4.ip_forward=0", list[0].Command)
}

// What another program has changed since is left alone, with a sentence.
func TestDoctorUndoLeavesOthersAlone(t *testing.T) {
	c := newClinic(t, clinicConf)
	c.heal()
	c.sh("sysctl -qw net.ipv4.ip_forward=0; nft flush ruleset; ip route replace 192.168.255.0/24 via 198.51.98.2")
	_, code := c.repaired("--fix", "--yes")
	require.Zero(t, code)
	c.sh("nft add rule ip tayga postrouting ip saddr 10.0.0.0/8 masquerade; ip route replace 192.168.255.0/24 dev nat64 mtu 1400")
	list, code := c.repaired("--undo", "--yes")
	assert.Zero(t, code)
	require.Len(t, list, 3)
	assert.Equal(t, "table ip tayga has changed since", list[0].Reason)
	assert.Equal(t, "route 192.168.255.0/24 has changed since", list[1].Reason)
	assert.Equal(t, resultDone, list[2].Result)
	c.sh("nft list table ip tayga; ip route show 192.168.255.0/24 | grep mtu")
}

// On a terminal each command is asked for.
func TestDoctorFixAsks(t *testing.T) {
	c := newClinic(t, clinicConf)
	c.heal()
	harm := "sysctl -qw net.ipv4.ip_forward=0; ip route del 64:ff9b::/96 dev nat64; ip route del 192.168.255.0/24 dev nat64"
	c.sh(harm)
	text := c.typed("no\nmaybe\ny\nq\n", "--fix")
	assert.Contains(t, text, "1. error: forwarding: ")
	assert.Contains(t, text, "skipped: not wanted")
	assert.Equal(t, 4, strings.Count(text, "run it? [y]es, [n]o, [a]ll, [q]uit: "))
	assert.Equal(t, 1, strings.Count(text, "   done"))
	assert.Contains(t, text, "1 command can be undone: tayga --doctor --undo")
	text = c.typed("", "--fix")
	assert.NotContains(t, text, "   done", "end of the input")
	text = c.typed("a\n", "--fix")
	assert.Contains(t, text, "nothing is missing")
	text = c.typed("y\nall\n", "--undo")
	assert.Equal(t, 3, strings.Count(text, "   done"))
	assert.Equal(t, 2, strings.Count(text, "run it?"))
}

// typed runs the doctor on a terminal, where a person types, and then the end of a file.
func (c *clinic) typed(answers string, args ...string) string {
	c.Helper()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(c, err)
	defer terminal.Close()
	require.NoError(c, unix.IoctlSetPointerInt(int(terminal.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPTN)
	require.NoError(c, err)
	tty, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(c, err)
	_, err = terminal.WriteString(answers + "\x04")
	require.NoError(c, err)
	cmd := c.doctorCommand(args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	require.NoError(c, cmd.Start())
	tty.Close()
	said := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(terminal) // ends with an error when no process has the terminal
		said <- string(text)
	}()
	err = cmd.Wait()
	if _, failed := err.(*exec.ExitError); err != nil && !failed {
		c.Fatal(err)
	}
	return <-said
}

// A file of commands that others could have written is not run.
func TestDoctorUndoHostileFile(t *testing.T) {
	c := newClinic(t, clinicConf)
	c.heal()
	for name, prepare := range map[string]string{
		"mode":      "chmod 644 DIR/lib/steppe/doctor-undo.json",
		"owner":     "chown 65534 DIR/lib/steppe/doctor-undo.json",
		"link":      "mv DIR/lib/steppe/doctor-undo.json DIR/lib/steppe/x; ln -s x DIR/lib/steppe/doctor-undo.json",
		"directory": "chmod 777 DIR/lib/steppe",
		"words":     "echo frobnicate >DIR/lib/steppe/doctor-undo.json",
		"version":   `echo '{"version":2,"entries":[]}' >DIR/lib/steppe/doctor-undo.json`,
		"more":      `sed -i 's/"undo":"/"exec":"id","undo":"/' DIR/lib/steppe/doctor-undo.json`,
	} {
		c.sh("rm -rf DIR/lib/steppe; sysctl -qw net.ipv4.ip_forward=0")
		_, code := c.repaired("--fix", "--yes")
		require.Zero(t, code)
		c.sh(prepare)
		for _, args := range [][]string{{"--undo", "--yes"}, {"--fix", "--yes"}} {
			cmd := c.doctorCommand(args...)
			text, err := cmd.CombinedOutput()
			assert.Error(t, err, name)
			assert.Equal(t, 2, cmd.ProcessState.ExitCode(), name)
			assert.Regexp(t, "^tayga: /var/lib/steppe/doctor-undo.json: ", string(text), name)
		}
		c.sh("test $(sysctl -n net.ipv4.ip_forward) = 1")
	}
}
