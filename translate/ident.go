package translate

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
)

// Identification of IPv4 packets that come from IPv6 packets without Fragment
// Header, and of our own.
//
// With DF set the field has no meaning (RFC 6864 §4.1): it is random. A super-packet
// gets a random first value, from which the kernel counts up segment by segment.
//
// Without DF a value must not be repeated for the same source, destination and
// protocol (a flow, here) within the lifetime of a datagram, two minutes (RFC 6864
// §4.3). No host may learn from it what another one sends, and none may predict the
// values of a flow that it does not see (RFC 7739 §5). A counter that several flows
// share cannot do that, even if each flow sees it through a permutation of its own:
// a host that has seen the whole permutation reads the counter. So each flow has a
// counter of its own, as in RFC 7739 §5.1, and it begins at a secret hash of the
// flow, as in §5.3.
//
// Memory for counters is bounded by a clock. It goes forward by one every 34 ms, and
// no counter stays behind it. A counter that the clock has passed need not be kept,
// since it would go on from the clock anyway: to forget it repeats no value and
// cannot be observed. A packet now and then occupies a counter for a second; a flow
// with more than 30 packets a second, for as long as it lasts. The clock uses up
// 3,600 of the 65,536 values in two minutes, and workers hold or waste some thousands
// at most: no value comes twice within two minutes unless the flow has sent more than
// 50,000 packets in them.
//
// There are 65,536 counters, in sets of identWays that a hash chooses. A flow that
// finds all of its set in use gets random values, so that others do not notice. That
// begins with some 30,000 flows that send in the same second; or 30,000 in all, for
// callers that always pass the same time.
//
// All workers share the counters, as packets of one flow may be on several. A worker
// takes identBlock values at a time, so a shared line is rarely written to, and
// datagrams that follow each other have consecutive values, as the kernel's UDP
// segmentation makes them. A block is the worker's until it is used up, the clock has
// passed it, or others have taken identStale values since: a worker with little to do
// must not send what they sent last. Blocks are kept by counter and not in the flow
// slots, where packets of others would end them.
//
// Two workers could give a flow two counters if both met it first within the same
// nanoseconds, and another counter of the set became free just then. A few values
// would be repeated, once.
const (
	identSets  = 1 << 12
	identWays  = 16
	identBlock = 32
	identStale = 1 << 12
	identSpan  = 1 << 16
	clockShift = 25 // a tick of the clock is 2^25 ns
	clockSlack = 4  // ticks by which the clocks of two workers may differ
)

// identSpace holds the counters: in the upper half of each the tag of the flow, in
// the lower half the next value. It is ahead of the clock by no more than identSpan
// and the values of one packet.
type identSpace struct {
	key      [2]uint64
	counters *[identSets * identWays]atomic.Uint64
}

func (s *identSpace) init() {
	s.key = [2]uint64{rand.Uint64(), rand.Uint64()}
	s.counters = new([identSets * identWays]atomic.Uint64)
}

// identBlocks is what a worker has taken, by the index of the counter: the tag, and
// the next value. A block ends at a multiple of identBlock; at one, nothing is left.
type identBlocks [identSets * identWays]struct{ tag, next uint32 }

// identFor is ident for a single packet that comes from no flow slot.
func (w *Worker) identFor(src, dst addr4, proto uint8) uint16 {
	f := flow{addresses: addresses{src4: src, dst4: dst}}
	return w.ident(&f, proto, 1)
}

// ident returns the first of n identifications in a row for packets without DF from
// f.src4 to f.dst4. Usually the worker has them.
func (w *Worker) ident(f *flow, proto uint8, n int) uint16 {
	s := &w.t.ids
	if f.idProto != uint16(proto)+1 {
		f.idProto, f.idHash = uint16(proto)+1, s.hash(f.src4, f.dst4, proto)
		f.idAt = uint16(f.idHash >> 48) // most are there
	}
	tag, counter := identTag(f.idHash), s.counters[f.idAt].Load()
	if uint32(counter>>32) != tag { // the cache line of the block is of no use then
		return w.newIdent(f, proto, uint32(n))
	}
	b := &w.ids[f.idAt]
	if left := -b.next % identBlock; b.tag != tag || uint32(n) > left ||
		uint32(counter)-b.next > identStale || int32(b.next-w.clock) < 0 {
		return w.newIdent(f, proto, uint32(n))
	}
	id := uint16(f.idHash) + uint16(b.next)
	b.next += uint32(n)
	return id
}

