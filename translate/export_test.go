package translate

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"
	"unsafe"
)

// TestSizes: what comments promise about sizes. A flow slot fills a cache line and lies
// in one, and so does a set of counters of identifications.
func TestSizes(t *testing.T) {
	if n := unsafe.Sizeof(flow{}); n != 64 {
		t.Errorf("a flow slot has %d bytes, want 64", n)
	}
	tr := newIdentTranslator(t)
	if n := identWays * unsafe.Sizeof(tr.ids.counters[0]); n != 64 || len(tr.ids.counters) != 65536 {
		t.Errorf("%d counters, a set of %d bytes, want 65536 and 64", len(tr.ids.counters), n)
	}
	if at := uintptr(unsafe.Pointer(tr.ids.counters)); at%64 != 0 {
		t.Errorf("the counters begin at %#x, inside a cache line", at)
	}
	slots := tr.NewWorker().flows4
	if at := uintptr(unsafe.Pointer(slots)); at%64 != 0 {
		t.Errorf("the slots begin at %#x, inside a cache line", at)
	}
	if n := 2 * unsafe.Sizeof(*slots); n != 256<<10 {
		t.Errorf("the slots of both directions have %d bytes, want 256 KiB", n)
	}
}

// portMapper shares one IPv4 address among two hosts by port: a mapper with two
// static bindings and an identifier each.
//
//	2001:db8:a::1, port 1001 or identifier 11  <->  192.0.2.200, 40001 or 41
//	2001:db8:a::2, port 1002 or identifier 12  <->  192.0.2.200, 40002 or 42
type portMapper struct{ pref64 prefix6052 }

// Shared is the address that a portMapper shares.
var Shared = netip.MustParseAddr("192.0.2.200")

func (portMapper) binding(proto uint8, n uint16) (inside, outside uint16) {
	if proto == protoICMPv4 || proto == protoICMPv6 {
		return 10 + n, 40 + n
	}
	return 1000 + n, 40000 + n
}

func (m portMapper) outbound(a addr6, port uint16, proto uint8) (addr4, uint16, bool) {
	for n := range uint16(3) {
		inside, outside := m.binding(proto, n)
		if n > 0 && a == (addr6{0x20010db8000a0000, uint64(n)}) && port == inside {
			return make4(Shared.As4()), outside, true
		}
	}
	return 0, 0, false
}

func (m portMapper) inbound(a addr4, port uint16, proto uint8) (addr6, uint16, bool) {
	for n := range uint16(3) {
		inside, outside := m.binding(proto, n)
		if n > 0 && a == make4(Shared.As4()) && port == outside {
			return addr6{0x20010db8000a0000, uint64(n)}, inside, true
		}
	}
	return addr6{}, 0, false
}

func isEchoProto(proto uint8) bool { return proto == protoICMPv4 || proto == protoICMPv6 }

func (m portMapper) map6(t tuple6) (to tuple4, found bool) {
	to = tuple4{dst: m.pref64.extract(t.dst), dstPort: t.dstPort, proto: t.proto}
	to.src, to.srcPort, found = m.outbound(t.src, t.srcPort, t.proto)
	if isEchoProto(t.proto) {
		to.dstPort = to.srcPort
	}
	return to, found && m.pref64.contains(t.dst)
}

func (m portMapper) map4(t tuple4) (to tuple6, found bool) {
	to = tuple6{src: m.pref64.embed(t.src), srcPort: t.srcPort, proto: t.proto}
	to.dst, to.dstPort, found = m.inbound(t.dst, t.dstPort, t.proto)
	if isEchoProto(t.proto) {
		to.srcPort = to.dstPort
	}
	return to, found
}

func (m portMapper) quoted4(t tuple4) (tuple6, bool) {
	back, found := m.map4(tuple4{t.dst, t.src, t.dstPort, t.srcPort, t.proto})
	return tuple6{back.dst, back.src, back.dstPort, back.srcPort, t.proto}, found
}

func (m portMapper) quoted6(t tuple6) (tuple4, bool) {
	back, found := m.map6(tuple6{t.dst, t.src, t.dstPort, t.srcPort, t.proto})
	return tuple4{back.dst, back.src, back.dstPort, back.srcPort, t.proto}, found
}

func (portMapper) emit(time.Duration, *Packet) emission { return nothing }
func (portMapper) due() time.Duration                   { return Never }

// SetPortMapper puts a portMapper before the tables of tr.
func SetPortMapper(tr *Translator) {
	s := *tr.state.Load()
	s.mapper = portMapper{s.tab.first}
	tr.state.Store(&s)
}

// A Holder is a portMapper that has packets for Emit, each at its time.
type Holder struct {
	portMapper
	mu   sync.Mutex
	held []held // by time
}

type held struct {
	at      time.Duration
	what    emission
	bytes   []byte
	offload Offload
	result  Result
}

// SetHolder puts a Holder before the tables of tr.
func SetHolder(tr *Translator) *Holder {
	s := *tr.state.Load()
	h := &Holder{portMapper: portMapper{s.tab.first}}
	s.mapper = h
	tr.state.Store(&s)
	return h
}

// Hold keeps a packet as it was received until at, which is not before those that are
// there already.
func (h *Holder) Hold(at time.Duration, b []byte, o Offload) {
	h.add(held{at: at, what: received, bytes: b, offload: o})
}

// Make adds a complete packet with its result.
func (h *Holder) Make(at time.Duration, b []byte, res Result) {
	h.add(held{at: at, what: complete, bytes: b, result: res})
}

func (h *Holder) add(x held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = append(h.held, x)
}

func (h *Holder) emit(now time.Duration, p *Packet) emission {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.held) == 0 || h.held[0].at > now {
		return nothing
	}
	x := h.held[0]
	if !p.Set(x.bytes) {
		panic(fmt.Sprintf("translate: a buffer of %d bytes is too short for a packet of %d bytes that was held", len(p.Buf), len(x.bytes)))
	}
	p.Offload = x.offload
	p.Result = x.result
	h.held = h.held[1:]
	return x.what
}

func (h *Holder) due() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.held) == 0 {
		return Never
	}
	return h.held[0].at
}
