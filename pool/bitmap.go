package pool

import (
	"iter"
	"math/bits"
)

// A bitmap is a set of the integers 0 … size−1 that finds the next one missing
// in a few steps, however full it is: with three addresses left in a pool of a million, a
// packet of a new host must not cost a search over all of them.
//
// levels[0] has a bit per integer; each bit of the level above stands for 64
// bits that are all set. A set bit means taken, so zeroed memory is an empty set.
type bitmap struct {
	levels [][]uint64
	clear  int // integers missing
}

// newBitmap returns an empty set. size is a power of two.
func newBitmap(size uint64) *bitmap {
	b := &bitmap{clear: int(size)}
	for n := size; ; {
		words := make([]uint64, (n+63)/64)
		if tail := n % 64; tail != 0 {
			words[len(words)-1] = ^uint64(0) << tail // bits beyond the size are never free
		}
		b.levels = append(b.levels, words)
		if len(words) == 1 {
			return b
		}
		n = uint64(len(words))
	}
}

func (b *bitmap) has(i uint32) bool { return b.levels[0][i/64]>>(i%64)&1 != 0 }

// set adds i.
func (b *bitmap) set(i uint32) {
	if b.has(i) {
		return
	}
	b.clear--
	for _, words := range b.levels {
		w := &words[i/64]
		*w |= 1 << (i % 64)
		if *w != ^uint64(0) {
			return
		}
		i /= 64
	}
}

// unset removes i.
func (b *bitmap) unset(i uint32) {
	if !b.has(i) {
		return
	}
	b.clear++
	for _, words := range b.levels {
		w := &words[i/64]
		full := *w == ^uint64(0)
		*w &^= 1 << (i % 64)
		if !full {
			return
		}
		i /= 64
	}
}

// next returns the least integer from i on that is missing.
func (b *bitmap) next(i uint32) (uint32, bool) {
	// Go up until a word has a gap at or after i, then down into it.
	for k := 0; k < len(b.levels); k++ {
		if int(i/64) >= len(b.levels[k]) {
			return 0, false
		}
		gaps := ^b.levels[k][i/64] >> (i % 64) << (i % 64)
		if gaps == 0 {
			i = i/64 + 1
			continue
		}
		i = i/64*64 + uint32(bits.TrailingZeros64(gaps))
		for k--; k >= 0; k-- {
			i = i*64 + uint32(bits.TrailingZeros64(^b.levels[k][i]))
		}
		return i, true
	}
	return 0, false
}

// setRange adds lo to hi, both included, 64 at a time where it can.
func (b *bitmap) setRange(lo, hi uint32) {
	for i := uint64(lo); i <= uint64(hi); {
		if i%64 != 0 || i+63 > uint64(hi) || b.levels[0][i/64] != 0 {
			b.set(uint32(i))
			i++
			continue
		}
		b.levels[0][i/64] = ^uint64(0) >> 1
		b.clear -= 63
		b.set(uint32(i + 63)) // the last one updates the levels above
		i += 64
	}
}

// changedBits returns the integers that are in one of two sets of equal size.
func changedBits(a, b *bitmap) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for i, w := range a.levels[0] {
			for d := w ^ b.levels[0][i]; d != 0; d &= d - 1 {
				if !yield(uint32(i*64 + bits.TrailingZeros64(d))) {
					return
				}
			}
		}
	}
}
