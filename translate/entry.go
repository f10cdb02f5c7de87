package translate

// entry is a Map made ready for the packet path, or a pool.
type entry struct {
	v6     addr6 // IPv6 prefix
	v4     addr4 // IPv4 prefix
	suffix addr4 // mask of the bits after the IPv4 prefix
	pref64 int32 // of a pool: which of Table.prefixes it is bound to, from 1 on; 0: none
	shift  uint8 // how far left these bits stand in the IPv6 address
	pool   bool
	shared bool // of a pool: by Sessions
}

// to6 maps an IPv4 address that the entry covers: RFC 7757 §3.3.1.
func (e *entry) to6(a addr4) addr6 {
	s, v6 := uint64(a&e.suffix), e.v6
	if e.shift < 64 {
		v6.lo |= s << e.shift
		v6.hi |= s >> (64 - e.shift)
	} else {
		v6.hi |= s << (e.shift - 64)
	}
	return v6
}

// to4 maps an IPv6 address that the entry covers; surplus bits at its end are
// thrown away: RFC 7757 §3.3.2.
func (e *entry) to4(a addr6) addr4 {
	s := a.hi >> (e.shift - 64)
	if e.shift < 64 {
		s = a.lo>>e.shift | a.hi<<(64-e.shift)
	}
	return e.v4 | addr4(s)&e.suffix
}
