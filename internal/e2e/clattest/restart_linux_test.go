package clattest

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestKilled kills the daemon, its helper and both: what a crash has left is gone after the
// next start, and all of it after that one has ended.
func TestKilled(t *testing.T) {
	for _, who := range []string{"daemon", "helper", "both"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			x := newLab(t, wellKnown)
			ra := advertise(t, x.router, "lan0", "")
			ra.say(slaac(lan0), pref64(wellKnown))
			x.configured("eth0", lan0)
			before := x.take(x.host)
			c := x.run()
			x.works("router advertisement", ra.since(c.begin), pool(1))
			running := x.take(x.host)
			switch who {
			case "daemon":
				c.kill(c.proc.Pid())
			case "helper":
				// The daemon goes on without it, and can undo nothing at its end.
				require.NoError(t, syscall.Kill(c.helper(), syscall.SIGKILL))
				x.works("without the helper", time.Now(), pool(1))
				require.NoError(t, syscall.Kill(c.proc.Pid(), syscall.SIGTERM))
				c.ended()
			case "both":
				c.kill(c.processes()...)
			}
			c = x.run()
			x.works("start after a crash", ra.since(c.begin), pool(1))
			x.same(x.host, running)
			c.stop()
			x.same(x.host, before)
		})
	}
}
