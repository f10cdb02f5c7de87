package pool

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
)

// The lookup from host to lease is a hash table with open addressing, divided into shards
// by the upper bits of the hash. Readers take no lock, while one writer, which holds
// Pool.mu, fills empty slots. A slot is filled once: a lease that ends leaves a dead
// entry. When half of a shard's slots are filled, the shard is replaced by a new table
// with the live entries. New hosts wait for that; with a million leases, shards bound the
// time to about a millisecond.
//
// A table is at most half full, so most hits find their entry in the first slot: the cost
// of a lookup in a large table is its cache misses and mispredicted branches.
type table struct{ slots []entry }

// shardFill is the writer's side of a shard. It lies apart from the tables that
// readers load.
type shardFill struct {
	filled int // slots that are not empty
	live   int // leases
}

const minSlots = 8

// noTable is what a shard starts with: no room, one empty slot to stop at.
var noTable = &table{slots: make([]entry, 1)}

// hashKeys make the hash a secret of this process: a host that chooses its own addresses
// must not be able to choose their slots.
type hashKeys [4]uint64

func newHashKeys() hashKeys {
	// The top-level functions are seeded by the operating system and
	// cryptographically strong.
	return hashKeys{rand.Uint64(), rand.Uint64(), rand.Uint64(), rand.Uint64()}
}

// hash is the two folded multiplications that the Go runtime uses for keys of
// 16 bytes where it has no AES. It is several times faster here than
// hash/maphash, being inlined.
func (k *hashKeys) hash(host *[16]byte) uint64 {
	a := binary.LittleEndian.Uint64(host[:])
	b := binary.LittleEndian.Uint64(host[8:])
	hi, lo := bits.Mul64(a^k[0], b^k[1])
	hi, lo = bits.Mul64(hi^lo^k[2], k[3]|1)
	return hi ^ lo
}

// find returns the live entry of a host, or nil. The entry may have become dead
// or moved when it is looked at.
func (t *table) find(h uint64, host *[16]byte) *entry {
	s := t.slots
	for mask := uint64(len(s) - 1); ; h++ {
		e := &s[h&mask]
		w := e.word.Load()
		if w == 0 {
			return nil // a table always has an empty slot
		}
		if e.host == *host && w>>32 != dead {
			return e
		}
	}
}

// put fills the first empty slot of the host's probe sequence.
func (t *table) put(h uint64, host [16]byte, addr uint32, w uint64) *entry {
	s := t.slots
	for mask := uint64(len(s) - 1); ; h++ {
		e := &s[h&mask]
		if e.word.Load() == 0 {
			e.host, e.addr = host, addr
			e.word.Store(w) // now readers see it
			return e
		}
	}
}

// shard returns the number of the shard for a hash. Slots are picked by the
// lower bits.
func (p *Pool) shard(h uint64) uint64 { return h >> p.shift }

// find returns the live entry of a host, or nil.
func (p *Pool) find(host *[16]byte) *entry {
	h := p.keys.hash(host)
	return p.tables[p.shard(h)].Load().find(h, host)
}

// insert adds an entry for a host that has none. Pool.mu is held.
func (p *Pool) insert(host [16]byte, addr uint32, w uint64) *entry {
	h := p.keys.hash(&host)
	i := p.shard(h)
	f := &p.fill[i]
	if 2*(f.filled+1) > len(p.tables[i].Load().slots) {
		p.replace(i)
	}
	f.filled++
	f.live++
	return p.tables[i].Load().put(h, host, addr, w)
}

// replace gives a shard a new table of a fitting size. Pool.mu is held, so
// no lease begins or ends meanwhile; but readers continue to mark leases as used, some
// of them in the old table until it is closed.
func (p *Pool) replace(i uint64) {
	old := p.tables[i].Load()
	p.renew(i)
	p.closeTable(old)
}

// renew makes the new table and copies the leases. Then both copies of a lease are
// valid.
func (p *Pool) renew(i uint64) {
	f := &p.fill[i]
	n := minSlots
	for 8*(f.live+1) > 3*n { // leave room for at least n/8 new hosts
		n *= 2
	}
	t := &table{slots: make([]entry, n)}
	old := p.tables[i].Load().slots
	for j := range old {
		e := &old[j]
		if w := e.word.Load(); w>>32 == held || w>>32 == dormant {
			p.slot(e.addr).Store(t.put(p.keys.hash(&e.host), e.host, e.addr, w))
		}
	}
	p.tables[i].Store(t)
	f.filled = f.live
}

// closeTable closes the copies in a table that was replaced: a use that was marked there
// is copied, and a later reader finds the state moved, and looks in the new table.
func (p *Pool) closeTable(old *table) {
	for j := range old.slots {
		e := &old.slots[j]
		if s := e.word.Load() >> 32; s != held && s != dormant {
			continue
		}
		if w := e.word.Swap(word(moved, 0)); w>>32 == held {
			e = p.slot(e.addr).Load()
			e.refresh(e.word.Load(), uint32(w))
		}
	}
}

// newTables returns empty shards for a pool of so many addresses: one for small
// pools, up to 256. shift brings a hash down to the number of its shard.
func newTables(size uint64) (tables []atomic.Pointer[table], shift uint) {
	n := 0
	for n < 8 && size>>n > 4096 {
		n++
	}
	tables = make([]atomic.Pointer[table], 1<<n)
	for i := range tables {
		tables[i].Store(noTable)
	}
	return tables, uint(64 - n)
}
