package translate

// A Reason says why a packet got its verdict. Each one is a counter in Stats.
type Reason uint8

const (
	NotChecked Reason = iota // the packet has not been checked yet
	Translated               // forwarded to the other family
	Hairpinned               // translated twice, back into IPv6: RFC 7757 §4.2
	Waiting                  // kept for Emit, so that the caller drops it: see Stats

	// Not translated: dropped silently if an RFC requires it, otherwise rejected with 3/13
	// or 1/1, like those below (RFC 7915 §4.4, §5.4). rfc/README.md has the list.

	BadHeader          // invalid IP header or lengths: RFC 1812 §5.2.2, RFC 8200 §3
	BadHeaderChecksum  // IPv4 header checksum wrong: RFC 1812 §5.2.2
	IllegalSource      // source address that no packet may have: RFC 7915 §4.1, §5.1
	IllegalDestination // destination that is multicast, loopback, …: RFC 7915 §1.2, §8
	NonGlobal          // well-known prefix with a non-global IPv4 address: RFC 6052 §3.1
	LinkLocal          // IPv4 link-local address, which no router forwards: RFC 3927 §2.7, §7
	EmbeddedSource     // IPv6 source inside a translation prefix: RFC 6052 §5.1
	BadFragment        // fragment that cannot be part of a packet: RFC 8200 §4.5
	TinyFragment       // first fragment without its transport header: RFC 1858, RFC 3128
	FragmentedICMP     // fragment of an ICMP message: RFC 7915 §1.2
	FragmentChain      // extension header after a Fragment Header: RFC 7915 §5.1.1
	BadExtensionHeader // extension header chain cut short: RFC 8200 §4
	NoProtocol         // protocol with no counterpart in the other family
	ShortTransport     // transport header cut short, or its length is wrong
	UDPZeroChecksum    // UDP without checksum where one is needed: RFC 7915 §4.5
	ICMPType           // type or code without counterpart: RFC 7915 §4.2, §5.2
	ICMPPointer        // Parameter Problem pointer without counterpart: RFC 7915 §4.2, §5.2
	ICMPMTU            // Packet Too Big with an MTU below 88, 20 more than IPv4 can have: RFC 791 §3.2
	ICMPChecksum       // ICMP error with a wrong checksum: RFC 7915 §5
	ICMPQuote          // quoted packet that cannot be translated: RFC 7915 §4.3, §5.3
	ICMPQuotedError    // ICMP error that quotes an ICMP error: RFC 7915 §4.3, §5.3
	ICMPExtension      // RFC 4884 length beyond the message
	ICMPSource         // ICMP error whose source cannot be translated: RFC 6791
	SelfICMP           // ICMP to the translator itself that asks for no answer
	HairpinLoop        // hairpinned packet that would not change
	BadOffload         // offload description that contradicts the packet
	NoSession          // TCP or an ICMP error, and a shared address without such a session: RFC 6146 §3.5.2
	UnsolicitedSYN     // SYN from IPv4 that a shared address does not expect: RFC 6146 §3.5.2.2
	FragmentRoom       // fragment of a shared address, and no room for it: RFC 6146 §3.4
	FragmentOverlap    // fragment of a shared address that overlaps others of its packet: RFC 5722
	FragmentTimeout    // fragment of a shared address that waited in vain for others: RFC 6146 §3.4
	SessionLimit       // new flow of a shared address that a limit denies: RFC 6146 §5.3
	Filtered           // shared address that expects nothing from this source: RFC 6146 §3.5

	// Not translated: rejected with an ICMP error (Verdict Reply) unless RFC 1812 §4.3,
	// RFC 4443 §2.4, the error budget or the configuration forbid it (Drop).

	HopLimit      // TTL or hop limit exceeded: RFC 7915 §4.1, §5.1
	TooBig        // larger than the next hop's MTU: RFC 7915 §1.4, §4.1
	SourceRoute   // unexpired source route or Routing header: RFC 7915 §4.1, §5.1
	NoDestination // destination that no mapping covers: RFC 7915 §4.4, §5.4
	NoSource      // source that no mapping covers: RFC 7915 §4.4, §5.4
	NoBinding     // shared address and port that no host has: RFC 6146 §3.5
	NoPort        // no shared address or port is left: RFC 6146 §3.5.1.1
	OtherProtocol // protocol that cannot share an address: RFC 6146 §3.4
	SelfProtocol  // sent to the translator itself, which has no such service

	// Answered.

	EchoReply // Echo Request to the translator itself: RFC 1812 §4.3.3.6, RFC 4443 §4.1

	// NumReasons is the number of reasons.
	NumReasons = int(EchoReply) + 1
)

// pass is the result of a check that finds no error.
const pass = NotChecked

// reasonNames are short, stable names for counters and logs.
var reasonNames = [NumReasons]string{
	NotChecked:         "not-checked",
	Translated:         "translated",
	Hairpinned:         "hairpinned",
	Waiting:            "waiting",
	BadHeader:          "bad-header",
	BadHeaderChecksum:  "bad-header-checksum",
	IllegalSource:      "illegal-source",
	IllegalDestination: "illegal-destination",
	NonGlobal:          "non-global",
	LinkLocal:          "link-local",
	EmbeddedSource:     "embedded-source",
	BadFragment:        "bad-fragment",
	TinyFragment:       "tiny-fragment",
	FragmentedICMP:     "fragmented-icmp",
	FragmentChain:      "fragment-chain",
	BadExtensionHeader: "bad-extension-header",
	NoProtocol:         "no-protocol",
	ShortTransport:     "short-transport",
	UDPZeroChecksum:    "udp-zero-checksum",
	ICMPType:           "icmp-type",
	ICMPPointer:        "icmp-pointer",
	ICMPMTU:            "icmp-mtu",
	ICMPChecksum:       "icmp-checksum",
	ICMPQuote:          "icmp-quote",
	ICMPQuotedError:    "icmp-quoted-error",
	ICMPExtension:      "icmp-extension",
	ICMPSource:         "icmp-source",
	SelfICMP:           "self-icmp",
	HairpinLoop:        "hairpin-loop",
	BadOffload:         "bad-offload",
	NoSession:          "no-session",
	UnsolicitedSYN:     "unsolicited-syn",
	FragmentRoom:       "fragment-room",
	FragmentOverlap:    "fragment-overlap",
	FragmentTimeout:    "fragment-timeout",
	SessionLimit:       "session-limit",
	Filtered:           "filtered",
	HopLimit:           "hop-limit",
	TooBig:             "too-big",
	SourceRoute:        "source-route",
	NoDestination:      "no-destination",
	NoSource:           "no-source",
	NoBinding:          "no-binding",
	NoPort:             "no-port",
	OtherProtocol:      "other-protocol",
	SelfProtocol:       "self-protocol",
	EchoReply:          "echo-reply",
}

// String returns the reason's name: lower case, words joined by hyphens, fit
// for a counter's label.
func (r Reason) String() string {
	if int(r) < NumReasons {
		return reasonNames[r]
	}
	return "unknown"
}
