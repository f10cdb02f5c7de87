package translate

import (
	"math/rand/v2"

	"github.com/steppe-nat64/steppe/internal/checksum"
)

// flow is a pair of addresses that may be translated, and what they become. A
// worker remembers the last pairs that it resolved, so that the common packet
// costs one comparison, whatever the tables hold.
type flow struct {
	addresses
	stamp uint64 // the worker's when it was resolved
	delta uint32 // change of the pseudo-header's sum

	// Where the counter of identifications from src4 to dst4 is, see ident.go.
	idProto uint16 // the protocol that this is for, and 1; 0 if the rest is void
	idAt    uint16 // index of the counter, or of another one of its set
	idTag   uint32

	pref64 uint8 // if Sessions are asked: the number of the prefix
}

// askSessions is part of the stamp of a pair of addresses whose flows Sessions know by
// their ports: for the pair alone everything is checked, the rest is the last flow's.
const askSessions = 1 << 63

// With 64 bytes a slot, both directions take 256 KiB a worker. The hash that
// picks a slot is a sum of products with secret odd factors; its upper bits count.
const (
	flowBits  = 11
	flowSlots = 1 << flowBits
	flowShift = 64 - flowBits
)

type flowKeys [4]uint64

func newFlowKeys() (k flowKeys) {
	for i := range k {
		k[i] = rand.Uint64() | 1
	}
	return k
}

// flow4 is the slot for a pair of IPv4 addresses.
func (w *Worker) flow4(src, dst addr4) *flow {
	k := &w.flowKeys
	return &w.flows4[(uint64(src)*k[0]+uint64(dst)*k[1])>>flowShift]
}

// flow6 is the slot for a pair of IPv6 addresses.
func (w *Worker) flow6(src, dst addr6) *flow {
	k := &w.flowKeys
	return &w.flows6[(src.hi*k[0]+src.lo*k[1]+dst.hi*k[2]+dst.lo*k[3])>>flowShift]
}

func (f *flow) is4(src, dst addr4, stamp uint64) bool {
	return f.src4 == src && f.dst4 == dst && f.stamp == stamp
}

func (f *flow) is6(src, dst addr6, stamp uint64) bool {
	return f.src6 == src && f.dst6 == dst && f.stamp == stamp
}

// keep fills the slot f with the addresses of a packet, which are resolved; delta is the
// change of the pseudo-header's sum.
func (w *Worker) keep(f *flow, a addresses, delta uint64, by ports) {
	if f.src4 != a.src4 || f.dst4 != a.dst4 {
		f.idProto = 0 // of another flow
	}
	f.src6, f.dst6, f.src4, f.dst4 = a.src6, a.dst6, a.src4, a.dst4
	f.delta = uint32(checksum.Fold(delta))
	f.stamp = w.stamp
	if by.set {
		f.stamp |= askSessions
		f.pref64 = by.pref64
		w.strange++
	}
}
