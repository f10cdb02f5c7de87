package translate

import (
	"math/bits"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// A fragKey names a packet by what its fragments have in common: RFC 791 §3.2, RFC 8200 §4.5.
type fragKey struct {
	src, dst addr6 // an IPv4 address is in lo
	id       uint32
	proto    uint8
	kind     fragKind
}

// A fragKind says which address of a packet is looked for.
type fragKind uint8

const (
	fragFrom4   fragKind = iota // of an IPv4 packet the host
	fragFrom6                   // of an IPv6 packet the shared address of the sender
	fragHairpin                 // of an IPv6 packet the host that has the IPv4 destination
)

func (k fragKind) direction() Direction {
	if k == fragFrom4 {
		return V4ToV6
	}
	return V6ToV4
}

// A fragMap is what a first fragment tells about those after it: the host, or in lo the
// shared address, and the number of the prefix inside which the host sees its peer.
type fragMap struct {
	addr   addr6
	pref64 uint8
}

// Each entry of fragments is in a list, the oldest first.
const (
	fragFree    = iota // no packet
	fragWaiting        // fragments are stored: their first has not come, or not all of a whole
	fragKnown          // the first fragment has come
	fragDone           // so have as many bytes as the packet has: the entry may be used again
	fragLists
)

// A fragEntry is what is known of a packet that comes in fragments.
type fragEntry struct {
	key    fragKey
	to     fragMap
	until  time.Duration // when it is forgotten
	why    Reason        // its fragments are dropped for this; pass: they are not
	list   uint8
	whole  bool // it is reassembled
	bad    bool // its fragments contradict each other
	source fragSource

	chain      int32 // next entry of the same hash
	prev, next int32 // in the list

	pieces, count int32 // the stored fragments by their offset, how many they are
	bytes, end    int32 // data that has come; where the data ends, 0 if that is not known
}

// Stored fragments are in blocks, which are linked.
const blockSize = 512

// A block is what is known of a block. All but next is valid in the first block of a
// fragment.
type block struct {
	next   int32 // of this fragment, or free; -1 at the end
	piece  int32 // the next fragment of the packet
	ready  int32 // the next in the queue of a worker
	source fragSource
	kind   fragKind
	more   bool
	whole  bool // with those after it a packet that is complete

	size, hdrLen, off, dataLen int32 // of the fragment, in bytes
}

func (b *block) endOff() int32 { return b.off + b.dataLen }

const (
	// maxFragments is how many fragments of a packet may be stored: the largest packet
	// in pieces of 576 bytes has 119. It bounds the search for overlaps.
	maxFragments = 128

	fragSources = 1 << 10
	sourceShift = 64 - 10
)

// A fragSource is where two counts of what a source uses are, by two hashes. Others count
// there, too, but hardly any with the same two: the lower one limits it.
type fragSource [2]uint16

// fragments knows packets from and to shared addresses of which fragments have come, and
// stores fragments that cannot be translated yet: RFC 6146 §3.4. Only fragments lock it.
// All memory is allocated at the start. Sources have a share each, by their address, of
// IPv6 the first 64 bits. What is full drops the oldest.
type fragments struct {
	due atomic.Int64 // when stored fragments have waited long enough; Never: there are none

	mu      sync.Mutex
	keys    [7]uint64 // of hashes
	shift   uint8
	index   []int32 // by hash
	entries []fragEntry
	lists   [fragLists]struct{ head, tail int32 }

	data   []byte
	blocks []block
	free   int32 // blocks
	nFree  int32

	entriesOf, blocksOf   [2][fragSources]int32
	maxEntries, maxBlocks int32 // of a source
}

// newFragments makes room for a number of packets, and for size bytes of fragments.
func newFragments(number, size int) *fragments {
	n := size / blockSize
	x := &fragments{
		shift:   uint8(64 - bits.Len(uint(number))),
		entries: make([]fragEntry, number),
		data:    make([]byte, n*blockSize), blocks: make([]block, n), nFree: int32(n),
		maxEntries: int32(max(number/8, 1)), maxBlocks: int32(max(n/8, 192)), // at least a packet of 64 KiB
	}
	x.index = make([]int32, 1<<bits.Len(uint(number)))
	for i := range x.index {
		x.index[i] = -1
	}
	for i := range x.keys {
		x.keys[i] = rand.Uint64() | 1
	}
	for i := range x.blocks {
		x.blocks[i].next = int32(i + 1)
	}
	x.blocks[n-1].next = -1
	for i := range x.lists {
		x.lists[i].head, x.lists[i].tail = -1, -1
	}
	for i := range x.entries {
		x.append(int32(i), fragFree)
	}
	x.due.Store(int64(Never))
	return x
}

func (x *fragments) slot(k *fragKey) *int32 {
	s := &x.keys
	hash := k.src.hi*s[0] + k.src.lo*s[1] + k.dst.hi*s[2] + k.dst.lo*s[3] +
		(uint64(k.id)<<16|uint64(k.proto)<<8|uint64(k.kind))*s[4]
	return &x.index[hash>>x.shift]
}

func (x *fragments) sourceOf(k *fragKey) fragSource {
	source := k.src.hi
	if k.kind == fragFrom4 {
		source = k.src.lo
	}
	return fragSource{uint16(source * x.keys[5] >> sourceShift), uint16(source * x.keys[6] >> sourceShift)}
}

// use adds n to the counts of a source.
func (s fragSource) use(counts *[2][fragSources]int32, n int32) {
	counts[0][s[0]] += n
	counts[1][s[1]] += n
}

// uses is what a source uses at most.
func (s fragSource) uses(counts *[2][fragSources]int32) int32 {
	return min(counts[0][s[0]], counts[1][s[1]])
}

// append puts an entry that is in no list at the end of one.
func (x *fragments) append(i int32, list uint8) {
	e, l := &x.entries[i], &x.lists[list]
	e.list, e.prev, e.next = list, l.tail, -1
	if l.tail >= 0 {
		x.entries[l.tail].next = i
	} else {
		l.head = i
	}
	l.tail = i
	if list == fragWaiting || list == fragKnown {
		e.source.use(&x.entriesOf, 1)
	}
	x.setDue()
}

// unlink takes an entry out of its list.
func (x *fragments) unlink(i int32) {
	e := &x.entries[i]
	l := &x.lists[e.list]
	if e.prev >= 0 {
		x.entries[e.prev].next = e.next
	} else {
		l.head = e.next
	}
	if e.next >= 0 {
		x.entries[e.next].prev = e.prev
	} else {
		l.tail = e.prev
	}
	if e.list == fragWaiting || e.list == fragKnown {
		e.source.use(&x.entriesOf, -1)
	}
}

// move puts an entry at the end of a list.
func (x *fragments) move(i int32, list uint8) {
	x.unlink(i)
	x.append(i, list)
}

func (x *fragments) setDue() {
	due := int64(Never)
	if i := x.lists[fragWaiting].head; i >= 0 {
		due = int64(x.entries[i].until)
	}
	if due != x.due.Load() {
		x.due.Store(due)
	}
}

// find returns the entry of a packet, or -1.
func (x *fragments) find(w *Worker, k *fragKey) int32 {
	for i := *x.slot(k); i >= 0; i = x.entries[i].chain {
		if e := &x.entries[i]; e.key == *k {
			if w.now < e.until {
				return i
			}
			x.end(w, i, FragmentTimeout)
			return -1
		}
	}
	return -1
}

// end frees an entry. What is stored is dropped for a reason.
func (x *fragments) end(w *Worker, i int32, why Reason) {
	e := &x.entries[i]
	x.dropStored(w, e, why)
	at := x.slot(&e.key)
	for *at != i {
		at = &x.entries[*at].chain
	}
	*at = e.chain
	x.move(i, fragFree)
}

// begin makes an entry for a packet, which has none, and returns -1 if its source has
// too many. Without a free one it takes one that is done, or the oldest.
func (x *fragments) begin(w *Worker, k *fragKey, list uint8) int32 {
	source := x.sourceOf(k)
	if source.uses(&x.entriesOf) >= x.maxEntries {
		return -1
	}
	i := x.lists[fragFree].head
	if i < 0 {
		if i = x.lists[fragDone].head; i < 0 {
			i = x.oldest()
		}
		x.end(w, i, FragmentRoom)
	}
	at, e := x.slot(k), &x.entries[i]
	x.unlink(i)
	*e = fragEntry{key: *k, source: source, until: x.until(w), chain: *at, pieces: -1}
	*at = i
	x.append(i, list)
	return i
}

// until is when a packet is forgotten whose fragment has come now.
func (x *fragments) until(w *Worker) time.Duration { return w.now + w.s.cfg.FragmentTimeout + 1 }

// oldest is the oldest entry that is in use; there is one.
func (x *fragments) oldest() int32 {
	i, j := x.lists[fragKnown].head, x.lists[fragWaiting].head
	if i < 0 || j >= 0 && x.entries[j].until < x.entries[i].until {
		return j
	}
	return i
}

// expire drops the fragments that have waited long enough.
func (x *fragments) expire(w *Worker) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for {
		i := x.lists[fragWaiting].head
		if i < 0 || w.now < x.entries[i].until {
			return
		}
		x.end(w, i, FragmentTimeout)
	}
}

