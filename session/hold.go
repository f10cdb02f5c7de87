package session

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// held are the SYNs from IPv4 that wait for the host to open the same connection: the
// sessions of RFC 6146 §3.5.2.2 in state V4 INIT whose packet is stored. They are few, so
// a list does.
type held struct {
	n  atomic.Int32 // how many wait; 0 most of the time
	mu sync.Mutex
	s  []heldSYN
}

type heldSYN struct {
	local, ends uint64 // the key of the session in the index by IPv4
	until       uint32 // second; 0 if the place is free
	ticket      translate.Ticket
}

func (h *held) init(n int) { h.resize(max(n, 0)) }

// resize changes how many there may be. SYNs without a place any more are dropped.
func (h *held) resize(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := n; i < len(h.s); i++ {
		if h.s[i].until != 0 {
			h.n.Add(-1)
		}
	}
	s := make([]heldSYN, n)
	copy(s, h.s)
	for i := len(h.s); i < n; i++ {
		s[i].ticket = translate.Ticket(i)
	}
	h.s = s
}

// cancel drops the SYN that opens the same connection as a session, and reports whether
// there is one.
func (h *held) cancel(local, ends uint64) bool {
	if h.n.Load() == 0 {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	i := h.index(local, ends)
	if i < 0 {
		return false
	}
	h.free(i)
	return true
}

func (h *held) index(local, ends uint64) int {
	for i := range h.s {
		if s := &h.s[i]; s.until != 0 && s.local == local&local4&^(3<<14) && s.ends == ends&ends4 {
			return i
		}
	}
	return -1
}

// free empties a place, whose next SYN has another ticket.
func (h *held) free(i int) {
	h.s[i].until = 0
	h.s[i].ticket += translate.MaxHeldSYN
	h.n.Add(-1)
}

// HeldSYNs returns how many SYNs can be held: Limits.HeldSYN.
func (t *Table) HeldSYNs() int { return max(t.cfg.Load().limits.HeldSYN, 0) }

// Hold keeps the connection of a SYN for which Inbound returned FlowHold, until
// Timeouts.TCPIncomingSYN has passed or the host opens the same connection. The caller
// keeps the packet, by the ticket's Slot and together with the ticket; a packet with an
// older ticket has had its time. Hold reports false if too many are held, or this one is:
// then the packet is dropped silently.
func (t *Table) Hold(now time.Duration, f *translate.Tuple4) (translate.Ticket, bool) {
	k, ok := key4(f)
	if !ok || f.Proto != 6 {
		return 0, false
	}
	c, sec, h := t.cfg.Load(), second(now), &t.held
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.index(k.local, k.ends) >= 0 {
		return 0, false
	}
	for i := range h.s {
		if s := &h.s[i]; s.until == 0 {
			s.local, s.ends, s.until = k.local, k.ends, sec+c.heldSYN+1
			h.n.Add(1)
			return s.ticket, true
		}
	}
	return 0, false
}

// Unanswered returns the ticket of a SYN whose time has passed, which is held no more. The
// caller answers it with an ICMP Port Unreachable error (RFC 6146 §3.5.2.2) and calls
// again, until Unanswered reports false. Until then no such answer is due before next.
func (t *Table) Unanswered(now time.Duration) (ticket translate.Ticket, next time.Duration, ok bool) {
	if t.held.n.Load() == 0 {
		return 0, math.MaxInt64, false
	}
	sec, h := second(now), &t.held
	h.mu.Lock()
	defer h.mu.Unlock()
	until := uint32(math.MaxUint32)
	for i := range h.s {
		s := &h.s[i]
		if s.until != 0 && s.until <= sec {
			ticket = s.ticket
			h.free(i)
			return ticket, now, true
		}
		if s.until != 0 {
			until = min(until, s.until)
		}
	}
	return 0, time.Duration(until-1) * time.Second, false
}
