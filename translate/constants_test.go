package translate

import "testing"

// TestConstants: the numbers that IANA, the RFCs and the kernel assign, and the sizes
// that comments and documents name. Most of them have an effect in few packets, and a
// table of numbers is read once.
func TestConstants(t *testing.T) {
	for name, c := range map[string][2]int{
		// IANA: protocol numbers.
		"protoHopByHop": {protoHopByHop, 0}, "protoICMPv4": {protoICMPv4, 1}, "protoIGMP": {protoIGMP, 2}, "protoTCP": {protoTCP, 6},
		"protoUDP": {protoUDP, 17}, "protoDCCP": {protoDCCP, 33}, "protoRouting": {protoRouting, 43}, "protoFragment": {protoFragment, 44},
		"protoAH": {protoAH, 51}, "protoICMPv6": {protoICMPv6, 58}, "protoDestOpts": {protoDestOpts, 60}, "protoMobility": {protoMobility, 135},
		"protoUDPLite": {protoUDPLite, 136}, "protoHIP": {protoHIP, 139}, "protoShim6": {protoShim6, 140},
		// IANA: ICMP types.
		"icmp4EchoReply": {icmp4EchoReply, 0}, "icmp4Unreachable": {icmp4Unreachable, 3}, "icmp4Quench": {icmp4Quench, 4}, "icmp4Redirect": {icmp4Redirect, 5},
		"icmp4Echo": {icmp4Echo, 8}, "icmp4TimeExceeded": {icmp4TimeExceeded, 11}, "icmp4ParamProblem": {icmp4ParamProblem, 12},
		"icmp6Unreachable": {icmp6Unreachable, 1}, "icmp6TooBig": {icmp6TooBig, 2}, "icmp6TimeExceeded": {icmp6TimeExceeded, 3},
		"icmp6ParamProblem": {icmp6ParamProblem, 4}, "icmp6Echo": {icmp6Echo, 128}, "icmp6EchoReply": {icmp6EchoReply, 129},
		// RFC 791, RFC 8200, RFC 792.
		"len4": {len4, 20}, "len6": {len6, 40}, "lenFrag": {lenFrag, 8}, "lenICMP": {lenICMP, 8},
		"minMTU4": {minMTU4, 68}, "minMTU6": {minMTU6, 1280}, "maxLen": {maxLen, 65535},
		"flagDF": {flagDF, 0x4000}, "flagMF": {flagMF, 0x2000}, "linkLocal4": {linkLocal4, 0xa9fe},
		// RFC 9293, RFC 3168: TCP flags.
		"tcpFIN": {tcpFIN, 1}, "tcpPSH": {tcpPSH, 8}, "tcpCWR": {tcpCWR, 0x80},
		// RFC 4884, RFC 5837.
		"minPaddedQuote": {minPaddedQuote, 128}, "lenStructure": {lenStructure, 4}, "lenNode": {lenNode, 24}, "classIfInfo": {classIfInfo, 2},
		"nodeCType": {nodeCType, 4}, "roleMask": {roleMask, 0xc0}, "afiIPv6": {afiIPv6, 2}, "maxNodeStruct": {maxNodeStruct, 420},
		// RFC 1812, RFC 4443, RFC 7915: errors.
		"maxError4": {maxError4, 576}, "maxError6": {maxError6, 1280}, "ownTTL": {ownTTL, 64}, "errorTOS": {errorTOS, 0xc0}, "keepTOS": {keepTOS, 0x1e},
		"prohibited": {prohibited, 13}, "minPTB": {minPTB, 88}, "maxClearDF": {maxClearDF, 1260}, "noPointer": {noPointer, 0xff},
		// The kernel: struct virtio_net_hdr, UDP_MAX_SEGMENTS.
		"OffloadNeedsCsum": {OffloadNeedsCsum, 1}, "GSONone": {GSONone, 0}, "GSOTCPv4": {GSOTCPv4, 1}, "GSOTCPv6": {GSOTCPv6, 4}, "GSOUDPL4": {GSOUDPL4, 5},
		"GSOECN": {GSOECN, 0x80}, "maxUDPSegments": {maxUDPSegments, 128},
		// What the documentation says.
		"Headroom": {Headroom, 48}, "Tailroom": {Tailroom, 136}, "MaxPieces": {MaxPieces, 64}, "maxICMPPool": {maxICMPPool, 256}, "UnlimitedErrors": {UnlimitedErrors, 1 << 30},
		"NumReasons": {NumReasons, int(EchoReply) + 1}, "numVerdicts": {numVerdicts, int(Split) + 1}, "numDirections": {numDirections, int(NoFamily) + 1},
		"errorClasses": {errorClasses, 2}, "reserveShare": {reserveShare, 5}, "errorHosts": {errorHosts, 1024}, "errorHostShift": {errorHostShift, 54},
		// What ident.go explains: 65,536 counters, a tick of 34 ms, values that come round.
		"identSets": {identSets, 8192}, "identWays": {identWays, 8}, "identBlock": {identBlock, 32}, "identStale": {identStale, 4096}, "identSpan": {identSpan, 65536},
		"clockShift": {clockShift, 25}, "clockSlack": {clockSlack, 4}, "countBits": {countBits, 24}, "tagShift": {tagShift, 40}, "tagBits": {tagBits, 24}, "countMask": {countMask, 0xffffff},
		// What was measured: slots of flows, and from when on maps are fetched.
		"flowSlots": {flowSlots, 2048}, "flowShift": {flowShift, 53}, "manySlots": {manySlots, 16384},
	} {
		if c[0] != c[1] {
			t.Errorf("%s is %d, want %d", name, c[0], c[1])
		}
	}
}