// poison drops the stored fragments of a packet, and those to come: two of its fragments
// contradict each other, and no host is to get what was made for another one.
func (x *fragments) poison(w *Worker, i int32, why Reason) Reason {
	e := &x.entries[i]
	x.dropStored(w, e, why)
	e.why, e.bad = why, true
	if e.list == fragWaiting {
		x.move(i, fragKnown)
	}
	return why
}

// first takes what a first fragment says about the others: where they go, or why they are
// dropped. Those that have waited for it are w's to emit. It returns why the fragment is
// dropped.
func (x *fragments) first(w *Worker, k *fragKey, h *header, to fragMap, why Reason) Reason {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := x.find(w, k)
	if i >= 0 && x.entries[i].list == fragDone {
		x.end(w, i, pass) // an earlier packet
		i = -1
	}
	if i < 0 {
		if i = x.begin(w, k, fragKnown); i < 0 {
			return why // the others will miss it
		}
	} else if known := x.again(w, i, h, to, why); known != pass {
		return known
	}
	x.entries[i].to, x.entries[i].why = to, why
	x.seen(i, h)
	return why
}

// again is first for a packet of which fragments have come. It returns why nothing
// changes.
func (x *fragments) again(w *Worker, i int32, h *header, to fragMap, why Reason) Reason {
	e := &x.entries[i]
	mapped := e.list == fragKnown && e.why == pass
	switch {
	case why != pass && (e.bad || e.whole || mapped):
		return why // it is the only one
	case e.bad:
		return e.why
	case e.whole, mapped && e.to != to, e.pieces >= 0 && int(x.blocks[e.pieces].off) < h.dataLen:
		return x.poison(w, i, FragmentOverlap)
	case why != pass:
		x.dropStored(w, e, why)
	}
	for e.pieces >= 0 {
		j := e.pieces
		e.pieces, x.blocks[j].piece = x.blocks[j].piece, -1
		w.ready.add(x, j)
	}
	if e.list == fragWaiting {
		e.count, e.bytes, e.end = 0, 0, 0
	}
	e.until = x.until(w)
	x.move(i, fragKnown)
	return pass
}

