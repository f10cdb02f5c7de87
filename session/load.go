package session

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// Loaded says what Load has done.
type Loaded struct {
	Sessions int // that go on
	Ended    int // whose time ran out meanwhile
	Dropped  int // that the configuration does not allow, a limit denies, or a session that exists or a later one rules out
	Damaged  int // blocks that were not read
}

// maxFile is the size of the largest file that a Journal writes: all places in use, and
// then all of them again before it is written anew.
const maxFile = 3 * (maxSlabs * slabSize / perBlock) * blockSize

// Errors of Load for a file that was not read.
var (
	ErrTooLarge = errors.New("session: larger than any file of sessions")
	ErrFormat   = errors.New("session: no file of sessions, or of another version")
)

// Load continues sessions that Save or a Journal has saved, with the time that they had
// left, less the time that has passed since. After a Journal that was not closed, sessions
// count as used when it was last written to. size is that of the file. Load is called with
// the configuration in force and before packets come, but may be called at any time. Each
// byte may be hostile: what is damaged is skipped and counted, what this configuration
// would not have made is dropped and counted. Errors other than ErrTooLarge and ErrFormat are
// those of r; sessions may have been loaded before.
func (t *Table) Load(r io.ReaderAt, size int64, at Moment) (Loaded, error) {
	t.upkeep.Lock()
	defer t.upkeep.Unlock()
	l := loader{t: t, c: t.cfg.Load(), r: r, at: at, seen: make([]*[slabSize / 64]uint64, maxSlabs)}
	if size > maxFile {
		return l.Loaded, ErrTooLarge
	}
	blocks := size / blockSize
	if size%blockSize != 0 {
		l.Damaged++
	}
	if found, err := l.find(blocks); err != nil {
		return l.Loaded, err
	} else if !found {
		return Loaded{}, ErrFormat
	}
	// The last record of a place comes first, and of two sessions that cannot both be
	// the one that is newer.
	for i := blocks - 1; i >= 0; i-- {
		ok, err := l.read(i)
		switch {
		case err != nil:
			return l.Loaded, err
		case !ok:
			l.Damaged++
		default:
			l.take()
		}
	}
	return l.Loaded, nil
}

// A loader reads a file from its end.
type loader struct {
	Loaded
	t  *Table
	c  *settings
	r  io.ReaderAt
	at Moment

	sameBoot bool
	pref64   [translate.MaxPref64]int // the numbers that those of the file have now, or -1
	last     uint32                   // seconds since the last valid block was written
	marked   bool                     // last is known
	seen     []*[slabSize / 64]uint64 // places, by slab

	block fileBlock
}

// read reads a block, and reports whether it is valid.
func (l *loader) read(i int64) (bool, error) {
	n, err := l.r.ReadAt(l.block[:], i*blockSize)
	if n < blockSize {
		if err == io.EOF {
			err = nil // the file has become shorter
		}
		return false, err
	}
	return l.block.valid(), nil
}

// find reads the first head that is valid: all of a file have the same boot and prefixes.
func (l *loader) find(blocks int64) (bool, error) {
	for i := range blocks {
		ok, err := l.read(i)
		if err != nil {
			return false, err
		}
		if ok && l.block.kind() == kindHead {
			l.sameBoot = l.block.boot() == l.at.Boot && l.at.Boot != [16]byte{}
			l.number()
			return true, nil
		}
	}
	return false, nil
}

// number finds out which numbers the prefixes of the file have now.
func (l *loader) number() {
	n := l.block.records()
	for i := range l.pref64 {
		l.pref64[i] = -1
		switch {
		case i == 0 || n == 0 && len(l.c.prefixes) == 0:
			l.pref64[i] = i
		case i <= n:
			b := l.block.prefix(i - 1)
			is := netip.PrefixFrom(netip.AddrFrom16([16]byte(b)), int(b[16]))
			if k := slices.Index(l.c.prefixes, is); k >= 0 {
				l.pref64[i] = k + 1
			}
		}
	}
}

