package session

import (
	"math/bits"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/steppe-nat64/steppe/translate"
)

// An index finds entries by the key of one side: a hash table of chains. Readers walk a
// chain without a lock. An entry may leave it meanwhile and come back in another; then a
// reader finds nothing, and looks again under the lock before it believes that.
type index struct {
	t       *slabs
	side    int // which of an entry's next: by6 or by4
	mask    uint64
	buckets []atomic.Uint32
	locks   [stripes]stripe
}

const (
	by6 = iota
	by4
)

// stripes is the number of locks of an index.
const stripes = 256

// maxWalk is how many entries of a chain a reader without the lock looks at.
const maxWalk = 64

type stripe struct {
	sync.Mutex
	_ [56]byte // a cache line of its own
}

// newIndex returns an index with room for n entries in chains of about one.
func newIndex(t *slabs, side int, n int) *index {
	size := uint64(1) << bits.Len64(uint64(max(n, stripes)-1))
	return &index{t: t, side: side, mask: size - 1, buckets: make([]atomic.Uint32, size)}
}

func (x *index) lock(h uint64) *sync.Mutex { return &x.locks[h%stripes].Mutex }

// A key is what an entry is found by: all words in the index by IPv6, the last two in
// that by IPv4.
type key struct {
	host        translate.Addr6
	ends, local uint64
}

// touch reads a bucket that is needed soon. Locks keep a processor from reading ahead, so
// several buckets are touched before the first lock.
func (x *index) touch(h uint64) { x.first(h) }

// first returns the first entry of a chain.
func (x *index) first(h uint64) uint32 { return x.buckets[h&x.mask].Load() }

// find6 returns the number of the entry of a key, with its word and its local word as they
// were together, or 0.
func (x *index) find6(h uint64, k *key) (i uint32, w, local uint64) {
	i = x.buckets[h&x.mask].Load()
	for range maxWalk {
		if i == 0 {
			break
		}
		e := x.t.at(i)
		w := e.word.Load()
		if e.lo.Load() == k.host.Lo && e.ends.Load() == k.ends && e.hi.Load() == k.host.Hi {
			if l := e.local.Load(); l&local6 == k.local && stateOf(w) != dead && sameVersion(w, e.word.Load()) {
				return i, w, l
			}
		}
		i = e.next[by6].Load()
	}
	return 0, 0, 0
}

// find4 is find6 by the IPv4 side. It returns the host and both words of the entry.
func (x *index) find4(h uint64, k *key) (i uint32, w uint64, found key) {
	i = x.buckets[h&x.mask].Load()
	for range maxWalk {
		if i == 0 {
			break
		}
		e := x.t.at(i)
		w := e.word.Load()
		ends, local := e.ends.Load(), e.local.Load()
		if local&local4 == k.local && ends&ends4 == k.ends && stateOf(w) != dead {
			found := key{e.host(), ends, local}
			if sameVersion(w, e.word.Load()) {
				return i, w, found
			}
		}
		i = e.next[by4].Load()
	}
	return 0, 0, found
}

// get6 is find6 under the lock: what it does not find is not there.
func (x *index) get6(h uint64, k *key) (i uint32, w, local uint64) {
	mu := x.lock(h)
	mu.Lock()
	defer mu.Unlock()
	for i := x.buckets[h&x.mask].Load(); i != 0; {
		e := x.t.at(i)
		if e.lo.Load() == k.host.Lo && e.ends.Load() == k.ends && e.hi.Load() == k.host.Hi {
			if l := e.local.Load(); l&local6 == k.local {
				return i, e.word.Load(), l
			}
		}
		i = e.next[by6].Load()
	}
	return 0, 0, 0
}

// get4 is find4 under the lock.
func (x *index) get4(h uint64, k *key) (i uint32, w uint64, found key) {
	mu := x.lock(h)
	mu.Lock()
	defer mu.Unlock()
	for i := x.buckets[h&x.mask].Load(); i != 0; {
		e := x.t.at(i)
		ends, local := e.ends.Load(), e.local.Load()
		if local&local4 == k.local && ends&ends4 == k.ends {
			return i, e.word.Load(), key{e.host(), ends, local}
		}
		i = e.next[by4].Load()
	}
	return 0, 0, found
}

// link adds an entry, whose words are set.
func (x *index) link(h uint64, i uint32) {
	mu, b := x.lock(h), &x.buckets[h&x.mask]
	mu.Lock()
	x.t.at(i).next[x.side].Store(b.Load())
	b.Store(i)
	mu.Unlock()
}

// unlink removes an entry. Its own next stays, for the readers that are there.
func (x *index) unlink(h uint64, i uint32) {
	mu := x.lock(h)
	mu.Lock()
	p := &x.buckets[h&x.mask]
	for p.Load() != i {
		p = &x.t.at(p.Load()).next[x.side]
	}
	p.Store(x.t.at(i).next[x.side].Load())
	mu.Unlock()
}

// hashKeys make the hashes a secret of this table: who chooses addresses and ports must
// not be able to choose chains.
type hashKeys [6]uint64

func newHashKeys() (k hashKeys) {
	for i := range k {
		k[i] = rand.Uint64() // seeded by the operating system
	}
	return k
}

// of6 hashes the key of the index by IPv6.
func (s *hashKeys) of6(k *key) uint64 {
	a, b := bits.Mul64(k.host.Hi^s[0], k.host.Lo^s[1])
	hi, lo := bits.Mul64(a^b^k.ends, s[2]^k.local<<40^k.local)
	return hi ^ lo
}

// of4 hashes the key of the index by IPv4.
func (s *hashKeys) of4(k *key) uint64 {
	a, b := bits.Mul64(k.ends^s[3], k.local^s[4])
	hi, lo := bits.Mul64(a^b, s[5]|1)
	return hi ^ lo
}

// ofHost hashes a host, for its shard.
func (s *hashKeys) ofHost(a translate.Addr6) uint64 {
	hi, lo := bits.Mul64(a.Hi^s[1], a.Lo^s[0])
	return (hi ^ lo) * (s[2] | 1) >> 32
}
