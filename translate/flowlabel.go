package translate

import (
	"encoding/binary"
	"math/bits"
)

// flowLabel is the flow label of an IPv6 packet that we make, if it is not 0 as RFC
// 7915 §4.1 has it: a keyed hash of the flow in 1 to 0xfffff, as RFC 6437 §3
// describes. Fragments are labelled by addresses and protocol alone, since only
// the first of them knows its ports.
func (w *Worker) flowLabel(to *addresses, h *header, data []byte) uint32 {
	var ports uint64
	src, dst := to.src6, to.dst6
	if !h.frag && checksumOffset(h.proto) != 0 {
		ports = uint64(binary.BigEndian.Uint32(data))
	}
	key := &w.t.ids.key
	a, b := bits.Mul64(src.hi^key[0], src.lo^key[1])
	c, d := bits.Mul64(dst.hi^key[1]^a, dst.lo^key[0]^b)
	e, f := bits.Mul64(c^d^ports, key[0]^uint64(h.proto)|1)
	return uint32((e^f)%0xfffff) + 1
}
