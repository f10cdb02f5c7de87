package translate

import (
	"encoding/binary"
	"errors"
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
// There are 65,536 counters, in sets of a cache line each. A flow that finds all of
// its set in use gets random values, so that others do not notice. That begins with
// some 20,000 flows that send in the same second; or 20,000 in all, for callers that
// always pass the same time.
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
	identSets  = 1 << 13
	identWays  = 8
	identBlock = 32
	identStale = 1 << 12
	identSpan  = 1 << 16
	clockShift = 25 // a tick of the clock is 2^25 ns
	clockSlack = 4  // ticks by which the clocks of two workers may differ
)

// An identCounter is the tag of a flow, which is not 0; 16 bits of its secret hash,
// from which values are counted; and how many have been, at least as many as the clock
// has ticks. It is ahead of the clock by no more than identSpan and the values of one
// packet.
type identCounter uint64

const (
	countBits = 24
	tagShift  = countBits + 16
	tagBits   = 64 - tagShift
	countMask = 1<<countBits - 1
)

func (c identCounter) tag() uint32   { return uint32(c >> tagShift) }
func (c identCounter) count() uint32 { return uint32(c) & countMask }

// value is the identification of a packet: what the flow began with, and the count.
func (c identCounter) value() uint16 { return uint16(c>>countBits) + uint16(c) }

// at is the same counter with another count.
func (c identCounter) at(count uint32) identCounter {
	return c&^countMask | identCounter(count&countMask)
}

// before is how far the count is before the clock. Counts come round in six days.
func (c identCounter) before(clock uint32) int {
	return int(int32((uint32(c)-clock)<<(32-countBits)) >> (32 - countBits))
}

// inUse reports whether the counter is before the clock, by the clock of any worker.
func (c identCounter) inUse(clock uint32) bool {
	return c != 0 && uint(c.before(clock)+clockSlack-1) < 2*identSpan
}

// ahead returns what a counter goes on with: what the clock shows, if it has passed
// the counter. The values come round every identSpan, and so may the counter.
func (c identCounter) ahead(clock uint32) identCounter {
	d := c.before(clock)
	if d <= 0 {
		return c.at(clock)
	}
	return c.at(clock + uint32(d-1)%identSpan + 1)
}

// identSpace holds the counters.
type identSpace struct {
	key      [2]uint64 // of the values
	places   [2]uint64 // of where counters are
	counters *identCounters
}

// IdentMemory holds the counters of identifications: see SetIdentMemory.
type IdentMemory [identSets * identWays]atomic.Uint64

type identCounters = IdentMemory

func (s *identSpace) init() {
	s.key = [2]uint64{rand.Uint64(), rand.Uint64()}
	s.places = [2]uint64{rand.Uint64(), rand.Uint64()}
	s.counters = new(identCounters)
}

// Idents are the secrets by which the identifications of a Translator are counted: Key of
// the values, Places of where the counters are.
type Idents struct{ Key, Places [2]uint64 }

// SetIdentMemory makes the Translator count the identifications of IPv4 packets without DF in
// mem, which is shared with another counter of the same flows, such as a program in the
// kernel: no value is repeated by both (RFC 6864 §4.3). mem holds zeros, and is there as long as
// the Translator is. It is set before the first worker is made.
func (t *Translator) SetIdentMemory(mem *IdentMemory) (Idents, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if mem == nil || len(t.workers) > 0 {
		return Idents{}, errors.New("translate: memory of identifications: there is none, or there are workers")
	}
	t.ids.counters = mem
	return Idents{t.ids.key, t.ids.places}, nil
}

// identBlocks is what a worker has taken, by the index of the counter: the next value.
// A block ends at a multiple of identBlock; at one, nothing is left.
type identBlocks [identSets * identWays]identCounter

