package translate

import (
	"sync"
	"time"
)

// SYNs from IPv4 to a shared address that the host may expect: RFC 6146 §3.5.2.2. They are
// kept, to be answered with Port Unreachable if the host does not open the same connection
// in time. If it does, its session lets the next SYN in (RFC 5382 REQ-4).

// A SYNHolder is a Sessions that knows how long a SYN for which it returned FlowHold is to
// be kept. Without one, such SYNs are dropped.
type SYNHolder interface {
	Sessions
	// HeldSYNs returns how many may be held, at most MaxHeldSYN.
	HeldSYNs() int
	// Hold keeps the connection of a SYN. It reports false if it does not: the SYN is
	// dropped silently.
	Hold(now time.Duration, f *Tuple4) (Ticket, bool)
	// Unanswered returns the ticket of a SYN whose time has passed, and which is to be answered. Without one
	// it reports false, and there is none before next.
	Unanswered(now time.Duration) (ticket Ticket, next time.Duration, ok bool)
}

// MaxHeldSYN limits the number of SYNs that are held.
const MaxHeldSYN = 4096

// A Ticket names a SYN that is held. It is not used again soon.
type Ticket uint32

// Slot returns the number of the place in which the packet is kept: it is below HeldSYNs,
// and no other SYN that is held has it.
func (t Ticket) Slot() int { return int(t % MaxHeldSYN) }

// maxHeld is how much of a SYN an error quotes at most, which is ICMPv6 in a hairpin.
const maxHeld = maxError6 - len6 - lenICMP

// heldSYNs are the packets of tickets.
type heldSYNs struct {
	mu    sync.Mutex
	slots []heldSYN
}

type heldSYN struct {
	used    bool
	ticket  Ticket
	offload Offload
	n       int
	bytes   [maxHeld]byte
}

// resize makes room for n SYNs. It keeps those that are there.
func (x *heldSYNs) resize(n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n = min(n, MaxHeldSYN); n != len(x.slots) {
		s := make([]heldSYN, n)
		copy(s, x.slots)
		x.slots = s
	}
}

// put keeps the beginning of p.
func (x *heldSYNs) put(t Ticket, p *Packet) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if i := t.Slot(); i < len(x.slots) {
		s := &x.slots[i]
		s.used, s.ticket, s.offload = true, t, p.Offload
		s.n = copy(s.bytes[:], p.Bytes())
	}
}

// take moves the packet of a ticket to p. It reports false if there is none.
func (x *heldSYNs) take(t Ticket, p *Packet) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := t.Slot()
	if i >= len(x.slots) || !x.slots[i].used || x.slots[i].ticket != t {
		return false
	}
	s := &x.slots[i]
	s.used = false
	if !p.Set(s.bytes[:s.n]) {
		tooShort(p, s.n)
	}
	p.Offload = s.offload
	return true
}

// holdSYN keeps a SYN that Sessions have been asked about, in w.tuple4. It is counted as
// dropped: what may follow is another packet.
func (w *Worker) holdSYN(p *Packet, h *header) {
	if w.s.holder == nil || h.frag || p.Len > maxHeld && h.partial {
		return // of a part the checksum cannot be completed
	}
	if t, ok := w.s.holder.Hold(w.now, &w.tuple4); ok {
		w.s.deferred.syns.put(t, p)
		w.asked = w.now
	}
}

// unanswered makes p the answer to a SYN whose time has passed. If there is none, next is when
// there may be one.
func (w *Worker) unanswered(p *Packet) (next time.Duration, ok bool) {
	for w.s.holder != nil {
		t, next, ok := w.s.holder.Unanswered(w.now)
		if !ok {
			return next, false
		}
		if w.s.deferred.syns.take(t, p) && w.answerSYN(p) {
			return 0, true
		}
	}
	return Never, false
}

// answerSYN makes p, a SYN or its beginning, the error about it. It reports false if none
// may be sent.
func (w *Worker) answerSYN(p *Packet) bool {
	var h header
	b := p.Bytes()
	if b[0]>>4 == 4 {
		if h.read4(b) != pass || h.readOffload(&p.Offload, b[h.hdrLen:], GSOTCPv4) != pass {
			return false
		}
		p.Result = w.refuse4(p, &h, UnsolicitedSYN, icmp4Unreachable, 3, 0)
	} else {
		if h.read6(b) != pass || h.readOffload(&p.Offload, b[h.hdrLen:], GSOTCPv6) != pass {
			return false
		}
		p.Result = w.refuse6(p, &h, UnsolicitedSYN, icmp6Unreachable, 4, 0)
	}
	return p.Result.Verdict == Reply
}
