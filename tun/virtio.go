package tun

import (
	"encoding/binary"

	"github.com/steppe-nat64/steppe/translate"
)

// virtioLen is the size of struct virtio_net_hdr, the header before every packet on a
// device with offloads. It is in the byte order of the host.
const virtioLen = 10

// decodeVirtio reads the header before a packet. It checks nothing: translate checks the
// offsets that it uses.
func decodeVirtio(b []byte) translate.Offload {
	v := (*[virtioLen]byte)(b)
	return translate.Offload{
		Flags:      v[0],
		GSOType:    v[1],
		HdrLen:     binary.NativeEndian.Uint16(v[2:]),
		GSOSize:    binary.NativeEndian.Uint16(v[4:]),
		CsumStart:  binary.NativeEndian.Uint16(v[6:]),
		CsumOffset: binary.NativeEndian.Uint16(v[8:]),
	}
}

// encodeVirtio writes the header before a packet.
func encodeVirtio(b []byte, o *translate.Offload) {
	v := (*[virtioLen]byte)(b)
	v[0], v[1] = o.Flags, o.GSOType
	binary.NativeEndian.PutUint16(v[2:], o.HdrLen)
	binary.NativeEndian.PutUint16(v[4:], o.GSOSize)
	binary.NativeEndian.PutUint16(v[6:], o.CsumStart)
	binary.NativeEndian.PutUint16(v[8:], o.CsumOffset)
}
