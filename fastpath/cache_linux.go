package fastpath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/translate"
)

// A Cache is what the program knows: the rules, and the hosts and sessions that workers have
// told it. Its methods use map operations by descriptor and mapped memory alone, which a
// process without any capability may use. They may be called at any time from any goroutine.
type Cache struct {
	maps

	control, rules, pages, identMemory []byte // mapped memory

	mu      sync.Mutex // guards writes to the mapped memory
	inForce atomic.Pointer[inForce]
}

type inForce struct {
	*Rules
	generation uint32
}

// maps are the maps in the order of their descriptors.
type maps struct {
	controlMap, rulesMap, pagesMap, idents, counts *ebpf.Map
	hosts6, hosts4, sessions6, sessions4           *ebpf.Map
}

var mapNames = [...]string{"control", "rules", "pages", "idents", "counts", "hosts6", "hosts4", "sessions6", "sessions4"}

func (m *maps) all() []**ebpf.Map {
	return []**ebpf.Map{&m.controlMap, &m.rulesMap, &m.pagesMap, &m.idents, &m.counts, &m.hosts6, &m.hosts4, &m.sessions6, &m.sessions4}
}

// OpenCache opens the cache of a program that another process has loaded, by the descriptors
// that its Cache.Descriptors returned there, in their order. It closes them, also if it
// fails.
func OpenCache(descriptors []int) (*Cache, error) {
	c := new(Cache)
	all := c.all()
	if len(descriptors) != len(all) {
		for _, fd := range descriptors {
			unix.Close(fd)
		}
		return nil, fmt.Errorf("fastpath: %d descriptors of maps, not %d", len(descriptors), len(all))
	}
	var failed error
	for i, fd := range descriptors {
		m, err := ebpf.NewMapFromFD(fd)
		if err != nil {
			failed = fmt.Errorf("fastpath: map %s: %w", mapNames[i], err)
			continue
		}
		*all[i] = m
	}
	if failed != nil {
		c.Close()
		return nil, failed
	}
	if err := c.mapMemory(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Descriptors returns the descriptors of the maps, to be passed to another process. They
// stay those of the Cache.
func (c *Cache) Descriptors() []int {
	var list []int
	for _, m := range c.all() {
		list = append(list, (*m).FD())
	}
	return list
}

// mapMemory maps what is written without a system call.
func (c *Cache) mapMemory() error {
	for _, x := range []struct {
		m    *ebpf.Map
		to   *[]byte
		name string
		size int
	}{
		{c.controlMap, &c.control, "control", 8},
		{c.rulesMap, &c.rules, "rules", 2 * int(unsafe.Sizeof(rulesData{}))},
		{c.pagesMap, &c.pages, "pages", 2 * maxPages * int(unsafe.Sizeof(page{}))},
		{c.idents, &c.identMemory, "idents", int(unsafe.Sizeof(translate.IdentMemory{}))},
	} {
		size := int(x.m.ValueSize()+7) &^ 7 * int(x.m.MaxEntries())
		if size != x.size {
			return fmt.Errorf("fastpath: map %s has %d bytes, not %d", x.name, size, x.size)
		}
		b, err := unix.Mmap(x.m.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return fmt.Errorf("fastpath: map memory of %s: %w", x.name, err)
		}
		*x.to = b
	}
	return nil
}

// Close releases memory and maps. The program keeps them while it is loaded: call Off before.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inForce.Store(nil)
	for _, b := range []*[]byte{&c.control, &c.rules, &c.pages, &c.identMemory} {
		if *b != nil {
			unix.Munmap(*b)
			*b = nil
		}
	}
	for _, m := range c.all() {
		if *m != nil {
			(*m).Close()
			*m = nil
		}
	}
	return nil
}

// IdentMemory is the memory in which the program counts the identifications of IPv4 packets, to
// be passed to SetIdentMemory of the translator that it works for. It is there until Close.
func (c *Cache) IdentMemory() *translate.IdentMemory {
	return (*translate.IdentMemory)(unsafe.Pointer(unsafe.SliceData(c.identMemory)))
}

// generation is the word that the program reads for each packet.
func (c *Cache) generation() *uint32 { return (*uint32)(unsafe.Pointer(&c.control[0])) }

// Generation returns that of the rules in force, 0 if there are none. Load it before the
// table that an entry is made by.
func (c *Cache) Generation() uint32 {
	if f := c.inForce.Load(); f != nil {
		return f.generation
	}
	return 0
}

// SetRules puts rules in force, and makes all entries void, with one store: no packet after
// it is translated by what was before. start is the time, by CLOCK_MONOTONIC, at which the
// time that workers are given is 0. It returns the generation of entries from now on.
//
// Where the translator gets another table, call Off before and SetRules after that: a worker
// may note what the old table says until its batch ends, but not as of a new generation.
func (c *Cache) SetRules(r *Rules, start time.Duration) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := atomic.LoadUint32(c.last()) + 1
	if next == 0 {
		next = 2 // the slot of 0 is that of 2
	}
	slot := int(next & 1)
	// The program asks again for the generation before it writes: what reads this slot by
	// an older generation gives up.
	d := (*rulesData)(unsafe.Pointer(&c.rules[slot*int(unsafe.Sizeof(rulesData{}))]))
	*d = r.data
	d.generation, d.clockStart = next, uint64(start)
	pages := unsafe.Slice((*page)(unsafe.Pointer(&c.pages[0])), 2*maxPages)[slot*maxPages:]
	copy(pages[:maxPages], r.pages)
	atomic.StoreUint32(c.last(), next)
	c.inForce.Store(&inForce{r, next})
	atomic.StoreUint32(c.generation(), next)
	return next
}

