package session

import (
	"sync"
	"sync/atomic"

	"github.com/steppe-nat64/steppe/translate"
)

// An entry is a session, a binding, a host or a permission, in one cache line. Entries
// refer to each other by their number in the slabs, so that the garbage collector has
// nothing to scan. 0 is no entry.
//
// The words above the line are read without a lock. An entry that ends changes its
// version, so that a reader of a part of it notices. The rest belongs to the
// shard of the host.
type entry struct {
	hi, lo atomic.Uint64    // the host's IPv6 address
	ends   atomic.Uint64    // remote address, remote port, the host's port: see ends
	local  atomic.Uint64    // shared address, port, meta: see local
	word   atomic.Uint64    // version, state, second of last use: see word
	next   [2]atomic.Uint32 // in the chains of the index by IPv6 and of that by IPv4

	after, before uint32 // a session's neighbours in a slot of the wheel; free entries: after
	parent        uint32 // of a session: its binding; of a binding: its host; of a host: its subscriber
	count         uint32 // of a binding: its sessions; of a host: its bindings; of a permission: its sessions
}

// For a session, count is the slot of the wheel, and these flags and delegated.
const (
	slotMask  = wheelSize - 1
	inbound   = 1 << 30 // it was opened from IPv4
	permitted = 1 << 31 // it counts in a permission
)

// Kinds of entries.
const (
	aSession    = iota
	aBinding    // key: host and port, or shared address and port
	aHost       // key: host; its local address is the one that it is paired with
	aPermission // key: shared address and port, remote address: see Filtering
)

// Protocols, as entries have them.
const (
	tcp = iota + 1
	udp
	icmp
	protocols
)

// number returns the protocol of an IP header's, or 0.
func number(proto uint8) uint64 {
	switch proto {
	case 6:
		return tcp
	case 17:
		return udp
	case 1, 58:
		return icmp
	}
	return 0
}

// header is the inverse of number: the IP header's protocol, as in IPv4.
func header(proto uint64) uint8 { return [protocols]uint8{0, 6, 17, 1}[proto] }

// keyPort is the remote port as keys have it: Echo messages have none.
func keyPort(proto uint64, port uint16) uint16 {
	if proto == icmp {
		return 0
	}
	return port
}

// ends packs what a session's key has beside the host and the shared address.
func ends(remote uint32, remotePort, hostPort uint16) uint64 {
	return uint64(remote)<<32 | uint64(remotePort)<<16 | uint64(hostPort)
}

// meta packs the kind, the protocol, the group of pools and the number of the prefix.
func meta(kind, proto, group, pref64 uint64) uint64 {
	return kind<<14 | proto<<12 | group<<6 | pref64
}

// Which part of ends and local is the key in which index.
const (
	local6 = uint64(0xffc0)              // kind, protocol, group
	local4 = ^uint64(0) &^ uint64(0xfff) // address, port, kind, protocol
	ends4  = ^uint64(0) &^ uint64(0xffff)
)

func local(addr uint32, port uint16, meta uint64) uint64 {
	return uint64(addr)<<32 | uint64(port)<<16 | meta
}

func addrOf(local uint64) uint32  { return uint32(local >> 32) }
func portOf(local uint64) uint16  { return uint16(local >> 16) }
func protoOf(local uint64) uint64 { return local >> 12 & 3 }
func groupOf(local uint64) uint64 { return local >> 6 & 63 }
func prefOf(local uint64) uint64  { return local & 63 }
func kindOf(local uint64) uint64  { return local >> 14 & 3 }

func remoteOf(ends uint64) uint32     { return uint32(ends >> 32) }
func remotePortOf(ends uint64) uint16 { return uint16(ends >> 16) }
func hostPortOf(ends uint64) uint16   { return uint16(ends) }

// A word is the version in the upper 24 bits, then the state in 8, then the second of the
// last use.
func stateOf(w uint64) state { return state(w >> 32) }
func used(w uint64) uint32   { return uint32(w) }

const versionStep = 1 << 40

// sameVersion reports whether two words are of one life of an entry.
func sameVersion(a, b uint64) bool { return (a^b)>>40 == 0 }

func (e *entry) host() translate.Addr6 {
	return translate.Addr6{Hi: e.hi.Load(), Lo: e.lo.Load()}
}

// A slab is what entries are allocated by. batch is how many a shard takes or returns at
// once.
const (
	slabSize = 4096
	maxSlabs = 1 << 14
	batch    = 64
)

type slab [slabSize]entry

// slabs are the memory of a table. It grows with the entries, and is not returned.
type slabs struct {
	dir  [maxSlabs]atomic.Pointer[slab]
	mu   sync.Mutex
	n    uint32   // slabs
	left uint32   // batches that the last slab still has
	free []uint32 // heads of lists of batch entries
}

// at returns an entry.
func (s *slabs) at(i uint32) *entry { return &s.dir[i/slabSize].Load()[i%slabSize] }

// take returns the head of a list of batch free entries, or 0.
func (s *slabs) take() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i
	}
	if s.left == 0 {
		if s.n == maxSlabs {
			return 0
		}
		s.dir[s.n].Store(new(slab))
		s.n++
		s.left = slabSize / batch
	}
	s.left--
	first := (s.n-1)*slabSize + s.left*batch
	for i := first; i < first+batch-1; i++ {
		s.at(i).after = i + 1
	}
	if first == 0 {
		first = 1 // entry 0 is none
	}
	return first
}

// give returns a list of batch entries.
func (s *slabs) give(head uint32) {
	s.mu.Lock()
	s.free = append(s.free, head)
	s.mu.Unlock()
}

// size returns how many entries the slabs have, free ones included.
func (s *slabs) size() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n * slabSize
}
