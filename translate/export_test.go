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

// portMapper shares one IPv4 address among two hosts by port: Sessions with two static
// bindings and an identifier each.
//
//	2001:db8:a::1, port 1001 or identifier 11  <->  192.0.2.200, 40001 or 41
//	2001:db8:a::2, port 1002 or identifier 12  <->  192.0.2.200, 40002 or 42
type portMapper struct{}

// Shared is the address that a portMapper shares.
var Shared = netip.MustParseAddr("192.0.2.200")

func (portMapper) binding(proto uint8, n uint16) (inside, outside uint16) {
	if isEchoProto(proto) {
		return 10 + n, 40 + n
	}
	return 1000 + n, 40000 + n
}

func isEchoProto(proto uint8) bool { return proto == protoICMPv4 || proto == protoICMPv6 }

func (m portMapper) Outbound(_ time.Duration, f *Tuple6, _ uint8, to *Tuple4) (r FlowResult) {
	for n := range uint16(3) {
		inside, outside := m.binding(f.Proto, n)
		if n > 0 && f.Host == (Addr6{0x20010db8000a0000, uint64(n)}) && f.HostPort == inside {
			*to = Tuple4{Local: uint32(make4(Shared.As4())), Remote: f.Remote, LocalPort: outside, RemotePort: f.RemotePort, Proto: f.Proto}
			if isEchoProto(f.Proto) {
				to.RemotePort = outside
			}
			return FlowMapped
		}
	}
	return FlowUnshared
}

func (m portMapper) Inbound(_ time.Duration, f *Tuple4, _ uint8, to *Tuple6) (r FlowResult) {
	for n := range uint16(3) {
		inside, outside := m.binding(f.Proto, n)
		if n > 0 && f.Local == uint32(make4(Shared.As4())) && f.LocalPort == outside {
			*to = Tuple6{Host: Addr6{0x20010db8000a0000, uint64(n)}, Remote: f.Remote, HostPort: inside, RemotePort: f.RemotePort, Proto: f.Proto}
			if isEchoProto(f.Proto) {
				to.RemotePort = inside
			}
			return FlowMapped
		}
	}
	return FlowNoBinding
}

func (m portMapper) OutboundError(now time.Duration, f *Tuple6, to *Tuple4) FlowResult {
	return m.Outbound(now, f, 0, to)
}

func (m portMapper) InboundError(now time.Duration, f *Tuple4, to *Tuple6) FlowResult {
	return m.Inbound(now, f, 0, to)
}

// ShareWith returns a copy of the configuration in which s shares Shared.
func ShareWith(c TableConfig, s Sessions) TableConfig {
	c.Shared, c.Sessions = []netip.Prefix{netip.PrefixFrom(Shared, 32)}, s
	return c
}

// PortMapper is the portMapper.
var PortMapper Sessions = portMapper{}

// A Holder has packets for Emit, each at its time.
type Holder struct {
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

// SetHolder gives tr a Holder.
func SetHolder(tr *Translator) *Holder {
	s := *tr.state.Load()
	h := new(Holder)
	s.emitter = h
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

func (h *Holder) emit(w *Worker, ps []Packet) emission {
	now, p := w.now, &ps[0]
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

func (h *Holder) due(*Worker) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.held) == 0 {
		return Never
	}
	return h.held[0].at
}
