package translate

import "math/bits"

// flow is a pair of addresses that may be translated, and what they become. A
// worker remembers the last pairs that it resolved, so that the common packet
// costs one comparison, whatever the tables hold.
type flow struct {
	src6, dst6 addr6
	src4, dst4 addr4
	stamp      uint64 // when it was resolved; see Worker.stamp
	delta      uint32 // change of the pseudo-header's sum
	_          uint32
}

// flowSlots is a power of two. With 64 octets a slot, both directions take
// 128 KiB a worker.
const flowSlots = 1024

// restamp is called at the start of a batch. Flows are void once the state has
// changed; and after a second by Tick, so that Dynamic sees which leases are in
// use, and can take them back.
func (w *Worker) restamp() {
	w.s = w.t.state.Load()
	w.stamp = w.s.generation<<32 | uint64(uint32(w.second))
}

// flow4 is the slot for a pair of IPv4 addresses.
func (w *Worker) flow4(src, dst addr4) *flow {
	v := uint64(src)<<32 | uint64(dst)
	hi, lo := bits.Mul64(v^w.t.ids.key[1], w.t.ids.key[0])
	return &w.flows4[(hi^lo)%flowSlots]
}

// flow6 is the slot for a pair of IPv6 addresses.
func (w *Worker) flow6(src, dst addr6) *flow {
	key := &w.t.ids.key
	a, b := bits.Mul64(src.hi^key[1], src.lo^key[0])
	c, d := bits.Mul64(dst.hi^key[0]^b, dst.lo^key[1]^a)
	return &w.flows6[(c^d)%flowSlots]
}

func (f *flow) is4(src, dst addr4, stamp uint64) bool {
	return f.src4 == src && f.dst4 == dst && f.stamp == stamp
}

func (f *flow) is6(src, dst addr6, stamp uint64) bool {
	return f.src6 == src && f.dst6 == dst && f.stamp == stamp
}

// keep fills the slot f. A lease is not remembered by a worker that is never told
// the time, as it would never ask again.
func (w *Worker) keep(f *flow, src6, dst6 addr6, src4, dst4 addr4, delta uint64, lease bool) {
	f.src6, f.dst6, f.src4, f.dst4 = src6, dst6, src4, dst4
	f.delta = uint32(fold(delta))
	f.stamp = w.stamp
	if lease && w.second == 0 {
		f.stamp = 0
	}
}