// newIdent is ident where the counter is not where it was, or the block has to be a
// new one.
func (w *Worker) newIdent(f *flow, proto uint8, n uint32) uint16 {
	s, tag := &w.t.ids, identTag(f.idHash)
	for {
		old := s.counters[f.idAt].Load()
		if uint32(old>>32) != tag {
			at, known, ok := s.find(f.idHash, w.clock)
			if !ok {
				return w.randomIdent()
			}
			if f.idAt = uint16(at); known {
				return w.ident(f, proto, int(n))
			}
			old = s.counters[at].Load()
		}
		next := w.clock
		if uint32(old>>32) == tag {
			next = ahead(uint32(old), w.clock)
		} else if inUse(old, w.clock) {
			continue // another flow was faster
		}
		end := next + n
		if n == 1 {
			end = (next | (identBlock - 1)) + 1
		}
		if s.counters[f.idAt].CompareAndSwap(old, uint64(tag)<<32|uint64(end)) {
			if n == 1 {
				w.ids[f.idAt].tag, w.ids[f.idAt].next = tag, next+1
			}
			return uint16(f.idHash) + uint16(next)
		}
	}
}

// find returns the index of the counter of a flow, which is known, or of the first of
// its set that is free, if there is one.
func (s *identSpace) find(hash uint64, clock uint32) (index uint32, known, ok bool) {
	first := uint32(hash >> 48)
	for i := range uint32(identWays) {
		at := first&^(identWays-1) | (first+i)%identWays
		c := s.counters[at].Load()
		if uint32(c>>32) == identTag(hash) {
			return at, true, true
		}
		if !ok && !inUse(c, clock) {
			index, ok = at, true
		}
	}
	return index, false, ok
}

// inUse reports whether a counter is before the clock, by the clock of any worker.
func inUse(counter uint64, clock uint32) bool {
	return counter != 0 && uint32(counter)+clockSlack-clock-1 < 2*identSpan
}

// ahead returns what a counter goes on with: what the clock shows, if it has passed
// the counter. The values come round every identSpan, and so may the counter.
func ahead(next, clock uint32) uint32 {
	d := int32(next - clock)
	if d <= 0 {
		return clock
	}
	return clock + (uint32(d)-1)%identSpan + 1
}

// identTag tells a flow from the others of its set. It is not 0.
func identTag(hash uint64) uint32 { return uint32(hash>>19) | 1 }

// hash is SipHash-1-3 of a flow: a host that knows the values of many flows does not
// know those of another.
func (s *identSpace) hash(src, dst addr4, proto uint8) uint64 {
	a, b := s.key[0]^0x736f6d6570736575, s.key[1]^0x646f72616e646f6d
	c, d := s.key[0]^0x6c7967656e657261, s.key[1]^0x7465646279746573
	m := uint64(src)<<32 | uint64(dst)
	a, b, c, d = sipRound(a, b, c, d^m)
	a ^= m
	m = 9<<56 | uint64(proto) // 9 bytes
	a, b, c, d = sipRound(a, b, c, d^m)
	a, b, c, d = sipRound(a^m, b, c^0xff, d)
	a, b, c, d = sipRound(a, b, c, d)
	a, b, c, d = sipRound(a, b, c, d)
	return a ^ b ^ c ^ d
}

func sipRound(a, b, c, d uint64) (uint64, uint64, uint64, uint64) {
	a += b
	c += d
	b = bits.RotateLeft64(b, 13) ^ a
	d = bits.RotateLeft64(d, 16) ^ c
	a = bits.RotateLeft64(a, 32) + d
	c += b
	b = bits.RotateLeft64(b, 17) ^ c
	d = bits.RotateLeft64(d, 21) ^ a
	return a, b, bits.RotateLeft64(c, 32), d
}

// randomIdents are random values that a worker has in stock.
type randomIdents struct {
	source *rand.ChaCha8
	values uint64
	left   uint8
}

func newRandomIdents() (r randomIdents) {
	var seed [32]byte
	for i := 0; i < len(seed); i += 8 {
		binary.NativeEndian.PutUint64(seed[i:], rand.Uint64())
	}
	r.source = rand.NewChaCha8(seed)
	return r
}

// randomIdent returns an identification that means nothing.
func (w *Worker) randomIdent() uint16 {
	r := &w.random
	if r.left == 0 {
		r.values, r.left = r.source.Uint64(), 4
	}
	r.left--
	id := uint16(r.values)
	r.values >>= 16
	return id
}
