package translate

import "time"

// Sessions maps the flows of IPv6 hosts that share IPv4 addresses by port: RFC 6146.
// *session.Table satisfies it. It maps the host's side alone; addresses of peers are
// mapped by prefix, and by maps and pools like those of all packets.
//
// For packets from IPv6 it is asked last: a source with a Map has no session, and neither
// has one that sends to a prefix with a Dynamic, which leases it an address or does not;
// unless that is a Selector, and the source no client.
// For packets from IPv4 it is asked if the longest prefix that covers the destination is in
// TableConfig.Shared. If that is the translator's own address, what Sessions has no
// binding for is sent to the translator. Config.IPv6 is not its own address then if it is the
// same one inside a prefix: hosts reach each other there.
//
// Local of a result has to be in Shared, without a Map or a pool of a longer prefix, or no
// answer reaches the host. Prefixes are numbered by their place in TableConfig.Prefixes,
// from 1 on; 0 is a destination with a Map, and in results the first prefix without a Pool.
//
// Fragments after the first go where that went, also if they come earlier: see
// Config.FragmentTimeout. A FlowHold is dropped (UnsolicitedSYN), and answered later if Sessions
// are a SYNHolder. A Prober has connections probed.
//
// Sessions may be a Fetcher, too.
//
// All methods are called from the packet path, for each packet: they must be safe for
// concurrent use, and should neither block nor allocate for a flow that they know. now is
// that of Translate. f and to are valid during the call only; to is set if the result is
// FlowMapped. tcpFlags are those of a TCP header, else 0.
type Sessions interface {
	// Outbound maps a packet of a host. It may make a session.
	Outbound(now time.Duration, f *Tuple6, tcpFlags uint8, to *Tuple4) FlowResult
	// Inbound maps a packet to a shared address. It may make a session.
	Inbound(now time.Duration, f *Tuple4, tcpFlags uint8, to *Tuple6) FlowResult
	// OutboundError maps the packet that an ICMPv6 error quotes, which went to the host.
	// It changes nothing. With any ports it returns FlowUnshared only for a host that
	// shares no address.
	OutboundError(now time.Duration, f *Tuple6, to *Tuple4) FlowResult
	// InboundError maps the packet that an ICMPv4 error quotes, which came from the
	// host. It changes nothing.
	InboundError(now time.Duration, f *Tuple4, to *Tuple6) FlowResult
}

// An Addr6 is an IPv6 address as two integers. The first byte is the highest of Hi.
type Addr6 struct{ Hi, Lo uint64 }

// A Tuple6 is a flow of an IPv6 host that shares an IPv4 address, as the host sees it.
// Remote is the IPv4 address that the host's peer has inside a prefix: RFC 6146 §3.5.4
// maps it by algorithm, also if a session maps the host. Addresses are integers whose highest byte
// is the first.
type Tuple6 struct {
	Host                 Addr6
	Remote               uint32
	HostPort, RemotePort uint16 // of ICMP Echo both are the identifier
	Proto                uint8  // of the IP header: 6, 17, 1 or 58
	Pref64               uint8  // the number of that prefix, below MaxPref64
}

// A Tuple4 is the same flow as IPv4 sees it: Local is the shared address.
type Tuple4 struct {
	Local, Remote         uint32
	LocalPort, RemotePort uint16
	Proto                 uint8
}

// MaxPref64 limits the numbers of prefixes in a Tuple6.
const MaxPref64 = 64

// A FlowResult says what is known of a flow, and so what is done with its packet.
type FlowResult uint8

const (
	FlowUnshared  FlowResult = iota // no host or address that is shared: the tables decide
	FlowMapped                      // the tuple of the other family is valid
	FlowNoBinding                   // from IPv4: no host has this address and port
	FlowFiltered                    // from IPv4: the host has not sent to this address
	FlowNoPort                      // from IPv6: no address or port is left for the host
	FlowLimit                       // a limit denies a new flow
	FlowHold                        // from IPv4: an unsolicited SYN, to be answered later
	FlowDrop                        // TCP without a session: dropped silently
)

// String returns the name of a result, as used for counters.
func (r FlowResult) String() string {
	names := [...]string{"unshared", "mapped", "no-binding", "filtered", "no-port", "limit", "hold", "drop"}
	if int(r) >= len(names) {
		return "unknown"
	}
	return names[r]
}
