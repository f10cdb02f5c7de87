package clat

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
)

// While the kernel checks the first address of a network for duplicates, the CLAT's own is
// chosen already: the checks take a second each. What shares the machine's address waits.
func TestNeedIsEarly(t *testing.T) {
	pref64 := netip.MustParsePrefix("64:ff9b::/96")
	addr := addrState{index: 2, prefix: netip.MustParsePrefix("2001:db8:1::5/64"), global: true, unusable: true, checking: true}
	uplink := linkState{index: 2, name: "eth0"}
	s := &snapshot{addrs: []addrState{addr}}
	for _, mode := range []Mode{Auto, Own} {
		n := s.need(Address{Mode: mode}, uplink, pref64)
		assert.Empty(t, n.err)
		assert.Equal(t, Own, n.mode)
		assert.Equal(t, netip.MustParsePrefix("2001:db8:1::/64"), n.net)
	}
	assert.True(t, s.has(2, netip.MustParsePrefix("2001:db8:1::/64")))
	assert.True(t, s.need(Address{Mode: Shared}, uplink, pref64).soon)

	whole := addr
	whole.prefix = netip.MustParsePrefix("2001:db8:1::5/128")
	s = &snapshot{addrs: []addrState{whole}}
	n := s.need(Address{Mode: Auto}, uplink, pref64)
	assert.NotEmpty(t, n.err)
	assert.True(t, n.soon)

	failed := addr
	failed.checking = false
	s = &snapshot{addrs: []addrState{failed}}
	assert.NotEmpty(t, s.need(Address{Mode: Auto}, uplink, pref64).err)
	assert.False(t, s.has(2, netip.MustParsePrefix("2001:db8:1::/64")))
}
