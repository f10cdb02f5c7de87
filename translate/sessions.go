package translate

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
