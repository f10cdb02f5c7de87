package fastpath

import "github.com/steppe-nat64/steppe/translate"

// A Count counts packets at the program. A super-packet is one of Packets, and as many
// Segments as it has on the wire; Bytes are those that came in, headers included.
type Count struct {
	Direction                translate.Direction
	Reason                   Reason
	Packets, Bytes, Segments uint64
}

// A Reason says what became of a packet at the program, or why it left it to the
// translator.
type Reason uint8

// The numbers are those of the program.
const (
	ByHost       Reason = iota // translated: a host has an IPv4 address
	BySession                  // translated: hosts share an IPv4 address
	OtherFamily                // neither IPv4 nor IPv6
	Header                     // invalid, padded, or cut short
	Fragment                   // a fragment
	Options                    // IPv4 options
	Protocol                   // an extension header, or a protocol that the program does not know
	ICMPType                   // ICMP other than Echo
	NoChecksum                 // UDP without checksum
	HopLimit                   // TTL or hop limit of 1 or less
	Size                       // has to be cut or answered
	Offload                    // a checksum or segments of a header deeper inside
	NoPeer                     // the peer's address is mapped by more than a prefix, or not at all
	Unknown                    // a host or session that the program does not know
	TCPFlags                   // a SYN, and a FIN or RST of a session
	UDP                        // rules leave UDP to the translator
	RulesChanged               // meanwhile
	NotChanged                 // the kernel refused to make room for the new header
	Dropped                    // a helper failed: nothing is sent
	numReasons
)

// perDirection is how many counters a direction has.
const perDirection = 20

// String returns the name of a reason, as used for counters.
func (r Reason) String() string {
	names := [...]string{"by-host", "by-session", "other-family", "header", "fragment", "options", "protocol",
		"icmp-type", "no-checksum", "hop-limit", "size", "offload", "no-peer", "unknown", "tcp-flags",
		"udp", "rules-changed", "not-changed", "dropped"}
	if r >= numReasons {
		return "unknown"
	}
	return names[r]
}

// Translated reports whether the program has translated the packet.
func (r Reason) Translated() bool { return r <= BySession }
