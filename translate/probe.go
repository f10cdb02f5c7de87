package translate

import (
	"encoding/binary"
	"time"
)

// A Prober is a Sessions that asks for probes of connections that are established and were
// not used for a long time: RFC 6146 §3.5.2.2. A host that still has the connection answers, and
// so its session lasts.
type Prober interface {
	Sessions
	// Probes fills to with connections to probe, as their hosts see them, each once, and
	// says when to ask again.
	Probes(now time.Duration, to []Tuple6) (n int, next time.Duration)
}

const tcpACK = 0x10

// probes makes p the next probe. If there is none, next is when there may be one.
func (w *Worker) probes(p *Packet) (next time.Duration, ok bool) {
	if w.s.prober == nil {
		return Never, false
	}
	for {
		n, next := w.s.prober.Probes(w.now, w.toProbe[:])
		if n == 0 {
			return next, false
		}
		if w.probe(p, &w.toProbe[0]) {
			return 0, true
		}
	}
}

// probe makes p a TCP segment from the peer of a connection to its host, without data, with
// ACK alone and zeros as its numbers: it is outside every window, so it is answered with an
// ACK and changes nothing. It reports false if the host has no such peer any more.
func (w *Worker) probe(p *Packet, f *Tuple6) bool {
	const n = len6 + 20
	if n > len(p.Buf)-Headroom {
		tooShort(p, n)
	}
	src, how := w.embed(w.s.tab.prefixOf(f.Pref64), addr4(f.Remote))
	if !how.mapped() {
		return false
	}
	dst := addr6{f.Host.Hi, f.Host.Lo}
	p.window(Headroom, n)
	p.Offload, p.Result = Offload{}, Result{Forward, Translated}
	b := p.Bytes()
	clear(b)
	l4 := b[len6:]
	binary.BigEndian.PutUint16(l4, f.RemotePort)
	binary.BigEndian.PutUint16(l4[2:], f.HostPort)
	l4[12], l4[13] = 5<<4, tcpACK
	finishChecksum(l4, nil, protoTCP, src.sum()+dst.sum()+protoTCP+uint64(len(l4)))
	h := header{ttl: ownTTL}
	h.put6(b, protoTCP, len(l4), src, dst)
	return true
}
