package labtest

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
	"github.com/steppe-nat64/steppe/internal/test/testbed"
)

// fastOf asks a process by SIGUSR1 what the fast path has translated.
func fastOf(t *testing.T, p *netlab.Process) (f testbed.Fast) {
	t.Helper()
	from := len(p.Output())
	require.NoError(t, p.Signal(syscall.SIGUSR1))
	require.Eventually(t, func() (found bool) {
		f, found = testbed.ParseFast(p.OutputFrom(from))
		return found
	}, patience, tick)
	return f
}

// share runs f, in which at least n bytes of TCP data pass. It asserts that the kernel has
// translated nearly all of them, or none if the fast path is off.
func (x *lab) share(t *testing.T, n uint64, f func()) {
	t.Helper()
	before := fastOf(t, x.tayga)
	f()
	now := fastOf(t, x.tayga).Since(before)
	if x.mode.daemonOnly {
		assert.NoError(t, now.Asleep(n))
		return
	}
	assert.NoError(t, now.Awake(n))
}
