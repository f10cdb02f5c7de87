package session

import "time"

// wheelSize is the number of slots of a wheel, a second each. A session that ends later
// than the wheel reaches is looked at on the way.
const wheelSize = 512

// A wheel has the sessions of a shard by the second when they are to be looked at. A use of
// a session does not move it: its slot may come before its end, never after.
type wheel struct {
	at    uint32 // the second that was looked at last
	slots [wheelSize]uint32
}

// due returns the second at which the state of a session ends if it is not used.
func (c *settings) due(w uint64) uint32 { return used(w) + c.timeout[stateOf(w)] + 1 }

// schedule puts a session into the slot of a second, or of the last one that the wheel
// reaches.
func (t *Table) schedule(sh *shard, i, due uint32) {
	e := t.mem.at(i)
	slot := (sh.wheel.at + uint32(min(max(int32(due-sh.wheel.at), 1), wheelSize-1))) & slotMask
	head := sh.wheel.slots[slot]
	e.before, e.after, e.count = 0, head, e.count&^slotMask|slot
	if head != 0 {
		t.mem.at(head).before = i
	}
	sh.wheel.slots[slot] = i
}

func (t *Table) unschedule(sh *shard, i uint32) {
	e := t.mem.at(i)
	if e.before != 0 {
		t.mem.at(e.before).after = e.after
	} else {
		sh.wheel.slots[e.count&slotMask] = e.after
	}
	if e.after != 0 {
		t.mem.at(e.after).before = e.before
	}
}

// sooner moves a session whose time has become shorter.
func (t *Table) sooner(c *settings, sh *shard, i uint32) {
	e := t.mem.at(i)
	due := c.due(e.word.Load())
	if int32(due-sh.wheel.at) < int32((e.count-sh.wheel.at)&slotMask) {
		t.unschedule(sh, i)
		t.schedule(sh, i, due)
	}
}

// step does to a session what a packet does: RFC 6146 §3.5.2.2.
func (t *Table) step(c *settings, sh *shard, i uint32, side int, flags uint8, sec uint32) {
	e := t.mem.at(i)
	for {
		w := e.word.Load()
		s := stateOf(w)
		a := actions[side][s&15][flags&flagMask]
		to, at := a.state(), used(w)
		if a&refresh != 0 && int32(sec-at) > 0 {
			at = sec
		}
		if to == s && at == used(w) {
			return
		}
		if !e.word.CompareAndSwap(w, w>>40<<40|uint64(to)<<32|uint64(at)) {
			continue
		}
		if to != s {
			if !to.steady() {
				c.undelegate(e)
			}
			t.changed(sh, e, s, to)
			t.sooner(c, sh, i)
		}
		return
	}
}

// changed counts a change of state.
func (t *Table) changed(sh *shard, e *entry, from, to state) {
	sh.states[from]--
	sh.states[to]++
	if from == v6Init {
		t.halfOpen.Add(-1)
		t.subs.at(t.mem.at(t.mem.at(e.parent).parent &^ doomed).parent).halfOpen.Add(-1)
	}
}

// settle does to a session what the time does, and reports whether it is still there.
func (t *Table) settle(c *settings, sh *shard, i, sec uint32) bool {
	e := t.mem.at(i)
	for {
		w := e.word.Load()
		s := stateOf(w)
		switch {
		case int32(sec-used(w)) <= int32(c.timeout[s]):
			return true
		case c.usedByPath(e, w):
		case s == established:
			// RFC 6146 §3.5.2.2. The timer of TRANS starts when the other ended,
			// whenever that is noticed.
			if e.word.CompareAndSwap(w, w>>40<<40|uint64(trans)<<32|uint64(used(w)+c.timeout[s])) {
				c.undelegate(e)
				t.changed(sh, e, s, trans)
				t.sooner(c, sh, i)
				t.probes.add(c.probes, &key{e.host(), e.ends.Load(), e.local.Load()})
			}
		case e.kill(w):
			t.end(c, sh, i, w, s, sec)
			return false
		}
	}
}

// perCall is how many sessions Expire looks at, so that it blocks others for a short time only.
const perCall = 64

// Expire ends sessions whose time has run out, some dozens at a time, and reports whether
// there may be more to do now: call it again then, and else about once a second. A session
// that it has not yet reached is as dead as one that it has ended.
func (t *Table) Expire(now time.Duration) bool {
	t.upkeep.Lock()
	defer t.upkeep.Unlock()
	sec := second(now)
	if t.cursor == shards {
		if int32(sec-t.swept) <= 0 {
			return false
		}
		t.cursor, t.swept = 0, sec
	}
	c := t.cfg.Load()
	for left := perCall; t.cursor < shards; t.cursor++ {
		if left = t.expireShard(c, &t.shards[t.cursor], t.swept, left); left <= 0 {
			return true
		}
	}
	return t.swept != sec
}

// fetchSlot reads what is needed to end some sessions of a slot, from i on, and returns how
// many: see fetch.go.
func (t *Table) fetchSlot(i uint32) (n int) {
	for ; i != 0 && n < fetched/4; n++ {
		e := t.mem.at(i)
		k := key{e.host(), e.ends.Load(), e.local.Load()}
		t.touch(&k)
		t.mem.at(e.parent).word.Load()
		i = e.after
	}
	return n
}

// emptySlots is how many slots cost as much as a session.
const emptySlots = 32

// expireShard turns the wheel of a shard to sec, looking at about left sessions at most.
// It returns how many are left, 0 or less if it is not through.
func (t *Table) expireShard(c *settings, sh *shard, sec uint32, left int) int {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	w := &sh.wheel
	if int32(sec-w.at) > wheelSize {
		w.at = sec - wheelSize // one turn reaches all
	}
	slots, ready := 0, 0
	for int32(sec-w.at) > 0 {
		if left <= 0 {
			return 0
		}
		i := w.slots[(w.at+1)&slotMask]
		if i == 0 {
			w.at++
			if slots++; slots%emptySlots == 0 {
				left--
			}
			continue
		}
		if ready == 0 {
			ready = t.fetchSlot(i)
		}
		ready--
		left--
		if t.settle(c, sh, i, sec) {
			t.unschedule(sh, i)
			t.schedule(sh, i, max(c.due(t.mem.at(i).word.Load()), sec+1))
		}
	}
	return max(left, 1)
}
