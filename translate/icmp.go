package translate

// ICMP types that are named in the code.
const (
	icmp4EchoReply    = 0
	icmp4Unreachable  = 3
	icmp4Quench       = 4
	icmp4Redirect     = 5
	icmp4Echo         = 8
	icmp4TimeExceeded = 11
	icmp4ParamProblem = 12

	icmp6Unreachable  = 1
	icmp6TooBig       = 2
	icmp6TimeExceeded = 3
	icmp6ParamProblem = 4
	icmp6Echo         = 128
	icmp6EchoReply    = 129
)

// icmpRule translates the codes lo to hi of a type. sameCode keeps the code.
type icmpRule struct {
	typ, lo, hi   uint8
	toTyp, toCode uint8
	sameCode      bool
}

// Types and codes that have a counterpart; all others are dropped. Echo comes
// first, as it is looked up most.
var (
	// RFC 7915 §4.2.
	rules4to6 = [...]icmpRule{
		{typ: icmp4Echo, hi: 255, toTyp: icmp6Echo},
		{typ: icmp4EchoReply, hi: 255, toTyp: icmp6EchoReply},
		{icmp4Unreachable, 0, 1, icmp6Unreachable, 0, false},   // net, host
		{icmp4Unreachable, 2, 2, icmp6ParamProblem, 1, false},  // protocol
		{icmp4Unreachable, 3, 3, icmp6Unreachable, 4, false},   // port
		{icmp4Unreachable, 4, 4, icmp6TooBig, 0, false},        // fragmentation needed
		{icmp4Unreachable, 5, 8, icmp6Unreachable, 0, false},   // source route, unknown, isolated
		{icmp4Unreachable, 9, 10, icmp6Unreachable, 1, false},  // prohibited
		{icmp4Unreachable, 11, 12, icmp6Unreachable, 0, false}, // for this TOS
		{icmp4Unreachable, 13, 13, icmp6Unreachable, 1, false}, // prohibited
		{icmp4Unreachable, 15, 15, icmp6Unreachable, 1, false}, // precedence
		{typ: icmp4TimeExceeded, hi: 255, toTyp: icmp6TimeExceeded, sameCode: true},
		{typ: icmp4ParamProblem, toTyp: icmp6ParamProblem},
		{typ: icmp4ParamProblem, lo: 2, hi: 2, toTyp: icmp6ParamProblem},
	}
	// RFC 7915 §5.2.
	rules6to4 = [...]icmpRule{
		{typ: icmp6Echo, hi: 255, toTyp: icmp4Echo},
		{typ: icmp6EchoReply, hi: 255, toTyp: icmp4EchoReply},
		{icmp6Unreachable, 0, 0, icmp4Unreachable, 1, false},  // no route
		{icmp6Unreachable, 1, 1, icmp4Unreachable, 10, false}, // prohibited
		{icmp6Unreachable, 2, 3, icmp4Unreachable, 1, false},  // scope, address
		{icmp6Unreachable, 4, 4, icmp4Unreachable, 3, false},  // port
		{typ: icmp6TooBig, hi: 255, toTyp: icmp4Unreachable, toCode: 4},
		{typ: icmp6TimeExceeded, hi: 255, toTyp: icmp4TimeExceeded, sameCode: true},
		{typ: icmp6ParamProblem, toTyp: icmp4ParamProblem},
		{icmp6ParamProblem, 1, 1, icmp4Unreachable, 2, false}, // next header
	}
)

// icmpCounterpart looks a type and code up in one of the tables above.
func icmpCounterpart(rules []icmpRule, typ, code uint8) (toTyp, toCode uint8, found bool) {
	for i := range rules {
		r := &rules[i]
		if r.typ == typ && r.lo <= code && code <= r.hi {
			if r.sameCode {
				return r.toTyp, code, true
			}
			return r.toTyp, r.toCode, true
		}
	}
	return toTyp, toCode, false
}

// noPointer marks a header byte without counterpart.
const noPointer = 0xff

// Parameter Problem pointers: where a byte of one header went in the other.
var (
	// RFC 7915 §4.2, figure 3.
	pointer4to6 = [len4]uint8{
		0, 1, 4, 4,
		noPointer, noPointer, noPointer, noPointer,
		7, 6, noPointer, noPointer,
		8, 8, 8, 8,
		24, 24, 24, 24,
	}
	// RFC 7915 §5.2, figure 6.
	pointer6to4 = [len6]uint8{
		0, 1, noPointer, noPointer,
		2, 2, 9, 8,
		12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12,
		16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
	}
)

// pointer translates a Parameter Problem pointer by one of the tables above.
func pointer(table []uint8, at uint32) (to uint8, found bool) {
	if at >= uint32(len(table)) || table[at] == noPointer {
		return to, false
	}
	return table[at], true
}

// isError4 reports whether an ICMPv4 type is an error: RFC 1812 §4.3.2.7.
func isError4(typ uint8) bool {
	switch typ {
	case icmp4Unreachable, icmp4Quench, icmp4Redirect, icmp4TimeExceeded, icmp4ParamProblem:
		return true
	}
	return false
}

// isError6 reports whether an ICMPv6 type is an error: RFC 4443 §2.1.
func isError6(typ uint8) bool { return typ < 128 }
