package session

import (
	"bufio"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net/netip"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// A saved file is a log of blocks of one size, so that a damaged block, or a last one that
// is cut, costs only itself. Numbers are big-endian. A block is
//
//	 0  CRC-32C of what follows  4  kind  5  flags  6  number of its records
//	 8  wall clock               16 clock of the boot, when it was written, in seconds
//	24  what its kind says, then zeros
//
// A block of kind head is the first of what is written at once: a magic, the identity of
// the boot, and the prefixes by which sessions number them: 16 bytes and a length each,
// all 0 if unknown. A head alone says that the sessions were there at its time.
//
// A block of kind records has records of 44 bytes. Each is the state of a place in the
// table's memory. The last record of a place is valid; the ones before are void.
//
//	 0  host        16  remote address  20  shared address
//	24  host's port 26  remote port     28  shared port
//	30  protocol, of the IPv4 header    31  state, 0 if there is no session any more
//	32  number of the prefix            33  1 if it was opened from IPv4
//	34  0           36  seconds until its state ends without a packet
//	40  place
//
// The seconds are valid if the block has the flag exact, or if no packet starts the timer of
// the state again. Sessions of other states may have been used until the last block was
// written.
//
// The magic changes with the format, which includes the numbers of states.
const (
	magic     = "steppe-sessions2"
	blockSize = BlockSize
	blockHead = 24
	recordLen = 44
	perBlock  = (blockSize - blockHead) / recordLen

	kindHead    = 1
	kindRecords = 2
	flagExact   = 1

	headBoot     = blockHead + len(magic)
	headPrefixes = headBoot + 16
	prefixLen    = 17
)

// BlockSize is the size in bytes of the blocks that a saved file consists of.
const BlockSize = 4096

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Moment is a time, by the clock that all calls of a table have and by those that go on
// while no process runs.
type Moment struct {
	Now time.Duration

	Wall time.Time
	// Boot identifies the boot of the machine, and Uptime is the time since, with
	// those during which it slept. While Boot is the same, Uptime counts, since Wall
	// can be set. A zero Boot is unknown.
	Boot   [16]byte
	Uptime time.Duration
}

// A fileBlock is a block that is written or read.
type fileBlock [blockSize]byte

func (b *fileBlock) kind() byte          { return b[4] }
func (b *fileBlock) exact() bool         { return b[5]&flagExact != 0 }
func (b *fileBlock) records() int        { return int(binary.BigEndian.Uint16(b[6:])) }
func (b *fileBlock) wall() int64         { return int64(binary.BigEndian.Uint64(b[8:])) }
func (b *fileBlock) uptime() int64       { return int64(binary.BigEndian.Uint64(b[16:])) }
func (b *fileBlock) record(i int) []byte { return b[blockHead+i*recordLen:][:recordLen] }
func (b *fileBlock) sum() uint32         { return crc32.Checksum(b[4:], castagnoli) }
func (b *fileBlock) boot() (id [16]byte) { return [16]byte(b[headBoot:]) }
func (b *fileBlock) prefix(i int) []byte { return b[headPrefixes+i*prefixLen:][:prefixLen] }

// valid reports whether a block is as it was written. Its records may still be anything.
func (b *fileBlock) valid() bool {
	switch n := b.records(); {
	case binary.BigEndian.Uint32(b[:]) != b.sum():
		return false
	case b.kind() == kindHead:
		return string(b[blockHead:headBoot]) == magic && n < translate.MaxPref64
	default:
		return b.kind() == kindRecords && n <= perBlock
	}
}

// A record is a saved session.
type record struct {
	key     key
	state   state // dead: that of its place has ended
	side    int
	seconds uint32
	place   uint32
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
	be.PutUint32(b[40:], r.place)
}

// of reports whether a session of a protocol can be in a state.
func (s state) of(proto uint64) bool {
	return s >= udpAlive && s < states && s.proto() == proto
}

// renewed reports whether a packet can start the timer of a state again and leave it.
func (s state) renewed() bool {
	for side := range actions {
		for _, a := range actions[side][s&15] {
			if a == action(s)|refresh {
				return true
			}
		}
	}
	return false
}

// saved returns the record of an entry and the upper half of its word, and reports false
// if it is no session that lives. exact says that the time counts which the session has left.
func (t *Table) saved(i, sec uint32, exact bool) (r record, word uint32, ok bool) {
	e := t.mem.at(i)
	w := e.word.Load()
	if stateOf(w) == dead || kindOf(e.local.Load()) != aSession {
		return r, 0, false
	}
	sh := t.shard(e.host())
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !sameVersion(w, e.word.Load()) {
		return r, 0, false // it has ended, and what it is now has begun meanwhile
	}
	w = e.word.Load()
	c := t.cfg.Load()
	if exact || int32(sec-c.due(w)) >= 0 {
		w = c.last(e)
	}
	if c.over(w, sec) {
		return r, 0, false
	}
	s, idle := stateOf(w), max(int32(sec-used(w)), 0)
	if s == established && idle > int32(c.timeout[s]) {
		s, idle = trans, idle-int32(c.timeout[s]) // as settle does
	}
	r = record{key: key{e.host(), e.ends.Load(), e.local.Load()}, state: s, seconds: c.timeout[s] - uint32(idle), place: i}
	if e.count&inbound != 0 {
		r.side = from4
	}
	return r, uint32(w >> 32), true
}

// A writer writes blocks.
type writer struct {
	to    *bufio.Writer
	exact bool
	at    Moment
	bytes int64

	begun bool // the head is written
	n     int  // records of block
	block fileBlock
}

// head writes the first block of what is written at once.
func (w *writer) head(prefixes []netip.Prefix) error {
	w.begun = true
	b := &w.block
	copy(b[blockHead:], magic)
	copy(b[headBoot:], w.at.Boot[:])
	for i, p := range prefixes {
		to, a := b.prefix(i), p.Addr().As16()
		copy(to, a[:])
		to[16] = byte(p.Bits())
	}
	return w.flush(kindHead, len(prefixes))
}

// add writes a record, soon.
func (w *writer) add(r *record) error {
	r.put(w.block.record(w.n))
	if w.n++; w.n == perBlock {
		return w.flush(kindRecords, w.n)
	}
	return nil
}

// end writes the last block.
func (w *writer) end() error {
	if w.n > 0 {
		if err := w.flush(kindRecords, w.n); err != nil {
			return err
		}
	}
	return w.to.Flush()
}

func (w *writer) flush(kind byte, n int) error {
	b, be := &w.block, binary.BigEndian
	b[4], b[5] = kind, 0
	if w.exact {
		b[5] = flagExact
	}
	be.PutUint16(b[6:], uint16(n))
	be.PutUint64(b[8:], uint64(w.at.Wall.Unix()))
	be.PutUint64(b[16:], uint64(w.at.Uptime/time.Second))
	be.PutUint32(b[:], b.sum())
	_, err := w.to.Write(b[:])
	w.bytes += blockSize
	w.n = 0
	clear(b[:])
	return err
}

// Save writes the sessions, and so the bindings that are not static, with the time that they
// have left, for Load. Packets pass meanwhile; a session that exists during the whole call
// is saved once.
func (t *Table) Save(w io.Writer, at Moment) error {
	return NewJournal(t).Close(w, at)
}
