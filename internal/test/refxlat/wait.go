package refxlat

import (
	"net/netip"
	"slices"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// Packets of shared addresses that wait: fragments for the first of their packet (RFC 6146
// §3.4), and SYNs for the host to open the same connection (§3.5.2.2).
//
// The reference knows no packets that are reassembled (ICMP in fragments, UDP in fragments
// without checksum), no bounds of memory and no overlap: the generator makes none.

// pieces is what is known of a packet in fragments, by what they have in common.
type pieces struct {
	key     string
	until   time.Duration
	known   bool // the first has come: the others go to
	to      netip.Addr
	prefix  netip.Prefix
	why     translate.Reason
	bad     bool // its fragments contradict each other
	waiting []packet

	bytes, end int // that have come; where the last ends
}

// heldSYN is a SYN to the endpoint at.
type heldSYN struct {
	at     endpoint
	remote netip.AddrPort
	second int // when it came
	pkt    []byte
}

// pieces returns what is known of a packet, nil if nothing is.
func (s *Sharing) pieces(key string) *pieces {
	s.fragments = slices.DeleteFunc(s.fragments, func(f *pieces) bool { return s.clock >= f.until })
	for _, f := range s.fragments {
		if f.key == key {
			return f
		}
	}
	return nil
}

func (s *Sharing) newPieces(key string) *pieces {
	f := &pieces{key: key, until: s.clock + 2*time.Second + 1}
	s.fragments = append(s.fragments, f)
	return f
}

// done reports whether as many bytes have come as the packet has.
func (f *pieces) done() bool { return f.known && f.end != 0 && f.bytes >= f.end }

func (f *pieces) count(p packet) {
	f.bytes += p.length
	if !p.more {
		f.end = p.off8*8 + p.length
	}
}

// firstPiece takes what the first fragment p says about the others.
func (s *Sharing) firstPiece(key string, p packet, to netip.Addr, prefix netip.Prefix, why translate.Reason) translate.Reason {
	f := s.pieces(key)
	if f != nil && f.done() { // an earlier packet
		s.fragments = slices.DeleteFunc(s.fragments, func(x *pieces) bool { return x == f })
		f = nil
	}
	switch {
	case f == nil:
		f = s.newPieces(key)
	case why != translate.NotChecked && (f.bad || f.known && f.why == translate.NotChecked):
		return why // it is the only one
	case f.bad:
		return f.why
	case f.known && f.why == translate.NotChecked && (f.to != to || f.prefix != prefix):
		f.bad, f.why = true, translate.FragmentOverlap // of two packets
		return f.why
	case why == translate.NotChecked:
		slices.SortStableFunc(f.waiting, func(a, b packet) int { return a.off8 - b.off8 })
		s.ready = append(s.ready, f.waiting...)
	}
	if !f.known {
		f.bytes, f.end = 0, 0
	}
	f.until = s.clock + 2*time.Second + 1
	f.waiting, f.known, f.to, f.prefix, f.why = nil, true, to, prefix, why
	f.count(p)
	return why
}

// laterPiece returns where p goes, which is not the first fragment. It waits if that is not
// known.
func (s *Sharing) laterPiece(key string, p packet) (to netip.Addr, prefix netip.Prefix, why translate.Reason) {
	f := s.pieces(key)
	switch {
	case f == nil:
		f = s.newPieces(key)
	case f.known:
		if f.why == translate.NotChecked {
			f.count(p)
		}
		return f.to, f.prefix, f.why
	case slices.ContainsFunc(f.waiting, func(q packet) bool { return q.off8 == p.off8 }):
		return to, prefix, translate.FragmentOverlap // it came twice
	}
	f.waiting = append(f.waiting, p)
	return to, prefix, translate.Waiting
}

// hold keeps a SYN, if there is room.
func (s *Sharing) hold(at endpoint, remote netip.AddrPort, pkt []byte) {
	if s.held(at, remote) < 0 && len(s.syns) < s.cfg.Limits.HeldSYN {
		s.syns = append(s.syns, heldSYN{at, remote, s.now, pkt})
	}
}

func (s *Sharing) held(at endpoint, remote netip.AddrPort) int {
	return slices.IndexFunc(s.syns, func(h heldSYN) bool { return h.at == at && h.remote == remote })
}

// drop ends the wait of a SYN, and reports whether there is one.
func (s *Sharing) dropSYN(at endpoint, remote netip.AddrPort) bool {
	i := s.held(at, remote)
	if i >= 0 {
		s.syns = slices.Delete(s.syns, i, i+1)
	}
	return i >= 0
}

// EmitAt returns what leaves at now and is no packet that comes in: fragments that have
// waited, in order, and answers to SYNs, in any order.
func (x *Xlat) EmitAt(now time.Duration) (fragments, answers [][]byte) {
	s := x.sharing
	s.advance(now)
	for len(s.ready) > 0 {
		p := s.ready[0]
		s.ready = s.ready[1:]
		out, _ := x.Translate(p.raw)
		fragments = append(fragments, out...)
	}
	s.syns = slices.DeleteFunc(s.syns, func(h heldSYN) bool {
		if s.now <= h.second+int(s.cfg.Timeouts.TCPIncomingSYN/time.Second) {
			return false
		}
		no := &refusal{translate.UnsolicitedSYN, &notice{typ: 3, code: 3}}
		if h.pkt[0]>>4 == 6 {
			no.tell = &notice{typ: 1, code: 4}
		}
		if no = x.silence(h.pkt, no); no.tell == nil {
			return true
		}
		if answer := x.originate(h.pkt, no); answer != nil {
			answers = append(answers, answer)
		}
		return true
	})
	return fragments, answers
}
