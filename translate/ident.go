package translate

import (
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
)

// Identification of IPv4 packets that come from IPv6 packets without Fragment
// Header. RFC 6864 §4.3 asks that packets which may be fragmented carry values
// that are not soon repeated for the same source, destination and protocol; and
// nobody should learn from the values of one destination what goes to another.
//
// So there are many counters, and a secret hash of source and destination chooses
// one, whatever the protocol: a pair on one worker sees all 65,536 values before one
// repeats. The counters are shared by all workers, as packets of one pair may be
// on several; a worker takes identBlock values at a time, so the shared line is
// rarely written to. It throws away what is left of a block when others have
// taken identStale values since, so that a worker with little to do does not
// send what they sent last. So no value is handed out again within 65,536 −
// identStale others, and each slow worker wastes less than a hundredth of them.
const (
	identBuckets = 2048
	identBlock   = 32
	identStale   = 1 << 12
)

type identSpace struct {
	key  [2]uint64
	next [identBuckets]atomic.Uint32
}

func (s *identSpace) init() {
	s.key = [2]uint64{rand.Uint64() | 1, rand.Uint64()}
	for i := range s.next {
		s.next[i].Store(rand.Uint32())
	}
}

// identBlocks is what a worker has taken from an identSpace.
type identBlocks [identBuckets]struct {
	next uint32 // as in identSpace; the low half is the identification
	left uint32
}

// ident returns the first of n identifications in a row for new packets of the
// pair of addresses whose bucket is i.
func (w *Worker) ident(i uint32, n int) uint16 {
	i %= identBuckets
	b, shared := &w.ids[i], &w.t.ids.next[i]
	if n > int(b.left) || shared.Load()-b.next > identStale {
		take := uint32(max(n, identBlock))
		b.next = shared.Add(take) - take
		b.left = take
	}
	id := uint16(b.next)
	b.next += uint32(n)
	b.left -= uint32(n)
	return id
}

// bucket is a keyed hash: two multiplications of 64 to 128 bits, folded.
func (s *identSpace) bucket(src, dst addr4) uint32 {
	hi, lo := bits.Mul64(uint64(src)<<32^uint64(dst)^s.key[1], s.key[0])
	hi, lo = bits.Mul64(hi^lo, s.key[0]^s.key[1]|1)
	return uint32(hi^lo) % identBuckets
}