// last is the generation that was given last, also if none is in force.
func (c *Cache) last() *uint32 { return (*uint32)(unsafe.Pointer(&c.control[4])) }

// Off makes the program leave all packets to the translator, from the next one on.
func (c *Cache) Off() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inForce.Store(nil)
	if c.control != nil {
		atomic.StoreUint32(c.generation(), 0)
	}
}

// rulesOf returns the rules of a generation, nil if that has ended.
func (c *Cache) rulesOf(generation uint32) *Rules {
	f := c.inForce.Load()
	if f == nil || f.generation != generation {
		return nil
	}
	return f.Rules
}

// PutHost6 notes that host has addr, by a map or a lease, for packets into the prefix with a
// number: its place in TableConfig.Prefixes, from 1 on. generation is what Generation
// returned before the table was read that says so. A table of an older generation notes
// nothing. An error means that the map is full, or that the kernel has no memory.
func (c *Cache) PutHost6(generation uint32, host [16]byte, pref64 uint8, addr [4]byte) error {
	r := c.rulesOf(generation)
	if r == nil || !r.mayBeHost(host, addr) {
		return nil
	}
	k := host6Key{host, uint32(pref64)}
	v := host6Value{addr, generation, 0}
	return put(c.hosts6, unsafe.Pointer(&k), unsafe.Pointer(&v))
}

// PutHost4 notes that addr leads to host, who sees peers inside the prefix with a number.
func (c *Cache) PutHost4(generation uint32, addr [4]byte, host [16]byte, pref64 uint8) error {
	r := c.rulesOf(generation)
	if r == nil || !r.mayBeHost(host, addr) {
		return nil
	}
	index := r.index(pref64)
	if index < 0 {
		return nil
	}
	v := host4Value{host, generation, 0, uint32(index)}
	return put(c.hosts4, unsafe.Pointer(&addr), unsafe.Pointer(&v))
}

// mayBeHost reports whether a host's mapping holds for all peers.
func (r *Rules) mayBeHost(host [16]byte, addr [4]byte) bool {
	if netip.AddrFrom4(addr) == r.own4 {
		return false // it is the translator's own
	}
	i := r.of(netip.AddrFrom16(host))
	return i < 0 || !r.prefixes[i].checkLoops // such a host has one for some peers alone
}

