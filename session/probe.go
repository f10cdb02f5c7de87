package session

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// probes are connections to probe that no caller has fetched yet, the oldest first. At the
// limit new ones are left out: they are a courtesy.
type probes struct {
	n  atomic.Int32 // of s
	mu sync.Mutex
	s  []translate.Tuple6
}

func (p *probes) add(limit int, k *key) {
	if limit == 0 {
		return
	}
	var to4 translate.Tuple4
	var to6 translate.Tuple6
	set4(&to4, k.local, k.ends)
	set6(&to6, k, &to4)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.s) < limit {
		p.s = append(p.s, to6)
		p.n.Store(int32(len(p.s)))
	}
}

// Probes fills to with established connections that were unused for their time, as their
// hosts see them: RFC 6146 §3.5.2.2 asks for a packet to one of the ends, a TCP segment
// without data, with ACK alone and zeros as sequence and acknowledgment number. The answer
// keeps the session. Each is returned once. next is when to ask again: Expire, which finds
// them, is called about once a second. There are none without Config.MaxProbes.
func (t *Table) Probes(now time.Duration, to []translate.Tuple6) (n int, next time.Duration) {
	p := &t.probes
	if p.n.Load() == 0 {
		if t.cfg.Load().probes == 0 {
			return 0, math.MaxInt64
		}
		return 0, now + time.Second
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n = copy(to, p.s)
	p.s = p.s[:copy(p.s, p.s[n:])]
	p.n.Store(int32(len(p.s)))
	if len(p.s) > 0 {
		return n, now
	}
	return n, now + time.Second
}
