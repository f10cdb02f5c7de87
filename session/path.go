package session

import (
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// A Path translates packets of sessions by itself, such as a program in the kernel. It gets
// a session by Delegate, and has it while no packet but those with TCP flags changes its
// state: those have to go by Inbound and Outbound.
//
// All methods are called with the lock of the session's host held. They must return soon,
// and must not call the table.
type Path interface {
	// Begin hands a session over, with what Delegate was called with. It reports false if
	// the path does not take it.
	Begin(f6 *translate.Tuple6, f4 *translate.Tuple4, generation uint32) bool
	// Used returns when a packet of a session was translated last, by the clock of the
	// table. It reports false if that is not known. It is called when the time of a
	// session has run out for want of packets here.
	Used(f6 *translate.Tuple6, f4 *translate.Tuple4) (last time.Duration, ok bool)
	// End takes a session back, which ends or is about to change its state. When it
	// returns, the path translates no further packet of it.
	End(f6 *translate.Tuple6, f4 *translate.Tuple4)
}

// delegated is a flag in count of a session that the path has: see entry.
const delegated = 1 << 29

// Delegate hands the session of a flow over to Config.Path, and reports whether it has it: a
// session of UDP, of ICMP or of an established connection. generation is for the path: that
// of the rules by which the packet was translated that showed the flow, which may not be in
// force any more. Call it again for a session that the path has lost.
func (t *Table) Delegate(f *translate.Tuple6, generation uint32) bool {
	sh := t.shard(f.Host)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	c := t.cfg.Load()
	k, ok := c.key6(f)
	if !ok || c.path == nil {
		return false
	}
	i, w, local := t.s6.get6(t.keys.of6(&k), &k)
	if i == 0 || !stateOf(w).steady() || prefOf(local) != uint64(f.Pref64) {
		return false
	}
	e := t.mem.at(i)
	if f6, f4 := e.flow(); !c.path.Begin(&f6, &f4, generation) {
		return false
	}
	e.count |= delegated
	return true
}

// steady reports whether packets without TCP flags leave a state as it is and start its
// timer again.
func (s state) steady() bool {
	switch s {
	case udpAlive, udpDNS, icmpAlive, established:
		return true
	}
	return false
}

// flow returns the flow of a session as either family sees it.
func (e *entry) flow() (f6 translate.Tuple6, f4 translate.Tuple4) {
	ends, local := e.ends.Load(), e.local.Load()
	set4(&f4, local, ends)
	f6 = translate.Tuple6{
		Host: e.host(), Remote: remoteOf(ends), HostPort: hostPortOf(ends), RemotePort: remotePortOf(ends),
		Proto: f4.Proto, Pref64: uint8(prefOf(local)),
	}
	if protoOf(local) == icmp {
		f6.Proto, f6.RemotePort = protoICMP6, f6.HostPort
	}
	return f6, f4
}

const protoICMP6 = 58

// undelegate takes a session back from the path, if that has it.
func (c *settings) undelegate(e *entry) {
	if e.count&delegated != 0 {
		e.count &^= delegated
		f6, f4 := e.flow()
		c.path.End(&f6, &f4)
	}
}

// usedByPath notes when the path has translated a packet of a session, and reports whether
// that was after the use that is known. w is the word of the session.
func (c *settings) usedByPath(e *entry, w uint64) bool {
	if e.count&delegated == 0 {
		return false
	}
	f6, f4 := e.flow()
	last, ok := c.path.Used(&f6, &f4)
	if sec := second(last); ok && int32(sec-used(w)) > 0 {
		e.word.CompareAndSwap(w, w>>32<<32|uint64(sec))
		return true
	}
	return false
}

// last returns the word of a session, with its last use also by the path.
func (c *settings) last(e *entry) uint64 {
	w := e.word.Load()
	if stateOf(w).steady() && c.usedByPath(e, w) {
		w = e.word.Load()
	}
	return w
}

// ask is last for a session that was found without a lock, when its word was w. It returns
// w if the session has ended.
func (t *Table) ask(e *entry, w uint64) uint64 {
	c := t.cfg.Load()
	if c.path == nil || !stateOf(w).steady() {
		return w
	}
	sh := t.shard(e.host())
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !sameVersion(w, e.word.Load()) {
		return w
	}
	return c.last(e)
}

// Refresh asks the path when it has used the sessions that it has, so that they count as
// used since: for a file, and before the path forgets it. It takes about two microseconds
// for each of them, and locks the host of one at a time.
func (t *Table) Refresh() {
	t.each(aSession, func(_ *shard, _ uint32, e *entry) {
		if w := e.word.Load(); stateOf(w).steady() {
			t.cfg.Load().usedByPath(e, w)
		}
	})
}
