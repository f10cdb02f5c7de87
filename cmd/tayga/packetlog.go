package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

// Kinds of events in the order in which they give a line its name.
var logKinds = [...]struct {
	kind taygaconf.Log
	name string
}{
	{taygaconf.LogSelf, "SELF"},
	{taygaconf.LogDrop, "DROP"},
	{taygaconf.LogReject, "REJECT"},
	{taygaconf.LogICMP, "ICMP"},
	{taygaconf.LogDyn, "DYN"},
}

// linesPerSecond is how many lines of one kind are written in a second. A host that
// sends the packets must not be able to fill the disk.
const linesPerSecond = 50

// A limiter lets a number of lines through from one refill to the next and
// counts the others. It is asked before a line is made.
type limiter struct {
	left       atomic.Int64
	suppressed atomic.Uint64
}

func (l *limiter) allow() bool {
	if l.left.Load() > 0 && l.left.Add(-1) >= 0 {
		return true
	}
	l.suppressed.Add(1)
	return false
}

// refill is called once a second. It returns how many lines were kept back
// since the last time.
func (l *limiter) refill() uint64 {
	l.left.Store(linesPerSecond)
	return l.suppressed.Swap(0)
}

// A packetLog writes the lines that the directive log asks for. Its methods may
// be called by all workers at once.
type packetLog struct {
	kinds  taygaconf.Log
	log    *logger
	limits [len(logKinds)]limiter
}

func newPacketLog(kinds taygaconf.Log, log *logger) *packetLog {
	l := &packetLog{kinds: kinds, log: log}
	l.refill()
	return l
}

// refill lets lines through again and says how many there would have been.
func (l *packetLog) refill() {
	for i := range l.limits {
		if n := l.limits[i].refill(); n > 0 {
			l.log.noticef("%s: %d more lines suppressed", logKinds[i].name, n)
		}
	}
}

// allow returns the name of a line about an event of these kinds, if there is
// to be one, and its limiter.
func (l *packetLog) allow(kinds taygaconf.Log) (name string, limit *limiter) {
	kinds &= l.kinds
	if kinds == 0 {
		return "", nil
	}
	for i := range logKinds {
		if kinds&logKinds[i].kind == 0 {
			continue
		}
		if !l.limits[i].allow() {
			return "", nil
		}
		return logKinds[i].name, &l.limits[i]
	}
	return "", nil
}

// batch logs what is to be logged about packets that have been translated and not
// yet sent.
func (l *packetLog) batch(ps []translate.Packet) {
	for i := range ps {
		e := &events[ps[i].Result.Reason]
		if e.kinds&l.kinds != 0 {
			l.packet(&ps[i], e)
		}
	}
}

func (l *packetLog) packet(p *translate.Packet, e *event) {
	b := summaryOf(p)
	if b.v6 && b.dst.IsMulticast() && e.kinds == taygaconf.LogDrop {
		return // the kernel's own chatter: router solicitations, listener reports
	}
	name, limit := l.allow(e.kinds)
	if limit == nil {
		return
	}
	pri := priInfo
	if e.kinds&(taygaconf.LogDrop|taygaconf.LogReject) != 0 {
		pri = priNotice
	}
	text := e.text
	if slices.Contains(sharedReasons, p.Result.Reason) {
		text = endsOf(quotedIn(p)) + text
	}
	if !l.log.try(pri, b.line(name, text)) {
		limit.suppressed.Add(1)
	}
}

// lease logs what became of a lease. It is called with the pool's lock held.
func (l *packetLog) lease(e pool.Event) {
	if e.Kind == pool.Forgotten {
		return // as in TAYGA: the address led nowhere for days
	}
	name, limit := l.allow(taygaconf.LogDyn)
	if limit == nil {
		return
	}
	if !l.log.try(priInfo, name+": ["+e.Kind.String()+"] ["+e.Addr.String()+"]->["+e.Host.String()+"]") {
		limit.suppressed.Add(1)
	}
}

// A summary is what a line says about a packet.
type summary struct {
	v6       bool
	src, dst netip.Addr
	length   int   // without the IPv6 header
	proto    uint8 // after extension headers; 0 if unknown
}

