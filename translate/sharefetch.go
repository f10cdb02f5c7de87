package translate

import "encoding/binary"

// A Fetcher is Sessions that can bring what they have of several flows into the cache of
// the processor at once. Of many sessions hardly any is there, and a packet that waits for
// memory waits for longer than all the rest takes. The slices are valid during the call.
type Fetcher interface {
	FetchOutbound(fs []Tuple6) // flows that Outbound will be asked for
	FetchInbound(fs []Tuple4)
}

// fetchMost is how many flows of a batch are fetched.
const fetchMost = 64

// ahead are the flows of a batch in one direction each.
type ahead struct {
	out [fetchMost]Tuple6
	in  [fetchMost]Tuple4
}

// fetchSessions has the sessions of a batch fetched, if many packets of the last few batches
// were of pairs of addresses that the worker did not remember: else their sessions are few,
// and are at hand.
func (w *Worker) fetchSessions(ps []Packet) {
	w.strangers = w.strangers/2 + w.strange
	w.strange = 0
	f := w.s.fetcher
	if f == nil || w.strangers < len(ps)/4 {
		return
	}
	out, in := w.ahead.out[:0], w.ahead.in[:0]
	for i := range ps {
		switch b := ps[i].Bytes(); {
		case len(b) >= len6+4 && b[0]>>4 == 6 && len(out) < fetchMost:
			out = w.lookAhead6(out, b)
		case len(b) >= len4+4 && b[0] == 0x45 && len(in) < fetchMost:
			in = lookAhead4(in, b)
		}
	}
	f.FetchOutbound(out)
	f.FetchInbound(in)
}

// lookAhead6 appends the flow that an IPv6 packet probably belongs to.
func (w *Worker) lookAhead6(out []Tuple6, b []byte) []Tuple6 {
	h := (*hdr6)(b)
	proto := b[6]
	if proto != protoTCP && proto != protoUDP {
		return out
	}
	src, dst := h.src(), h.dst()
	remote, how, pref64 := w.from6(dst)
	if !how.mapped() {
		return out
	}
	return append(out, Tuple6{
		Host: Addr6{src.hi, src.lo}, Remote: uint32(remote), Proto: proto, Pref64: numberOf6(pref64),
		HostPort: binary.BigEndian.Uint16(b[len6:]), RemotePort: binary.BigEndian.Uint16(b[len6+2:]),
	})
}

// lookAhead4 appends the flow that an IPv4 packet without options probably belongs to.
func lookAhead4(in []Tuple4, b []byte) []Tuple4 {
	h := (*hdr4)(b)
	proto := b[9]
	if proto != protoTCP && proto != protoUDP || binary.BigEndian.Uint16(b[6:])&0x3fff != 0 { // or a fragment
		return in
	}
	return append(in, Tuple4{
		Local: uint32(h.dst()), Remote: uint32(h.src()), Proto: proto,
		LocalPort: binary.BigEndian.Uint16(b[len4+2:]), RemotePort: binary.BigEndian.Uint16(b[len4:]),
	})
}
