package translate

import (
	"math/bits"
	"math/rand/v2"
)

// A host is an explicit map of one address to one address.
type host struct {
	v6   addr6
	v4   addr4
	used bool
}

// hosts finds maps of single addresses, by either address, at the price of a cache
// miss or two, however many there are: nothing is longer than these prefixes, so
// the trie need not be asked. They are two hash tables with open addressing, at
// most half full. The hash is keyed, since those who get to name addresses need
// not be those who wait for a lookup.
type hosts struct {
	by4, by6 []host // a power of two slots, or none
	keys     [4]uint64
}

// newHosts makes room for n maps.
func newHosts(n int) (h hosts) {
	if n == 0 {
		return h
	}
	slots := 1 << bits.Len(uint(2*n-1))
	h.by4, h.by6 = make([]host, slots), make([]host, slots)
	for i := range h.keys {
		h.keys[i] = rand.Uint64() | 1
	}
	return h
}

func (h *hosts) hash4(a addr4) uint64 {
	hi, lo := bits.Mul64(uint64(a)^h.keys[0], h.keys[1])
	hi, lo = bits.Mul64(hi^lo, h.keys[2])
	return hi ^ lo
}

func (h *hosts) hash6(a addr6) uint64 {
	hi, lo := bits.Mul64(a.hi^h.keys[0], a.lo^h.keys[1])
	hi, lo = bits.Mul64(hi^lo^h.keys[2], h.keys[3])
	return hi ^ lo
}

// find4 returns the slot of a, or the empty one where it belongs. h is not empty.
func (h *hosts) find4(a addr4) *host {
	s := h.by4
	for i, mask := h.hash4(a), uint64(len(s)-1); ; i++ {
		if e := &s[i&mask]; e.v4 == a || !e.used {
			return e
		}
	}
}

// find6 is find4 for an IPv6 address.
func (h *hosts) find6(a addr6) *host {
	s := h.by6
	for i, mask := h.hash6(a), uint64(len(s)-1); ; i++ {
		if e := &s[i&mask]; e.v6 == a || !e.used {
			return e
		}
	}
}

// to6 returns the IPv6 address that a is mapped to.
func (h *hosts) to6(a addr4) (v6 addr6, found bool) {
	if len(h.by4) == 0 {
		return v6, false
	}
	e := h.find4(a)
	return e.v6, e.used
}

// to4 returns the IPv4 address that a is mapped to.
func (h *hosts) to4(a addr6) (v4 addr4, found bool) {
	if len(h.by6) == 0 {
		return v4, false
	}
	e := h.find6(a)
	return e.v4, e.used
}

// manySlots is where hosts no longer fit a core's own cache.
const manySlots = 1 << 14

// touch4 and touch6 read from the first slot of an address, for a caller that is going
// to look it up soon.
func (h *hosts) touch4(a addr4) uint64 { return uint64(h.by4[h.hash4(a)&uint64(len(h.by4)-1)].v4) }
func (h *hosts) touch6(a addr6) uint64 { return uint64(h.by6[h.hash6(a)&uint64(len(h.by6)-1)].v4) }

// fetch has the slots of all hosts that a batch is from or for brought into the
// cache at once. A lookup of its own waits for memory longer than all the rest of
// a packet takes, and one after the other they would wait one after the other.
func (w *Worker) fetch(ps []Packet) {
	t := w.s.tab
	if len(t.hosts.by4) < manySlots {
		return
	}
	touched := w.touched
	for i := range ps {
		switch b := ps[i].Bytes(); {
		case len(b) >= len6 && b[0]>>4 == 6:
			touched += t.hosts.touch6((*hdr6)(b).src())
		case len(b) >= len4 && b[0]>>4 == 4:
			touched += t.hosts.touch4((*hdr4)(b).dst())
		}
	}
	w.touched = touched
}
