package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The unit and the container have two capabilities more for the fast path. In each way to
// start, the kernel translates, and neither process keeps one of the two: the program is
// loaded before they are dropped, and attached again by the helper without them.
func TestFastPathInEveryWayToStart(t *testing.T) {
	needFastPath(t)
	for _, start := range starts {
		t.Run(start.name, func(t *testing.T) {
			conf := strings.NewReplacer("data-dir DIR", "data-dir DIR/data", "log drop reject icmp self dyn\n", "")
			b := newBench(t, conf.Replace(helperConf)).installed()
			b.self = b.readable(b.self)
			require.NoError(t, os.Mkdir(b.dir+"/data", 0o755))
			if start.user {
				require.NoError(t, os.Chown(b.dir+"/data", 65534, 65534))
			}
			b.addTun("nat64", 2)
			var args []string
			for _, word := range start.wrap {
				args = append(args, strings.Replace(word, "+net_admin", "+net_admin,+bpf,+perfmon", 1))
			}
			args = append(append(args, b.self, "-d", "-c", b.conf), start.args...)
			p, err := b.host.Launch(args[0], args[1:]...)
			require.NoError(t, err)
			b.await(p, fastOn)
			assert.Contains(t, p.Output(), inSandbox+"none\n")
			b.confined(p.Pid(), 0)
			b.confined(b.helper(p), capNetAdmin)
			assert.NotContains(t, p.Output(), offNote)

			b.delete("nat64")
			b.await(p, "is gone: waiting for it to come back\n")
			b.addTun("nat64", 2)
			b.eventually(func() bool { return strings.Count(p.Output(), fastOn) == 2 }, p.Output)
			b.confined(p.Pid(), 0)
			b.confined(b.helper(p), capNetAdmin)
			require.NoError(t, p.Stop(patience))
			assert.NotContains(t, p.Output(), "not permitted")
		})
	}
}
