package pool

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// The file of leases is tayga's dynamic.map: a lease a line, of IPv4 address,
// TAB, IPv6 address, TAB and the Unix time of last use. Words that begin with
// '#' start a comment.

// maxLine is the longest line that tayga reads, in bytes without the line end.
const maxLine = 510

// maxAhead is how far a lease's time may lie in the future, in seconds, and
// still be taken as "now": clocks get corrected while a program restarts.
const maxAhead = 300

// A LineError says why Load ignored a line.
type LineError struct {
	Line int    // counted from 1
	Text string // the line, cut to 80 bytes
	Err  error
	// Lease: the line is a lease, which does not fit this pool or a later line.
	// Otherwise it is invalid.
	Lease bool
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v: %q", e.Line, e.Err, e.Text) }

// Unwrap returns the cause.
func (e *LineError) Unwrap() error { return e.Err }

// record is a valid line.
type record struct {
	host [16]byte
	addr uint32
	line int32
	time int64 // Unix seconds, as written
}

func (r *record) error(err error) *LineError {
	return &LineError{int(r.line), fmt.Sprintf("%s\t%s\t%d", bitsAddr(r.addr), netip.AddrFrom16(r.host), r.time), err, true}
}

// Load adds the leases in a dynamic.map, as tayga or Save wrote it. A lease that
// was used less than Config.LeaseTime ago is held at once, the others are dormant; a
// time more than five minutes ahead of the last Tick makes a lease dormant, too,
// since nothing is known of its age. Call it before there is traffic: a lease
// that the pool has already is not replaced.
//
// A line is ignored if it is invalid, if its address cannot be leased or its host may not
// lease, or if a line for the same address or host has a later time. Each ignored line is
// reported to bad, if not nil, in no particular order; the others are used. check, if not
// nil, may reject a lease for a reason of the caller's by returning it. Neither may call
// methods that change the pool.
//
// Memory is bounded by the pool, not by the file. In a file with far more lines than the
// pool has addresses, a line may be ignored for a later one that is then ignored itself.
//
// Load returns the number of leases added. An error comes from r; what was read
// before it is kept.
func (p *Pool) Load(r io.Reader, check func(Lease) error, bad func(*LineError)) (n int, err error) {
	if bad == nil {
		bad = func(*LineError) {}
	}
	p.upkeep.Lock()
	defer p.upkeep.Unlock()
	at := p.clock.reading(&p.now)
	var records []record
	most := 2*p.size() + spare
	err = eachLine(r, func(line int, text []byte, err error) {
		rec, err := parseLine(line, text, err)
		understood := err == nil
		if understood && rec.line > 0 {
			err = p.invalid(&rec, at, check)
		}
		switch {
		case err != nil:
			bad(&LineError{line, string(text[:min(len(text), 80)]), err, understood})
		case rec.line > 0:
			if records = append(records, rec); uint64(len(records)) == most {
				records = latest(records, bad)
			}
		}
	})

	n, ignored := p.takeAll(records, at)
	for _, r := range ignored {
		bad(r.error(r.err))
	}
	if err != nil {
		err = fmt.Errorf("pool: read leases: %w", err)
	}
	return n, err
}

var errLong = fmt.Errorf("longer than %d bytes", maxLine)

// eachLine calls f for each line, without its end. A line that is too long comes
// cut, with an error.
func eachLine(r io.Reader, f func(line int, text []byte, err error)) error {
	in := bufio.NewReaderSize(r, maxLine+2)
	for line := 1; ; line++ {
		text, err := in.ReadSlice('\n')
		var long error
		if err == bufio.ErrBufferFull {
			long = errLong
			text = bytes.Clone(text)
			for err == bufio.ErrBufferFull {
				_, err = in.ReadSlice('\n')
			}
		}
		if err != nil && err != io.EOF {
			return err // the rest of the line is unknown
		}
		text = bytes.TrimRight(text, "\r\n")
		if len(text) > maxLine {
			long = errLong
		}
		f(line, text, long) // an empty one after the last line end does no harm
		if err == io.EOF {
			return nil
		}
	}
}

// parseLine reads a line. One without a lease gives a record without a line
// number.
func parseLine(line int, text []byte, err error) (rec record, _ error) {
	if err != nil {
		return rec, err
	}
	words := bytes.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' || r == '\r' })
	if i := slices.IndexFunc(words, func(w []byte) bool { return w[0] == '#' }); i >= 0 {
		words = words[:i]
	}
	if len(words) == 0 {
		return rec, nil
	}
	if len(words) != 3 {
		return rec, fmt.Errorf("%d words, want address, host and time", len(words))
	}
	addr, err := netip.ParseAddr(string(words[0]))
	if err != nil || !addr.Is4() {
		return rec, errors.New("not an IPv4 address")
	}
	host, err := netip.ParseAddr(string(words[1]))
	if err != nil || !host.Is6() || host.Zone() != "" {
		return rec, errors.New("not an IPv6 address")
	}
	if !canBe(host) {
		return rec, errors.New("not the address of a host")
	}
	t, err := strconv.ParseUint(string(words[2]), 10, 63)
	if err != nil || t == 0 {
		return rec, errors.New("not a time in seconds")
	}
	return record{host.As16(), addrBits(addr), int32(line), int64(t)}, nil
}

// invalid returns why a lease is invalid, regardless of the other lines.
func (p *Pool) invalid(rec *record, at reading, check func(Lease) error) error {
	i, off, ok := p.locate(rec.addr)
	switch {
	case !ok:
		return errors.New("address is not in the pool")
	case p.reserved[i].has(off):
		return errors.New("address is reserved")
	case !p.mayLease(netip.AddrFrom16(rec.host)):
		return errors.New("host is not among the clients")
	case check != nil:
		return check(Lease{
			Host: netip.AddrFrom16(rec.host),
			Addr: bitsAddr(rec.addr),
			Used: time.Unix(rec.time, 0),
			Held: p.age(rec.time, at) < p.leaseTime,
		})
	}
	return nil
}

// age returns the age of a lease by the time in its line, in seconds, at most
// Config.Retention.
func (p *Pool) age(t int64, at reading) uint32 {
	if t > at.wall+maxAhead {
		return p.leaseTime
	}
	return uint32(max(0, min(at.wall-t, int64(p.retention))))
}

// An ignoredRecord is a record that is ignored, and why.
type ignoredRecord struct {
	record
	err error
}

var (
	errAddrTaken = errors.New("address has a later lease")
	errHostTaken = errors.New("host has a later lease")
)

func latestFirst(a, b record) int { return cmp.Compare(b.time, a.time) }

// spare is how many lines Load keeps beyond two for each address.
const spare = 4096

// latest leaves one record for each address and host, the latest, and reports
// the others. A file may be of any size, but no more of it is kept in memory than the pool
// has addresses for.
func latest(records []record, bad func(*LineError)) []record {
	slices.SortStableFunc(records, latestFirst)
	addrs, hosts := make(map[uint32]bool), make(map[[16]byte]bool)
	kept := records[:0]
	for _, r := range records {
		switch {
		case addrs[r.addr]:
			bad(r.error(errAddrTaken))
		case hosts[r.host]:
			bad(r.error(errHostTaken))
		default:
			addrs[r.addr], hosts[r.host] = true, true
			kept = append(kept, r)
		}
	}
	return kept
}

// takeAll begins the leases of all lines except those that a later one replaces. It keeps
// the lock throughout: half a second for a million leases, before there is traffic.
func (p *Pool) takeAll(records []record, at reading) (n int, ignored []ignoredRecord) {
	slices.SortStableFunc(records, latestFirst)
	p.mu.Lock()
	defer p.mu.Unlock()
	remembered := p.dormant.Keys()
	known := len(remembered)
	for i := range records {
		switch state, err := p.take(&records[i], at); {
		case err != nil:
			ignored = append(ignored, ignoredRecord{records[i], err})
			continue
		case state == dormant:
			remembered = append(remembered, records[i].addr)
		}
		n++
	}
	slices.Reverse(remembered[known:]) // earliest use first, as the others
	p.remember(remembered)
	return n, ignored
}

// take begins the lease of a line and returns its state. If the quota of the host's prefix
// is used up, the lease is dormant.
func (p *Pool) take(rec *record, at reading) (state uint64, err error) {
	if p.entryAt(rec.addr) != nil {
		return state, errAddrTaken
	}
	if p.find(&rec.host) != nil {
		return state, errHostTaken
	}
	state, age := held, p.age(rec.time, at)
	if age >= p.leaseTime || !p.quotaLeft(rec.host) {
		state, age = dormant, max(age, p.leaseTime)
	}
	p.occupy(rec.addr)
	p.tell(Loaded, p.place(rec.host, rec.addr, state, at.now-age))
	return state, nil
}

// remember makes p.dormant hold these addresses, by time of last use; those
// used in the same second stay in the order given.
func (p *Pool) remember(addrs []uint32) {
	slices.SortStableFunc(addrs, func(a, b uint32) int {
		return cmp.Compare(uint32(p.entryAt(a).word.Load()), uint32(p.entryAt(b).word.Load()))
	})
	p.room.Add(int64(len(addrs) - p.dormant.Len()))
	p.dormant.Purge()
	for _, a := range addrs {
		p.dormant.Add(a, struct{}{})
	}
}

// Save writes the leases as a dynamic.map: held ones first, then dormant ones,
// latest use first. It takes no lock; see All for what that means to leases
// that change meanwhile.
func (p *Pool) Save(w io.Writer) error {
	type item struct {
		e    *entry
		word uint64
	}
	at := p.clock.reading(&p.now)
	var items []item
	p.each(func(e *entry, w uint64) bool {
		items = append(items, item{e, w})
		return true
	})
	slices.SortFunc(items, func(a, b item) int {
		return cmp.Or(
			cmp.Compare(a.word>>32, b.word>>32), // held < dormant
			cmp.Compare(uint32(b.word), uint32(a.word)),
			cmp.Compare(b.e.addr, a.e.addr)) // Expire has it the other way round
	})

	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "### Addresses leased by a NAT64 pool: IPv4 address, IPv6 host, Unix time of last use.\n")
	fmt.Fprintf(out, "### Read when the translator starts and replaced while it runs.\n")
	fmt.Fprintf(out, "### Written: %s\n\n", time.Unix(at.wall, 0).UTC().Format(time.ANSIC))
	var line []byte
	for _, it := range items {
		line = bitsAddr(it.e.addr).AppendTo(line[:0])
		line = append(line, '\t')
		line = netip.AddrFrom16(it.e.host).AppendTo(line)
		line = append(line, '\t')
		// A clock at 1970 must not write a time that no reader accepts.
		line = strconv.AppendInt(line, max(1, at.unix(uint32(it.word))), 10)
		line = append(line, '\n')
		out.Write(line)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("pool: write leases: %w", err)
	}
	return nil
}