// PutSession notes both directions of an established session. TCP has to be established
// both ways.
func (c *Cache) PutSession(generation uint32, t6 *translate.Tuple6, t4 *translate.Tuple4) error {
	r := c.rulesOf(generation)
	if r == nil {
		return nil
	}
	index := r.index(t6.Pref64)
	if index < 0 {
		return nil
	}
	k6, k4 := sessionKeys(t6, t4)
	v6 := session6Value{local: k4.local, generation: generation, port: k4.localPort}
	v4 := session4Value{host: k6.host, generation: generation, port: k6.hostPort, pref64: uint16(index)}
	if err := put(c.sessions6, unsafe.Pointer(&k6), unsafe.Pointer(&v6)); err != nil {
		return err
	}
	if err := put(c.sessions4, unsafe.Pointer(&k4), unsafe.Pointer(&v4)); err != nil {
		remove(c.sessions6, unsafe.Pointer(&k6))
		return err
	}
	return nil
}

const (
	protoICMP4 = 1
	protoUDP   = 17
	protoICMP6 = 58
)

func sessionKeys(t6 *translate.Tuple6, t4 *translate.Tuple4) (k6 session6Key, k4 session4Key) {
	binary.BigEndian.PutUint64(k6.host[:], t6.Host.Hi)
	binary.BigEndian.PutUint64(k6.host[8:], t6.Host.Lo)
	binary.BigEndian.PutUint32(k6.remote[:], t6.Remote)
	binary.BigEndian.PutUint16(k6.hostPort[:], t6.HostPort)
	binary.BigEndian.PutUint16(k6.remotePort[:], t6.RemotePort)
	k6.proto, k6.pref64 = t6.Proto, t6.Pref64

	binary.BigEndian.PutUint32(k4.local[:], t4.Local)
	binary.BigEndian.PutUint32(k4.remote[:], t4.Remote)
	binary.BigEndian.PutUint16(k4.localPort[:], t4.LocalPort)
	binary.BigEndian.PutUint16(k4.remotePort[:], t4.RemotePort)
	k4.proto = uint32(t4.Proto)
	switch t6.Proto { // the protocol of each family, whichever the tuples name
	case protoICMP4, protoICMP6:
		k6.proto, k4.proto = protoICMP6, protoICMP4
	}
	return k6, k4
}

// DeleteHost6 removes what PutHost6 noted.
func (c *Cache) DeleteHost6(host [16]byte, pref64 uint8) error {
	k := host6Key{host, uint32(pref64)}
	return remove(c.hosts6, unsafe.Pointer(&k))
}

// DeleteHost4 removes what PutHost4 noted.
func (c *Cache) DeleteHost4(addr [4]byte) error { return remove(c.hosts4, unsafe.Pointer(&addr)) }

// DeleteSession removes both directions of a session. When it returns, a processor may still
// be at work on one packet that it had begun.
func (c *Cache) DeleteSession(t6 *translate.Tuple6, t4 *translate.Tuple4) error {
	k6, k4 := sessionKeys(t6, t4)
	return errors.Join(remove(c.sessions6, unsafe.Pointer(&k6)), remove(c.sessions4, unsafe.Pointer(&k4)))
}

// Use says when an entry of the cache was used last, by CLOCK_MONOTONIC, rounded down to
// 2^30 ns. It is 0 if there is no entry, or no packet has used it. An entry counts also if it
// is void, until Sweep removes it.
type Use time.Duration

func useOf(used uint32, err error) Use {
	if err != nil {
		return 0
	}
	return Use(used) << 30
}

