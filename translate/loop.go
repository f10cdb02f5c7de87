package translate

// Packets that would come back: see PrefixRule.

// loop4 reports whether an IPv4 packet would come back whose addresses are mapped
// as said, its destination into first, the prefix that composes. A host with a
// lease is an IPv6 host: its packets come from IPv4 only if they went round already.
func (t *Table) loop4(dst, src how) bool {
	return dst == byPrefix && (src == byPrefix || src == byLease) && t.first.checkLoops
}

// loop6 reports whether an IPv6 packet would come back from inside the prefix src
// to inside the prefix dst, for dst4. Either prefix is nil if none maps the address.
func (w *Worker) loop6(src, dst *prefix6052, dst4 addr4) bool {
	return src != nil && src.checkLoops && dst != nil && dst4 != w.s.own4 && !w.s.tab.covers4(dst4)
}

// sends4 reports whether errors of the translator's own may come from a.
func (s *state) sends4(a addr4) bool {
	for _, source := range s.sources4 {
		if source == a {
			return true
		}
	}
	return s.own4 != 0 && a == s.own4
}
