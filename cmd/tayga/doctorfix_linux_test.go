package main

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// repaired runs --fix or --undo, and returns what it says about each command.
func (c *clinic) repaired(args ...string) (list []commandReport, code int) {
	c.Helper()
	text, code := c.doctor(append(args, "--json")...)
	require.NoError(c, json.Unmarshal([]byte(text), &list), text)
	return list, code
}

// results selects reports by result.
func results(list []commandReport, result string) []commandReport {
	return slices.DeleteFunc(slices.Clone(list), func(r commandReport) bool { return r.Result != result })
}

// volatile is what the state of a machine differs in without a change: numbers of
// interfaces, the address that a TUN device makes up when it is set up, and the traffic.
var volatile = regexp.MustCompile(`(?m)^[0-9]+: |^.*\bfe80::.*$|^.* ff00::.*$|valid_lft \w+ preferred_lft \w+|expires \w+|^.*mc_forwarding.*$|@if[0-9]+|packets [0-9]+ bytes [0-9]+|qlen [0-9]+|link-netnsid [0-9]+`)

// state is all that commands of the doctor may change on the machine.
func (c *clinic) state() string {
	c.Helper()
	const script = `ip -o link; ip -o addr; ip route show table all; ip -6 route show table all; ip rule; ip -6 rule; ip neigh show proxy; ip -6 neigh show proxy
		sysctl -a -r 'ipv[46]\.(conf|ip_forward)' 2>/dev/null; nft list ruleset; cat "$1"; ethtool -k eth1 2>/dev/null | grep -- -gro-list || true`
	text, err := c.host.Command("sh", "-c", script, "sh", c.conf).Output()
	require.NoError(c, err)
	lines := strings.Split(volatile.ReplaceAllString(string(text), ""), "\n")
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n")
}

// treated checks that --fix leaves nothing, that packets pass then, and that --undo brings
// the machine back.
func (c *clinic) treated(passes func() bool, undoable bool) {
	c.Helper()
	before, missing := c.state(), c.missing()
	dry, _ := c.repaired("--fix")
	require.NotEmpty(c, results(dry, resultDry))
	require.Empty(c, difference(before, c.state()), "a dry run")

	done, code := c.repaired("--fix", "--yes")
	require.Empty(c, results(done, resultFailed))
	for _, r := range results(done, resultLeft) {
		assert.Equal(c, "fast-path", r.About, "%v", done)
	}
	require.Zero(c, code)
	require.Equal(c, dry[0].Command, done[0].Command)
	require.True(c, passes(), "after")
	if undoable {
		require.NotEmpty(c, difference(before, c.state()), "the state says nothing")
	}

	undone, code := c.repaired("--undo", "--yes")
	require.Empty(c, results(undone, resultFailed))
	if undoable {
		assert.Zero(c, code)
		assert.Empty(c, results(undone, resultSkipped))
		assert.Empty(c, difference(before, c.state()))
		assert.Equal(c, missing, c.missing())
	}
	undone, _ = c.repaired("--undo", "--yes")
	assert.Empty(c, undone, "twice")
}

// missing is what the doctor finds, without numbers of processes.
func (c *clinic) missing() (list []string) {
	c.Helper()
	text, _ := c.doctor()
	return strings.Split(regexp.MustCompile(`kill [0-9]+`).ReplaceAllString(text, "kill N"), "\n")
}

// difference lists the lines that only one of two states has.
func difference(before, after string) (lines []string) {
	a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
	for _, line := range a {
		if !slices.Contains(b, line) {
			lines = append(lines, "- "+line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			lines = append(lines, "+ "+line)
		}
	}
	return lines
}

// Each broken set-up of TestDoctor is repaired by one command, and is as broken as before
// after another one.
func TestDoctorFix(t *testing.T) {
	for _, test := range patients {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newClinic(t, clinicConf+test.more)
			c.heal()
			c.sh(test.also)
			require.True(t, c.connected(serverAddr), "before")
			test.harm(c)
			// What is only told of a daemon is no part of its state.
			c.treated(func() bool { return c.connected(serverAddr) }, test.about != "private" && test.name != "stale-configuration")
		})
	}
}

// The same from nothing but a configuration, for a gateway and for a host with a CLAT.
func TestDoctorFixFromNothing(t *testing.T) {
	c := newClinic(t, clinicConf)
	require.False(t, c.reaches(serverAddr))
	c.treated(func() bool { return c.connected(serverAddr) }, true)
	require.False(t, c.reaches(serverAddr))
}

func TestDoctorFixCLAT(t *testing.T) {
	for _, test := range clatPatients {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newCLAT(t)
			if test.harm != "" {
				list, _ := c.repaired("--fix", "--yes")
				require.Empty(t, results(list, resultFailed))
				require.True(t, c.online())
				c.sh(test.harm)
				require.NoError(t, c.upstream.Command("ip", "neigh", "flush", "dev", "eth0").Run())
				require.NoError(t, os.RemoveAll(c.dir+"/lib/steppe"))
			}
			c.treated(c.online, true)
		})
	}
}
