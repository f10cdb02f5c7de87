package tun_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/tun"
	"github.com/steppe-nat64/steppe/tun/tuntest"
)

// The loop of the example, which is the only full one of a gateway, had no case for
// packets that have to be cut: an IPv4 packet without DF of 1500 bytes got lost.
func TestExampleSendsPieces(t *testing.T) {
	kernel, device := tuntest.Pair(0)
	done := make(chan error)
	go func() { done <- pump(device, newTranslator().NewWorker()) }()

	const size = 1500
	b, small := datagram(size), datagram(100)
	ps := tun.NewPackets(2)
	ps[0].Off, ps[0].Len = tun.Headroom, copy(ps[0].Buf[tun.Headroom:], b)
	_, err := kernel.Write(ps[:1])
	require.NoError(t, err)
	// One that fits comes after it, so that the test ends if the first one does not come.
	ps[0].Off, ps[0].Len = tun.Headroom, copy(ps[0].Buf[tun.Headroom:], small)
	_, err = kernel.Write(ps[:1])
	require.NoError(t, err)

	payload, last := 0, false
	for !last {
		n, err := kernel.Read(ps)
		require.NoError(t, err)
		for i := 0; i < n && !last; i++ { // the small one may be in the same batch
			b := ps[i].Bytes()
			require.EqualValues(t, 44, b[6], "no fragment")
			payload += len(b) - 48
			last = b[43]&1 == 0
		}
	}
	assert.Equal(t, size-20, payload)
	require.NoError(t, device.Close())
	assert.NoError(t, <-done)
}

// datagram returns an IPv4 packet without DF to the host of the map.
func datagram(size int) []byte {
	b := make([]byte, size)
	copy(b, []byte{
		0x45, 0, byte(size >> 8), byte(size), 0, 1, 0, 0, 64, 17, 0, 0, // UDP
		8, 8, 8, 8, 203, 0, 113, 7,
		0, 53, 0x30, 0x39, byte((size - 20) >> 8), byte(size - 20), 0x12, 0x34,
	})
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum+sum>>16))
	return b
}
