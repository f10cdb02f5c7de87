package gateway

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"slices"
	"time"

	"github.com/steppe-nat64/steppe/fastpath"
	"github.com/steppe-nat64/steppe/translate"
)

// A learner is what a worker knows of its fast path.
type learner struct {
	fast   *fast
	cache  *fastpath.Cache
	shared []netip.Prefix // addresses that hosts share

	was     []head        // how the packets of a batch begin, as they came
	told    [1 << 12]told // by their hash
	lessons []lesson      // to be told
	leases  uint64        // the generation of the leases before the first of lessons
	batches int           // since then
}

// A head is how a packet begins.
type head [fastpath.LearnBytes]byte

// A lesson is a packet by which the fast path learns of a host or session.
type lesson struct {
	generation uint32 // of the rules
	shared     bool
	was, is    head // before and after its translation
}

// told is what the fast path was told lately.
type told struct {
	hash       uint64
	generation uint32
	until      time.Duration
}

const (
	// again is after how long the fast path may be told again. Packets of a host that it
	// knows come here for other reasons, too.
	again = time.Second
	// maxLessons is how many wait to be told, and maxBatches for how many batches, while
	// there is no pause.
	maxLessons = 64
	maxBatches = 16
)

var hashSeed = maphash.MakeSeed()

// newLearner returns nil if there is no fast path.
func (f *fast) newLearner(shared []netip.Prefix) *learner {
	p := f.path.Load()
	if p == nil {
		return nil
	}
	return &learner{fast: f, cache: p.Cache, shared: shared, lessons: make([]lesson, 0, maxLessons)}
}

// keep keeps how packets begin.
func (l *learner) keep(ps []translate.Packet) {
	if len(ps) > len(l.was) {
		l.was = slices.Grow(l.was[:0], len(ps))[:len(ps)]
	}
	for i := range ps {
		l.was[i].set(ps[i].Bytes())
	}
}

// set copies the beginning of a packet. One that is shorter than its headers is none that the
// fast path translates.
func (h *head) set(b []byte) { clear(h[copy(h[:], b):]) }

// note takes note of a packet that was translated, if what it says was not told lately.
func (l *learner) note(generation uint32, now time.Duration, was *head, is []byte) {
	if len(is) < 20 || len(l.lessons) == cap(l.lessons) {
		return
	}
	from4 := was[0]>>4 == 4
	local := [4]byte(is[12:])
	if from4 {
		local = [4]byte(was[16:])
	}
	shared := l.isShared(local)
	var what []byte
	var flow [1 + 12]byte
	switch {
	case shared && from4: // protocol, addresses, ports; not the checksum between them
		flow[0] = was[9]
		copy(flow[1:], was[12:24])
		what = flow[:]
	case shared:
		what = was[6:44]
	case from4: // the address that leads to the host
		what = was[16:20]
	default: // the host, and the prefix that it sends to
		what = was[8:36]
	}
	hash := maphash.Bytes(hashSeed, what)
	t := &l.told[hash%uint64(len(l.told))]
	if t.hash == hash && t.generation == generation && now < t.until {
		return
	}
	*t = told{hash, generation, now + again}
	n := len(l.lessons)
	l.lessons = l.lessons[:n+1]
	x := &l.lessons[n]
	x.generation, x.shared, x.was = generation, shared, *was
	x.is.set(is)
}

func (l *learner) isShared(a [4]byte) bool {
	for _, p := range l.shared {
		if p.Contains(netip.AddrFrom4(a)) {
			return true
		}
	}
	return false
}

// sent tells the fast path what there is to tell, in a pause. If that has no room, the rest
// is not tried: packets wait.
func (l *learner) sent(more bool) {
	if l.batches++; more && l.batches < maxBatches && len(l.lessons) < maxLessons/2 {
		return
	}
	for i := range l.lessons {
		if !l.tell(&l.lessons[i]) {
			break
		}
	}
	l.lessons = l.lessons[:0]
}

// tell reports false if the fast path has no room.
func (l *learner) tell(x *lesson) bool {
	if x.shared {
		l.tellSession(x)
		return true
	}
	if l.fast.leases() != l.leases {
		return true // the lease of this host may have ended since
	}
	if l.cache.Learn(x.generation, x.was[:], x.is[:], false) != nil {
		l.fast.full.Store(true)
		return false
	}
	if l.fast.leases() != l.leases {
		// Or meanwhile: then this came too late to be forgotten with it.
		l.forget(x)
	}
	return true
}

// tellSession tells of both directions of a session, of which a packet has shown one. The
// other is not mapped by it if the host has got a map.
func (l *learner) tellSession(x *lesson) {
	f6, _, ok := l.cache.Flow(x.generation, x.was[:], x.is[:])
	if ok && !l.fast.g.Fixed(hostOf(f6.Host)) {
		l.fast.g.sessions.Delegate(&f6, x.generation)
	}
}

func hostOf(a translate.Addr6) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], a.Hi)
	binary.BigEndian.PutUint64(b[8:], a.Lo)
	return netip.AddrFrom16(b)
}

// forget takes back what tell has told of a host.
func (l *learner) forget(x *lesson) {
	v4, v6 := &x.is, &x.was
	host, local := v6[8:24], v4[12:16]
	if x.was[0]>>4 == 4 {
		v4, v6 = &x.was, &x.is
		host, local = v6[24:40], v4[16:20]
	}
	l.fast.forget(l.fast.path.Load(), [16]byte(host), [4]byte(local))
}