// line forms the line as TAYGA does.
func (b *summary) line(name, why string) string {
	s := make([]byte, 0, 160)
	s = append(s, name...)
	s = append(s, ": [v"...)
	if b.v6 {
		s = append(s, '6')
	} else {
		s = append(s, '4')
	}
	s = append(s, "] ["...)
	s = b.src.AppendTo(s)
	s = append(s, "]->["...)
	s = b.dst.AppendTo(s)
	s = append(s, "] ("...)
	s = strconv.AppendInt(s, int64(b.length), 10)
	s = append(s, " bytes) (proto "...)
	s = strconv.AppendUint(s, uint64(b.proto), 10)
	s = append(s, ") "...)
	return string(append(s, why...))
}

// Lengths of headers.
const (
	header4 = 20
	header6 = 40
	icmpLen = 8
)

// summaryOf tells who sent what to whom, from what is left of the packet after
// its verdict: itself if it was dropped, or the answer to it, which quotes it
// or has its addresses swapped.
func summaryOf(p *translate.Packet) summary {
	x := parseSummary(quotedIn(p))
	if p.Result.Verdict == translate.Reply && p.Result.Reason == translate.EchoReply {
		x.src, x.dst = x.dst, x.src
	}
	return x
}

// quotedIn returns the packet that an answer quotes, or p itself.
func quotedIn(p *translate.Packet) []byte {
	b := p.Bytes()
	if p.Result.Verdict != translate.Reply || p.Result.Reason == translate.EchoReply {
		return b
	}
	skip := header4 + icmpLen
	if len(b) > 0 && b[0]>>4 == 6 {
		skip = header6 + icmpLen
	}
	return b[min(skip, len(b)):]
}

// parseSummary reads an IP header, or as much as there is of it.
func parseSummary(b []byte) summary {
	switch {
	case len(b) >= header4 && b[0]>>4 == 4:
		return summary{
			src:    netip.AddrFrom4([4]byte(b[12:16])),
			dst:    netip.AddrFrom4([4]byte(b[16:20])),
			length: int(binary.BigEndian.Uint16(b[2:])),
			proto:  b[9],
		}
	case len(b) >= header6 && b[0]>>4 == 6:
		return summary{
			v6:     true,
			src:    netip.AddrFrom16([16]byte(b[8:24])),
			dst:    netip.AddrFrom16([16]byte(b[24:40])),
			length: int(binary.BigEndian.Uint16(b[4:])),
			proto:  transport6(b[6], b[header6:]),
		}
	}
	v6 := len(b) > 0 && b[0]>>4 == 6
	none := netip.IPv4Unspecified()
	if v6 {
		none = netip.IPv6Unspecified()
	}
	return summary{v6: v6, src: none, dst: none, length: len(b)}
}

// transport6 walks the extension headers in b, of which the first is of type
// next, to the protocol after them. It returns 0 if it does not get there.
func transport6(next uint8, b []byte) uint8 {
	proto, _ := walk6(next, b)
	return proto
}

// walk6 is transport6, and returns what comes after the extension headers, nothing if that
// is not the beginning of it.
func walk6(next uint8, b []byte) (proto uint8, data []byte) {
	later := false
	for range 8 {
		n := 8
		switch next {
		case 0, 43, 60: // Hop-by-Hop Options, Routing, Destination Options
			if len(b) < 8 {
				return 0, nil
			}
			n = (int(b[1]) + 1) * 8
		case 44: // Fragment
			later = later || len(b) >= 4 && binary.BigEndian.Uint16(b[2:])>>3 != 0
		default:
			if later {
				b = nil
			}
			return next, b
		}
		if len(b) < n {
			return 0, nil
		}
		next, b = b[0], b[n:]
	}
	return 0, nil
}

// endsOf says which ports or Echo identifier a packet has, if any: with a shared address
// they tell the host.
func endsOf(b []byte) string {
	var proto uint8
	var data []byte
	switch {
	case len(b) >= header4 && b[0]>>4 == 4:
		proto = b[9]
		if binary.BigEndian.Uint16(b[6:])&0x1fff == 0 { // not a later fragment
			data = b[min(int(b[0]&15)*4, len(b)):]
		}
	case len(b) >= header6 && b[0]>>4 == 6:
		proto, data = walk6(b[6], b[header6:])
	}
	switch {
	case (proto == 6 || proto == 17) && len(data) >= 4:
		return fmt.Sprintf("(port %d to %d) ", binary.BigEndian.Uint16(data), binary.BigEndian.Uint16(data[2:]))
	case len(data) >= icmpLen && (proto == 1 && (data[0] == 8 || data[0] == 0) || proto == 58 && (data[0] == 128 || data[0] == 129)):
		return fmt.Sprintf("(identifier %d) ", binary.BigEndian.Uint16(data[4:]))
	}
	return ""
}