// later returns where a fragment goes that is not the first, or why it does not.
func (x *fragments) later(w *Worker, k *fragKey, h *header) (fragMap, Reason) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := x.find(w, k)
	if i < 0 || x.entries[i].list == fragWaiting {
		return fragMap{}, Waiting
	}
	e := &x.entries[i]
	if e.why == pass {
		x.seen(i, h)
	}
	return e.to, e.why
}

// seen counts the bytes of a packet. Once they are as many as it has, its entry may be
// used again; until then it is still valid, since a fragment may have come twice.
func (x *fragments) seen(i int32, h *header) {
	e := &x.entries[i]
	e.bytes += int32(h.dataLen)
	if !h.more {
		e.end = int32(h.off8)*8 + int32(h.dataLen)
	}
	if e.list == fragKnown && e.end != 0 && e.bytes >= e.end {
		x.move(i, fragDone)
	}
}

// A readyList has stored fragments that a worker is to emit, linked by block.ready. They
// are its own.
type readyList struct {
	has        bool
	head, tail int32
}

func (l *readyList) add(x *fragments, i int32) {
	x.blocks[i].ready = -1
	if l.has {
		x.blocks[l.tail].ready = i
	} else {
		l.head, l.has = i, true
	}
	l.tail = i
}

func (l *readyList) next(x *fragments) (i int32) {
	i = l.head
	l.head = x.blocks[i].ready
	l.has = l.head >= 0
	return i
}
