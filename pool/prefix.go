package pool

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
)

// The lookup from address to lease is an array over the pool prefix, in chunks that are
// allocated when the first of their addresses is assigned: a /8 costs 256 KiB at first,
// not 128 MiB.
const chunkBits = 9

type chunk [1 << chunkBits]atomic.Pointer[entry]

// A span is one prefix of the pool. Everything but the chunks' contents is
// fixed.
type span struct {
	first  uint32 // lowest address
	last   uint32 // offset of the highest
	bits   int    // host bits
	chunks []atomic.Pointer[chunk]
}

func newSpan(p netip.Prefix) span {
	n := 32 - p.Bits()
	return span{
		first:  addrBits(p.Addr()),
		last:   uint32(1<<n - 1),
		bits:   n,
		chunks: make([]atomic.Pointer[chunk], max(1, 1<<n>>chunkBits)),
	}
}

func (s *span) size() uint64 { return uint64(s.last) + 1 }

// size is the number of all addresses of the pool, reserved ones included.
func (p *Pool) size() (n uint64) {
	for i := range p.spans {
		n += p.spans[i].size()
	}
	return n
}

func (s *span) at(off uint32) *atomic.Pointer[entry] {
	if c := s.chunks[off>>chunkBits].Load(); c != nil {
		return &c[off%(1<<chunkBits)]
	}
	return nil
}

// locate returns the number of the span that holds a, and a's offset in it.
func (p *Pool) locate(a uint32) (i int, off uint32, ok bool) {
	for i = range p.spans {
		s := &p.spans[i]
		if off := a - s.first; off <= s.last { // an address below wraps round to far above
			return i, off, true
		}
	}
	return i, off, false
}

// slot returns the place of an address in the arrays, or nil if there is none
// yet.
func (p *Pool) slot(a uint32) *atomic.Pointer[entry] {
	if i, off, ok := p.locate(a); ok {
		return p.spans[i].at(off)
	}
	return nil
}

// makeSlot is slot for an address of the pool; it makes the chunk if need be.
// Pool.mu is held.
func (p *Pool) makeSlot(a uint32) *atomic.Pointer[entry] {
	i, off, _ := p.locate(a)
	if c := &p.spans[i].chunks[off>>chunkBits]; c.Load() == nil {
		c.Store(new(chunk))
	}
	return p.spans[i].at(off)
}

// entryAt returns the lease of an address, or nil.
func (p *Pool) entryAt(a uint32) *entry {
	if s := p.slot(a); s != nil {
		return s.Load()
	}
	return nil
}

// startOffset is where the search for a host's address begins in a prefix with
// so many host bits. The sum of the host's four words is folded into the
// prefix; the order of bytes is fixed to little-endian, which is what tayga
// uses on nearly all the machines it runs on.
func startOffset(host *[16]byte, bits int) uint32 {
	s := uint32(0)
	for i := range 4 {
		s += binary.LittleEndian.Uint32(host[4*i:]) // mod 2³², as in tayga
		for s>>bits != 0 {
			s = s&(1<<bits-1) + s>>bits
		}
	}
	return s
}

// free returns an address that is neither leased nor reserved, the one that
// host's own number leads to in the first prefix that has one. Pool.mu is held.
func (p *Pool) free(host *[16]byte) (addr uint32, ok bool) {
	for i := range p.spans {
		s, taken := &p.spans[i], p.taken[i]
		off, ok := taken.next(startOffset(host, s.bits))
		if !ok {
			off, ok = taken.next(0)
		}
		if ok {
			return s.first + off, true
		}
	}
	return addr, false
}

// reservations returns a set per span of the offsets that are never assigned.
func (p *Pool) reservations(prefixes []netip.Prefix) []*bitmap {
	sets := make([]*bitmap, len(p.spans))
	for i := range p.spans {
		s := &p.spans[i]
		sets[i] = newBitmap(s.size())
		sets[i].set(0) // the lowest address is the subnet's own
		for _, r := range prefixes {
			off, n := addrBits(r.Masked().Addr())-s.first, 32-r.Bits()
			if n <= s.bits && off <= s.last {
				sets[i].setRange(off, off+uint32(1<<n-1))
			}
		}
	}
	return sets
}

func addrBits(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func bitsAddr(a uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], a)
	return netip.AddrFrom4(b)
}
