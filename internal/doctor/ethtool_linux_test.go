package doctor

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The features of the loopback interface, of which one is on and fixed. The names are those
// of the kernel: a driver has no say in them.
func TestFeature(t *testing.T) {
	for name, want := range map[string][2]bool{
		"loopback":              {true, false},
		"rx-udp-gro-forwarding": {false, true},
		"no-such-feature":       {false, false},
	} {
		on, possible := feature("lo", name)
		assert.Equal(t, want, [2]bool{on, possible}, name)
	}
	on, possible := feature("no-such-interface", "loopback")
	assert.False(t, on || possible)
}
