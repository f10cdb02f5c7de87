package tun

import "testing"

// TestNoTunnelSegmentation: super-packets inside of UDP tunnels are not asked for,
// whatever is granted. translate has no segments of two headers.
func TestNoTunnelSegmentation(t *testing.T) {
	const udpTunnelGSO, udpTunnelGSOChecksum = 0x80, 0x100 // linux/if_tun.h
	for _, f := range []Features{{true, true, true}, {true, true, false}, {true, false, false}} {
		if f.bits()&(udpTunnelGSO|udpTunnelGSOChecksum) != 0 {
			t.Errorf("%v asks for %#x", f, f.bits())
		}
	}
}
