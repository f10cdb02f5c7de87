package session

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// A saved table is a magic and blocks of one size, so that a damaged block, or a last one
// that is cut, costs only itself. A block is a checksum of what follows, the number of its
// records, the records, and zeros. Numbers are big-endian. A record is a session:
//
//	 0  host        16  remote address  20  shared address
//	24  host's port 26  remote port     28  shared port
//	30  protocol, of the IPv4 header    31  state
//	32  number of the prefix            33  1 if it was opened from IPv4
//	34  0           36  seconds until its state ends without a packet
const (
	magic     = "steppe-sessions1"
	blockSize = 4096
	recordLen = 40
	perBlock  = (blockSize - 8) / recordLen
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A record is a saved session.
type record struct {
	key     key
	state   state
	side    int
	seconds uint32
}

func (r *record) put(b []byte) {
	be := binary.BigEndian
	be.PutUint64(b, r.key.host.Hi)
	be.PutUint64(b[8:], r.key.host.Lo)
	be.PutUint32(b[16:], remoteOf(r.key.ends))
	be.PutUint32(b[20:], addrOf(r.key.local))
	be.PutUint16(b[24:], hostPortOf(r.key.ends))
	be.PutUint16(b[26:], remotePortOf(r.key.ends))
	be.PutUint16(b[28:], portOf(r.key.local))
	b[30], b[31], b[32], b[33] = header(protoOf(r.key.local)), byte(r.state), byte(prefOf(r.key.local)), byte(r.side)
	be.PutUint16(b[34:], 0)
	be.PutUint32(b[36:], r.seconds)
}

// get reads a record for the configuration c, and reports false if that does not allow it.
func (c *settings) get(b []byte) (r record, ok bool) {
	be := binary.BigEndian
	proto, pref64 := number(b[30]), b[32]
	r.state, r.side, r.seconds = state(b[31]), int(b[33]), be.Uint32(b[36:])
	if proto == 0 || pref64 >= translate.MaxPref64 || r.side > from4 || !r.state.of(proto) {
		return r, false
	}
	r.seconds = min(r.seconds, c.timeout[r.state]) // which may be shorter than it was
	group := uint64(c.group[pref64])
	r.key = key{
		host:  translate.Addr6{Hi: be.Uint64(b), Lo: be.Uint64(b[8:])},
		ends:  ends(be.Uint32(b[16:]), be.Uint16(b[26:]), be.Uint16(b[24:])),
		local: local(be.Uint32(b[20:]), be.Uint16(b[28:]), meta(aSession, proto, group, uint64(pref64))),
	}
	s := c.find(addrOf(r.key.local))
	return r, s != nil && uint64(s.group) == group && canBe(r.key.host) && c.isClient(r.key.host) &&
		(proto != icmp || remotePortOf(r.key.ends) == 0)
}

// of reports whether a session of a protocol can be in a state.
func (s state) of(proto uint64) bool {
	switch proto {
	case tcp:
		return s >= v6Init && s < states
	case udp:
		return s == udpAlive || s == udpDNS
	}
	return s == icmpAlive
}

// Save writes the sessions, and so the bindings that are not static, for Load. Packets pass
// meanwhile; a session that exists during the whole call is saved once.
func (t *Table) Save(w io.Writer, now time.Duration) error {
	if _, err := io.WriteString(w, magic); err != nil {
		return err
	}
	var b [blockSize]byte
	n, sec := 0, second(now)
	flush := func() error {
		clear(b[8+n*recordLen:])
		binary.BigEndian.PutUint32(b[4:], uint32(n))
		binary.BigEndian.PutUint32(b[:], crc32.Checksum(b[4:], castagnoli))
		n = 0
		_, err := w.Write(b[:])
		return err
	}
	for i := range t.mem.size() {
		r, ok := t.saved(i, sec)
		if !ok {
			continue
		}
		r.put(b[8+n*recordLen:])
		if n++; n == perBlock {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if n > 0 {
		return flush()
	}
	return nil
}

// saved returns the record of an entry, and reports false if it is no session that lives.
func (t *Table) saved(i, sec uint32) (r record, ok bool) {
	e := t.mem.at(i)
	w := e.word.Load()
	if stateOf(w) == dead || kindOf(e.local.Load()) != aSession {
		return r, false
	}
	sh := t.shard(e.host())
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !sameVersion(w, e.word.Load()) {
		return r, false // it has ended, and what it is now has begun meanwhile
	}
	w = e.word.Load()
	c := t.cfg.Load()
	if c.over(w, sec) {
		return r, false
	}
	s, idle := stateOf(w), max(int32(sec-used(w)), 0)
	if s == established && idle > int32(c.timeout[s]) {
		s, idle = trans, idle-int32(c.timeout[s]) // as settle does
	}
	r = record{key: key{e.host(), e.ends.Load(), e.local.Load()}, state: s, seconds: c.timeout[s] - uint32(idle)}
	if e.count&inbound != 0 {
		r.side = from4
	}
	return r, true
}

// Loaded says what Load has done.
type Loaded struct {
	Sessions int // that go on
	Dropped  int // that the configuration does not allow, a limit denies, or a session that exists rules out
	Damaged  int // blocks that were not read, or 1 if the file is none of Save's
}

// Load continues sessions that Save has saved, with the time that they had left. It is
// called with the configuration in force and before packets come, but may be called at any
// time. Each byte may be hostile: what is damaged is skipped and counted, what this
// configuration would not have made is dropped and counted. The error is that of r.
func (t *Table) Load(r io.Reader, now time.Duration) (l Loaded, err error) {
	t.upkeep.Lock()
	defer t.upkeep.Unlock()
	var b [blockSize]byte
	if _, err := io.ReadFull(r, b[:len(magic)]); err == io.EOF || err == io.ErrUnexpectedEOF || err == nil && string(b[:len(magic)]) != magic {
		return Loaded{Damaged: 1}, nil
	} else if err != nil {
		return l, err
	}
	for range maxSessions/perBlock + 1 {
		switch _, err := io.ReadFull(r, b[:]); {
		case err == io.EOF:
			return l, nil
		case err == io.ErrUnexpectedEOF:
			l.Damaged++
			return l, nil
		case err != nil:
			return l, err
		}
		n := binary.BigEndian.Uint32(b[4:])
		if n > perBlock || binary.BigEndian.Uint32(b[:]) != crc32.Checksum(b[4:], castagnoli) {
			l.Damaged++
			continue
		}
		for i := range int(n) {
			if t.restore(b[8+i*recordLen:][:recordLen], second(now)) {
				l.Sessions++
			} else {
				l.Dropped++
			}
		}
	}
	return l, nil
}

// restore makes the session of a record, and reports false if it may not be.
func (t *Table) restore(b []byte, sec uint32) bool {
	c := t.cfg.Load()
	r, ok := c.get(b)
	if !ok {
		return false
	}
	sh := t.shard(r.key.host)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if c != t.cfg.Load() {
		return false // only Update does that, and waits
	}
	find := r.key
	find.local &= local6
	if i, _, _ := t.s6.get6(t.keys.of6(&find), &find); i != 0 || t.reserve(c, r.state, r.side) != noLimit {
		return false
	}
	if !t.rebuild(c, sh, &r, sec) {
		t.unreserve(r.state, r.side)
		return false
	}
	sh.loaded++
	return true
}

// rebuild is build for a session whose address and port are known.
func (t *Table) rebuild(c *settings, sh *shard, r *record, sec uint32) bool {
	k := &r.key
	b := t.binding(k)
	if b != 0 && t.mem.at(b).local.Load()>>16 != k.local>>16 {
		return false // the host's port has another
	}
	h := t.host(c, sh, k, b)
	if h == 0 {
		return false
	}
	host := t.mem.at(h)
	sub := t.subs.at(host.parent)
	done := false
	if sub.reserve(c, r.state, r.side) == noLimit {
		if b == 0 {
			b = t.rebind(c, sh, h, k)
		}
		if b != 0 {
			idle := c.timeout[r.state] - r.seconds
			done = t.add(c, sh, k, b, r.state, r.side, sec-idle) != 0
		}
		if !done {
			sub.unreserve(r.state, r.side)
		}
	}
	switch {
	case done:
	case b != 0:
		t.endUnused(c, sh, b, sec)
	case host.count == 0:
		t.endHost(c, sh, h)
	}
	return done
}

// rebind is bind with the address and port that the words of k have. It returns 0 if they
// are not to be had.
func (t *Table) rebind(c *settings, sh *shard, h uint32, k *key) uint32 {
	host, proto, port := t.mem.at(h), protoOf(k.local), portOf(k.local)
	a, sub := c.address(addrOf(k.local)), t.subs.at(host.parent)
	if paired := addrOf(host.local.Load()); paired != 0 && paired != a.ip {
		return 0
	}
	if !a.claim(proto, port) {
		return 0
	}
	if c.block != 0 && !t.restoreBlock(c, sub, a, port) {
		a.unclaim(proto, port)
		return 0
	}
	i := t.alloc(sh)
	if i == 0 {
		if c.block != 0 {
			t.releaseBlocked(c, sub, a.ip, port)
		}
		a.unclaim(proto, port)
		return 0
	}
	t.pair(host, a)
	sub.bindings[proto].Add(1)
	t.link(c, sh, i, h, key{k.host, k.ends & 0xffff, k.local&^(3<<14) | aBinding<<14}, alive)
	return i
}
