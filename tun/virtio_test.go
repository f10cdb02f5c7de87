package tun

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/translate"
)

// TestVirtioLayout compares the header with struct virtio_net_hdr, field by
// field, in the byte order of the machine that runs the test.
func TestVirtioLayout(t *testing.T) {
	o := translate.Offload{
		Flags:      translate.OffloadNeedsCsum,
		GSOType:    translate.GSOTCPv6 | translate.GSOECN,
		HdrLen:     0x0102,
		GSOSize:    0x0304,
		CsumStart:  0x0506,
		CsumOffset: 0x0708,
	}
	want := []byte{0x01, 0x84}
	for _, v := range []uint16{0x0102, 0x0304, 0x0506, 0x0708} {
		want = binary.NativeEndian.AppendUint16(want, v)
	}
	require.Len(t, want, virtioLen)

	b := bytes.Repeat([]byte{0xa5}, virtioLen+2)
	encodeVirtio(b, &o)
	require.Equal(t, append(want, 0xa5, 0xa5), b, "and nothing after it")
	require.Equal(t, o, decodeVirtio(b))
}

// FuzzVirtio: whatever the kernel writes is read as it stands, and written back
// the same.
func FuzzVirtio(f *testing.F) {
	f.Add(make([]byte, virtioLen))
	f.Add([]byte{1, 1, 54, 0, 0xa0, 5, 34, 0, 16, 0})                              // TCP over IPv4, segments of 1,440 bytes
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})      // nonsense
	f.Add([]byte{1, 0x84, 74, 0, 0, 0, 40, 0, 16, 0, 0x60, 0, 0, 0, 0, 20, 6, 64}) // a segment size of 0
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < virtioLen {
			return
		}
		o := decodeVirtio(b)
		out := make([]byte, virtioLen)
		encodeVirtio(out, &o)
		require.Equal(t, b[:virtioLen], out)
	})
}
