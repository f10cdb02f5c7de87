package session

// A state is that of a session, RFC 6146 §3.5.2.1. UDP and ICMP have one each, and UDP to
// a DNS server another, for its own timer.
type state uint8

const (
	dead        state = iota // the entry is free
	alive                    // of entries that are no sessions
	permanent                // of a static binding
	udpAlive                 // UDP
	udpDNS                   // UDP to remote port 53
	icmpAlive                // ICMP Echo
	v6Init                   // a SYN from IPv6
	v4Init                   // a SYN from IPv4
	established              // a SYN from both
	v4Fin                    // a FIN from IPv4
	v6Fin                    // a FIN from IPv6
	bothFin                  // a FIN from both
	trans                    // a RST, or a long silence
	states
)

// Flags of a TCP header that the state machine looks at. Their bits are those of the
// header.
const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	flagMask = flagFIN | flagSYN | flagRST
)

// Directions.
const (
	from6 = iota
	from4
)

// An action is what a packet does to a session: its next state, and whether its timer
// starts again.
type action uint8

const refresh action = 0x80

func (a action) state() state { return state(a &^ refresh) }

// A rule is a line of the state machine: a packet from one side with one of the flags, or
// with none of those that other lines of the state name. A packet with several flags is
// that of the first line.
type rule struct {
	from  state
	side  int
	flags uint8
	to    action
}

// rules are RFC 6146 §3.5.2.2, but for CLOSED, which is in outbound.go and inbound.go, and
// the ends of timers, which are in expire.go. A SYN with RST is a RST and opens nothing.
var rules = []rule{
	{v4Init, from6, flagRST, action(v4Init)},
	{v4Init, from6, flagSYN, action(established) | refresh},
	{v4Init, from6, 0, action(v4Init)},
	{v4Init, from4, 0, action(v4Init)},

	{v6Init, from4, flagRST, action(v6Init)},
	{v6Init, from4, flagSYN, action(established) | refresh}, // with or without ACK
	{v6Init, from4, 0, action(v6Init)},
	{v6Init, from6, flagRST, action(v6Init)},
	{v6Init, from6, flagSYN, action(v6Init) | refresh},
	{v6Init, from6, 0, action(v6Init)},

	{established, from4, flagRST, action(trans) | refresh},
	{established, from6, flagRST, action(trans) | refresh},
	{established, from4, flagFIN, action(v4Fin) | refresh},
	{established, from6, flagFIN, action(v6Fin) | refresh},
	{established, from4, 0, action(established) | refresh},
	{established, from6, 0, action(established) | refresh},

	{v4Fin, from6, flagFIN, action(bothFin) | refresh},
	{v4Fin, from6, 0, action(v4Fin) | refresh},
	{v4Fin, from4, 0, action(v4Fin) | refresh},

	{v6Fin, from4, flagFIN, action(bothFin) | refresh},
	{v6Fin, from4, 0, action(v6Fin) | refresh},
	{v6Fin, from6, 0, action(v6Fin) | refresh},

	{bothFin, from4, 0, action(bothFin)},
	{bothFin, from6, 0, action(bothFin)},

	{trans, from4, flagRST, action(trans)},
	{trans, from6, flagRST, action(trans)},
	{trans, from4, 0, action(established) | refresh},
	{trans, from6, 0, action(established) | refresh},

	{udpAlive, from4, 0, action(udpAlive) | refresh},
	{udpAlive, from6, 0, action(udpAlive) | refresh},
	{udpDNS, from4, 0, action(udpDNS) | refresh},
	{udpDNS, from6, 0, action(udpDNS) | refresh},
	{icmpAlive, from4, 0, action(icmpAlive) | refresh},
	{icmpAlive, from6, 0, action(icmpAlive) | refresh},
}

// actions are the rules by side, state and flags.
var actions = func() (a [2][16][flagMask + 1]action) {
	for flags := range uint8(flagMask + 1) {
		done := [2][16]bool{}
		for _, r := range rules {
			if !done[r.side][r.from] && (r.flags == 0 || flags&r.flags != 0) {
				done[r.side][r.from] = true
				a[r.side][r.from][flags] = r.to
			}
		}
	}
	return a
}()

// opens reports whether a TCP packet opens a connection.
func opens(flags uint8) bool { return flags&(flagSYN|flagRST) == flagSYN }

// String returns the name of a state.
func (s state) String() string {
	names := [...]string{"dead", "alive", "permanent", "udp", "dns", "icmp", "v6-init", "v4-init",
		"established", "v4-fin", "v6-fin", "v4-fin-v6-fin", "trans"}
	if int(s) >= len(names) {
		return "unknown"
	}
	return names[s]
}

// proto returns the protocol of sessions in a state.
func (s state) proto() uint64 {
	switch s {
	case udpAlive, udpDNS:
		return udp
	case icmpAlive:
		return icmp
	}
	return tcp
}

// first returns the state of a new session.
func first(proto uint64, side int, remotePort uint16) state {
	switch {
	case proto == icmp:
		return icmpAlive
	case proto == udp && remotePort == portDNS && side == from6:
		return udpDNS
	case proto == udp:
		return udpAlive
	case side == from6:
		return v6Init
	}
	return v4Init
}

// portDNS has a timer of its own: RFC 4787 §4.3 REQ-5a.
const portDNS = 53
