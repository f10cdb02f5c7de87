package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/fastpath"
)

// fastPathFinding is what the doctor says of the fast path. There is nothing else.
func (c *clinic) fastPathFinding() finding {
	c.Helper()
	list := c.findings()
	require.LessOrEqual(c, len(list), 1, "%v", list)
	if len(list) == 0 {
		return finding{}
	}
	assert.Equal(c, "note", list[0].Severity)
	assert.Equal(c, "fast-path", list[0].About)
	return list[0]
}

// needFastPath skips the test where the kernel is too old.
func needFastPath(t *testing.T) {
	t.Helper()
	switch err := fastpath.Supported(); {
	case err == nil:
	case os.Getenv("STEPPE_REQUIRE_NETNS") == "1":
		t.Fatalf("STEPPE_REQUIRE_NETNS=1, but %v", err)
	default:
		t.Skip(err)
	}
}

// What the fast path would bypass at the device keeps it off until it is removed, and the
// doctor says how.
func TestDoctorFastPathBypasses(t *testing.T) {
	needFastPath(t)
	for name, test := range map[string]struct{ setUp, kind string }{
		"qdisc":   {"tc qdisc add dev nat64 root tbf rate 1gbit burst 1mbit limit 1mbit", "tbf"},
		"filters": {"tc qdisc add dev nat64 clsact; tc filter add dev nat64 egress protocol all u32 match u32 0 0 classid 1:1", "clsact"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClinic(t, clinicConf)
			c.heal()
			require.Empty(t, c.fastPathFinding())
			// The daemon is told of the alias, and looks at the device.
			c.sh(test.setUp + "; ip link set nat64 alias told")
			f := c.fastPathFinding()
			assert.Contains(t, f.Text, "nat64 has the queueing discipline "+test.kind+", which it would bypass")
			assert.True(t, c.connected(serverAddr))
			c.execute(f)
			c.sh("ip link set nat64 alias again")
			out := ""
			c.eventually(func() bool { out, _ = c.doctor(); return !strings.Contains(out, "fast-path") }, func() string { return out })
			assert.True(t, c.connected(serverAddr))
		})
	}
}

// Of what the daemon was started with, the doctor says what is in the way. Asked for, the
// fast path being off is as it should be.
func TestDoctorFastPathOff(t *testing.T) {
	needFastPath(t)
	for name, test := range map[string]struct {
		more, want string
		wrap       string // commands that run the program
	}{
		"log":        {more: "log drop\n", want: "a packet log"},
		"flow":       {more: "flow-labels yes\n", want: "flow labels"},
		"asked-for":  {more: "fast-path off\n"},
		"capability": {want: "operation not permitted (without CAP_BPF, CAP_PERFMON) (to load it takes CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and the system call bpf)", wrap: "setpriv --bounding-set -all,+net_admin"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClinic(t, clinicConf+test.more)
			script := c.dir + "/tayga"
			require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\nexec "+test.wrap+" "+c.self+" \"$@\"\n"), 0o755))
			c.self = script
			c.heal()
			if test.want == "" {
				assert.Empty(t, c.fastPathFinding())
			} else {
				assert.Contains(t, c.fastPathFinding().Text, test.want)
			}
			assert.True(t, c.connected(serverAddr))
		})
	}
}