// UsedHost6 says when a packet of a host was translated last to one from addr.
func (c *Cache) UsedHost6(host [16]byte, pref64 uint8, addr [4]byte) Use {
	var v host6Value
	k := host6Key{host, uint32(pref64)}
	err := c.hosts6.Lookup(unsafe.Pointer(&k), unsafe.Pointer(&v))
	if v.addr != addr {
		return 0
	}
	return useOf(v.used, err)
}

// UsedHost4 says when a packet to addr was translated last for a host.
func (c *Cache) UsedHost4(addr [4]byte, host [16]byte) Use {
	var v host4Value
	err := c.hosts4.Lookup(unsafe.Pointer(&addr), unsafe.Pointer(&v))
	if v.host != host {
		return 0
	}
	return useOf(v.used, err)
}

// UsedSession says when packets of a session were translated last, from the host and to it.
func (c *Cache) UsedSession(t6 *translate.Tuple6, t4 *translate.Tuple4) (out, in Use) {
	var v6 session6Value
	var v4 session4Value
	k6, k4 := sessionKeys(t6, t4)
	err6 := c.sessions6.Lookup(unsafe.Pointer(&k6), unsafe.Pointer(&v6))
	err4 := c.sessions4.Lookup(unsafe.Pointer(&k4), unsafe.Pointer(&v4))
	return useOf(v6.used, err6), useOf(v4.used, err4)
}

func put(m *ebpf.Map, key, value unsafe.Pointer) error {
	if err := m.Update(key, value, ebpf.UpdateAny); err != nil {
		return fmt.Errorf("fastpath: insert: %w", err)
	}
	return nil
}

func remove(m *ebpf.Map, key unsafe.Pointer) error {
	if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("fastpath: delete: %w", err)
	}
	return nil
}

// Sweep removes the entries that are void, of rules that are not in force any more, and
// hosts that were last used before since: 0 for none. It takes about half a second per million
// of entries, and may be called while packets pass.
func (c *Cache) Sweep(since Use) (removed int, err error) {
	generation, second := c.Generation(), uint32(since>>30)
	for _, sweep := range []func() (int, error){
		func() (int, error) {
			return sweep[[unsafe.Sizeof(host6Key{})]byte, [unsafe.Sizeof(host6Value{})]byte](c.hosts6, func(v unsafe.Pointer) bool {
				e := (*host6Value)(v)
				return e.generation != generation || e.used < second
			})
		},
		func() (int, error) {
			return sweep[[4]byte, [unsafe.Sizeof(host4Value{})]byte](c.hosts4, func(v unsafe.Pointer) bool {
				e := (*host4Value)(v)
				return e.generation != generation || e.used < second
			})
		},
		func() (int, error) {
			return sweep[[unsafe.Sizeof(session6Key{})]byte, [unsafe.Sizeof(session6Value{})]byte](c.sessions6, func(v unsafe.Pointer) bool {
				return (*session6Value)(v).generation != generation
			})
		},
		func() (int, error) {
			return sweep[[unsafe.Sizeof(session4Key{})]byte, [unsafe.Sizeof(session4Value{})]byte](c.sessions4, func(v unsafe.Pointer) bool {
				return (*session4Value)(v).generation != generation
			})
		},
	} {
		n, err := sweep()
		if removed += n; err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// sweep removes the entries of a map whose value is to go. First it lists them: a map that
// changes meanwhile is listed in part. K and V are bytes, which are copied as they are, and
// not by reflection.
func sweep[K, V any](m *ebpf.Map, goes func(value unsafe.Pointer) bool) (removed int, err error) {
	const batch = 4096
	var (
		cursor ebpf.MapBatchCursor
		keys   = make([]K, batch)
		values = make([]V, batch)
		gone   []K
	)
	for {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return 0, fmt.Errorf("fastpath: list %s: %w", m, err)
		}
		for i := range n {
			if goes(unsafe.Pointer(&values[i])) {
				gone = append(gone, keys[i])
			}
		}
		if err != nil {
			break
		}
	}
	for i := range gone {
		if err := remove(m, unsafe.Pointer(&gone[i])); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}
