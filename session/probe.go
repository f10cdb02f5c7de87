package session

import (
	"sync"

	"github.com/steppe-nat64/steppe/translate"
)

// A Probe is an established connection that was unused for its time: RFC 6146 §3.5.2.2 asks
// for a packet to one of its ends, a TCP segment without data, with ACK alone and zeros as
// sequence and acknowledgment number. The answer keeps the session.
type Probe struct {
	To6 translate.Tuple6 // as the host sees it
	To4 translate.Tuple4 // as the server sees it
}

// probes are those that no caller has fetched yet, the oldest first. At the limit new ones
// are left out: they are a courtesy.
type probes struct {
	mu sync.Mutex
	s  []Probe
}

func (p *probes) add(limit int, k *key) {
	if limit == 0 {
		return
	}
	var one Probe
	set4(&one.To4, k.local, k.ends)
	set6(&one.To6, k, &one.To4)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.s) < limit {
		p.s = append(p.s, one)
	}
}

// Probes appends the connections to probe to to, each once. There are none without
// Config.MaxProbes.
func (t *Table) Probes(to []Probe) []Probe {
	t.probes.mu.Lock()
	defer t.probes.mu.Unlock()
	to = append(to, t.probes.s...)
	t.probes.s = t.probes.s[:0]
	return to
}