// An event is what the log says about a reason.
type event struct {
	kinds taygaconf.Log
	text  string
}

// events is by reason. Reasons without kinds are not logged.
var events = [translate.NumReasons]event{
	translate.BadHeader:          {taygaconf.LogDrop, "invalid IP header"},
	translate.BadHeaderChecksum:  {taygaconf.LogDrop, "wrong header checksum"},
	translate.IllegalSource:      {taygaconf.LogDrop, "source address not allowed"},
	translate.IllegalDestination: {taygaconf.LogDrop, "destination address not allowed"},
	translate.NonGlobal:          {taygaconf.LogReject, "private address in the well-known prefix"},
	translate.LinkLocal:          {taygaconf.LogDrop, "IPv4 link-local address"},
	translate.EmbeddedSource:     {taygaconf.LogDrop, "source address inside the prefix"},
	translate.BadFragment:        {taygaconf.LogDrop, "impossible fragment"},
	translate.TinyFragment:       {taygaconf.LogDrop, "first fragment without transport header"},
	translate.FragmentedICMP:     {taygaconf.LogDrop, "fragmented ICMP message"},
	translate.FragmentChain:      {taygaconf.LogDrop, "extension header after a fragment header"},
	translate.BadExtensionHeader: {taygaconf.LogDrop, "extension header cut short"},
	translate.NoProtocol:         {taygaconf.LogDrop, "protocol cannot be translated"},
	translate.ShortTransport:     {taygaconf.LogDrop, "transport header cut short"},
	translate.UDPZeroChecksum:    {taygaconf.LogDrop, "UDP checksum missing"},
	translate.ICMPType:           {taygaconf.LogDrop, "ICMP type or code cannot be translated"},
	translate.ICMPPointer:        {taygaconf.LogDrop, "ICMP parameter problem pointer cannot be translated"},
	translate.ICMPMTU:            {taygaconf.LogDrop, "packet too big with an MTU too small to be true"},
	translate.ICMPChecksum:       {taygaconf.LogDrop, "wrong ICMP checksum"},
	translate.ICMPQuote:          {taygaconf.LogDrop, "packet quoted in ICMP error cannot be translated"},
	translate.ICMPQuotedError:    {taygaconf.LogDrop, "ICMP error about an ICMP error"},
	translate.ICMPExtension:      {taygaconf.LogDrop, "ICMP extension beyond the message"},
	translate.ICMPSource:         {taygaconf.LogDrop, "source of ICMP error cannot be mapped"},
	translate.SelfICMP:           {taygaconf.LogSelf | taygaconf.LogDrop, "ICMP to this translator, not an echo request"},
	translate.HairpinLoop:        {taygaconf.LogDrop, "packet would come back"},
	translate.BadOffload:         {taygaconf.LogDrop, "offload contradicts the packet"},
	translate.NoSession:          {taygaconf.LogDrop, "no session of a shared address"},
	translate.UnsolicitedSYN:     {taygaconf.LogDrop, "TCP connection to a shared address that no host expects"},
	translate.FragmentRoom:       {taygaconf.LogDrop, "no room for a fragment of a shared address"},
	translate.FragmentOverlap:    {taygaconf.LogDrop, "fragment of a shared address overlaps another"},
	translate.FragmentTimeout:    {taygaconf.LogDrop, "fragment of a shared address waited in vain"},
	translate.SessionLimit:       {taygaconf.LogReject, "limit of sessions"},
	translate.Filtered:           {taygaconf.LogReject, "host expects nothing from this address"},

	translate.HopLimit:      {taygaconf.LogICMP, "time exceeded in transit"},
	translate.TooBig:        {taygaconf.LogICMP, "packet too big"},
	translate.SourceRoute:   {taygaconf.LogReject, "source route or routing header with segments left"},
	translate.NoDestination: {taygaconf.LogReject, "no mapping for the destination"},
	translate.NoSource:      {taygaconf.LogReject, "no mapping for the source"},
	translate.NoBinding:     {taygaconf.LogReject, "no host has this shared address and port"},
	translate.NoPort:        {taygaconf.LogReject, "no shared port is left"},
	translate.OtherProtocol: {taygaconf.LogReject, "protocol cannot share an address"},
	translate.SelfProtocol:  {taygaconf.LogSelf | taygaconf.LogReject, "no such service on this translator"},

	translate.EchoReply: {taygaconf.LogSelf, "echo request answered"},
}