// age returns how many seconds ago the block was written. A clock that was set back has not
// gone on: no session gets more time than it had.
func (l *loader) age() uint32 {
	s := l.at.Wall.Unix() - l.block.wall()
	if l.sameBoot {
		s = int64(l.at.Uptime/time.Second) - l.block.uptime()
	}
	return uint32(min(max(s, 0), math.MaxInt32/4))
}

// take makes the sessions of the block.
func (l *loader) take() {
	age := l.age()
	if !l.marked {
		l.last, l.marked = age, true
	}
	if l.block.kind() != kindRecords {
		return
	}
	for i := l.block.records() - 1; i >= 0; i-- {
		b := l.block.record(i)
		if !l.first(binary.BigEndian.Uint32(b[40:])) || state(b[31]) == dead {
			continue
		}
		r, ok := l.get(b)
		if !ok {
			l.Dropped++
			continue
		}
		idle := l.c.timeout[r.state] - r.seconds + age
		if r.state.renewed() && !l.block.exact() {
			idle = l.last
		}
		switch {
		case !r.ages(l.c, idle):
			l.Ended++
		case l.t.restore(l.c, &r, second(l.at.Now)):
			l.Sessions++
		default:
			l.Dropped++
		}
	}
}

// ages sets the time that a session has left which was used idle seconds ago, and reports
// false if it has none. It changes the state as settle does.
func (r *record) ages(c *settings, idle uint32) bool {
	if r.state == established && idle > c.timeout[established] {
		r.state, idle = trans, idle-c.timeout[established]
	}
	if idle > c.timeout[r.state] {
		return false
	}
	r.seconds = c.timeout[r.state] - idle
	return true
}

// first reports whether a place was not seen before. One that no table has was.
func (l *loader) first(place uint32) bool {
	if place >= maxSlabs*slabSize {
		return false
	}
	s := l.seen[place/slabSize]
	if s == nil {
		s = new([slabSize / 64]uint64)
		l.seen[place/slabSize] = s
	}
	word, bit := &s[place%slabSize/64], uint64(1)<<(place%64)
	was := *word&bit != 0
	*word |= bit
	return !was
}

// get reads a record, and reports false if the configuration does not allow it.
func (l *loader) get(b []byte) (r record, ok bool) {
	be, c := binary.BigEndian, l.c
	proto := number(b[30])
	r.state, r.side, r.seconds = state(b[31]), int(b[33]), be.Uint32(b[36:])
	if proto == 0 || b[32] >= translate.MaxPref64 || r.side > from4 || !r.state.of(proto) {
		return r, false
	}
	pref64 := l.pref64[b[32]]
	if pref64 < 0 {
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

// restore makes the session of a record, and reports false if it may not be.
func (t *Table) restore(c *settings, r *record, sec uint32) bool {
	t.touch(&r.key)
	sh := t.shard(r.key.host)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	find := r.key
	find.local &= local6
	if i, _, _ := t.s6.get6(t.keys.of6(&find), &find); i != 0 || t.reserve(c, r.state, r.side) != noLimit {
		return false
	}
	if !t.rebuild(c, sh, r, sec) {
		t.unreserve(r.state, r.side)
		return false
	}
	sh.loaded++
	return true
}

// touch reads the buckets of a session, its binding and its host.
func (t *Table) touch(k *key) {
	bk, hk := bindingKey(k), hostKey(k)
	b4 := key{local: k.local&local4&^(3<<14) | aBinding<<14}
	s6, s4 := *k, key{ends: k.ends & ends4, local: k.local & local4}
	s6.local &= local6
	t.s6.touch(t.keys.of6(&s6))
	t.b6.touch(t.keys.of6(&bk))
	t.b6.touch(t.keys.of6(&hk))
	t.s4.touch(t.keys.of4(&s4))
	t.b4.touch(t.keys.of4(&b4))
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
	if int64(sub.bindings[proto].Load()) >= c.share[groupOf(k.local)][proto] {
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