// identFor is ident for a single packet that comes from no flow slot.
func (w *Worker) identFor(src, dst addr4, proto uint8) uint16 {
	f := flow{addresses: addresses{src4: src, dst4: dst}}
	return w.ident(&f, proto, 1)
}

// ident returns the first of n identifications in a row for packets without DF from
// f.src4 to f.dst4. Usually the worker has them.
func (w *Worker) ident(f *flow, proto uint8, n int) uint16 {
	if !f.knowsIdent(proto) {
		w.seekIdent(f, proto)
	}
	c := identCounter(w.counters[f.idAt].Load())
	if c.tag() != f.idTag { // the cache line of the block is of no use then
		return w.newIdent(f, proto, n)
	}
	b := &w.ids[f.idAt] // of this flow if the counter is before it, and by little
	if n > int(-*b%identBlock) || c-*b > identStale || b.before(w.clock) < 0 {
		return w.newIdent(f, proto, n)
	}
	id := b.value()
	*b += identCounter(n)
	return id
}

// knowsIdent reports whether the slot says where the counter for a protocol should be.
func (f *flow) knowsIdent(proto uint8) bool { return f.idProto == uint16(proto)+1 }

// seekIdent finds that out. It reads the counter, which takes a while if it is in no
// cache near: it is called before it is needed.
func (w *Worker) seekIdent(f *flow, proto uint8) {
	f.idProto = uint16(proto) + 1
	f.idAt, f.idTag = w.t.ids.place(f.src4, f.dst4, proto)
	w.touched += w.counters[f.idAt].Load()
}

// newIdent is ident where the counter is not where it was, or the block has to be a
// new one.
func (w *Worker) newIdent(f *flow, proto uint8, n int) uint16 {
	for {
		c := identCounter(w.counters[f.idAt].Load())
		if c.tag() != f.idTag {
			at, known, ok := w.t.ids.find(f.idAt, f.idTag, w.clock)
			if !ok {
				return w.randomIdent()
			}
			if f.idAt = at; known {
				return w.ident(f, proto, n)
			}
			c = identCounter(w.counters[at].Load())
		}
		old := c
		switch {
		case c.tag() == f.idTag:
			c = c.ahead(w.clock)
		case c.inUse(w.clock):
			continue // another flow was faster
		default:
			first := uint16(w.t.ids.hash(f.src4, f.dst4, proto))
			c = identCounter(f.idTag)<<tagShift | identCounter(first)<<countBits
			c = c.at(w.clock)
		}
		end := c.count() + uint32(n)
		if n == 1 {
			end = c.count() | (identBlock - 1) + 1
		}
		if w.counters[f.idAt].CompareAndSwap(uint64(old), uint64(c.at(end))) {
			if n == 1 {
				w.ids[f.idAt] = c + 1
			}
			return c.value()
		}
	}
}

// find returns the index of the counter with a tag, which is known, in the set that
// first belongs to, or of the next that is free, if there is one.
func (s *identSpace) find(first uint16, tag, clock uint32) (index uint16, known, ok bool) {
	for i := range uint16(identWays) {
		at := first&^(identWays-1) | (first+i)%identWays
		c := identCounter(s.counters[at].Load())
		if c.tag() == tag {
			return at, true, true
		}
		if !ok && !c.inUse(clock) {
			index, ok = at, true
		}
	}
	return index, false, ok
}

// place returns where the counter of a flow most often is, and its tag. The hash need
// not be as strong as that of the values: no host sees it.
func (s *identSpace) place(src, dst addr4, proto uint8) (at uint16, tag uint32) {
	hi, lo := bits.Mul64((uint64(src)<<32|uint64(dst))^s.places[0], s.places[1]^uint64(proto)<<1|1)
	hi ^= lo
	hi ^= hi >> 32 // a product alone puts addresses in a row into few sets, for some keys
	hi *= 0x9e3779b97f4a7c15
	return uint16(hi >> 48), uint32(hi>>(48-tagBits))&(1<<tagBits-1) | 1
}

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
