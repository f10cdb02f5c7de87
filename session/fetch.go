package session

import "github.com/steppe-nat64/steppe/translate"

// Packets of a batch are of sessions that lie anywhere in memory. Read one after the other,
// each waits for its bucket, then for its entry, or for several of a chain. A processor
// waits for many at once if the reads do not depend on each other and no lock is between
// them.

// fetched is how many flows are read at once.
const fetched = 64

// FetchOutbound reads what Outbound needs of several flows: the sessions, or where their
// bindings would be, and the hosts.
func (t *Table) FetchOutbound(fs []translate.Tuple6) {
	c := t.cfg.Load()
	for len(fs) > 0 {
		n := min(len(fs), fetched)
		var first, host [fetched]uint32
		for i := range n {
			k, _ := c.key6(&fs[i])
			first[i] = t.s6.first(t.keys.of6(&k))
		}
		for i := range n {
			if first[i] != 0 {
				t.mem.at(first[i]).word.Load()
				continue
			}
			k, _ := c.key6(&fs[i])
			bk, hk := bindingKey(&k), hostKey(&k)
			t.b6.touch(t.keys.of6(&bk))
			host[i] = t.b6.first(t.keys.of6(&hk))
		}
		for i := range n {
			if first[i] == 0 {
				if host[i] != 0 {
					t.mem.at(host[i]).word.Load()
				}
				continue
			}
			if e := t.mem.at(first[i]); e.lo.Load() != fs[i].Host.Lo || hostPortOf(e.ends.Load()) != fs[i].HostPort {
				t.fetchNext(e, by6)
			}
		}
		fs = fs[n:]
	}
}

// FetchInbound reads what Inbound needs of several flows.
func (t *Table) FetchInbound(fs []translate.Tuple4) {
	for len(fs) > 0 {
		n := min(len(fs), fetched)
		var first [fetched]uint32
		for i := range n {
			k, _ := key4(&fs[i])
			first[i] = t.s4.first(t.keys.of4(&k))
		}
		for _, e := range first[:n] {
			if e != 0 {
				t.mem.at(e).word.Load()
			}
		}
		for i := range n {
			if first[i] == 0 {
				continue
			}
			if e := t.mem.at(first[i]); e.local.Load()>>16 != uint64(fs[i].Local)<<16|uint64(fs[i].LocalPort) {
				t.fetchNext(e, by4)
			}
		}
		fs = fs[n:]
	}
}

// fetchNext reads the entry after e in its chain.
func (t *Table) fetchNext(e *entry, side int) {
	if i := e.next[side].Load(); i != 0 {
		t.mem.at(i).word.Load()
	}
}
