package fastpath

// The types of keys and values, as bpf/maps.h has them. Addresses and ports are in network
// order, the rest is in that of the processor.

type host6Key struct {
	host   [16]byte
	pref64 uint32 // the number of the prefix that the host sends to
}

type host6Value struct {
	addr             [4]byte
	generation, used uint32
}

type host4Value struct {
	host             [16]byte
	generation, used uint32
	pref64           uint32 // the index of the prefix inside which the host sees its peers
}

type session6Key struct {
	host                 [16]byte
	remote               [4]byte
	hostPort, remotePort [2]byte
	proto, pref64        uint8
	_                    uint16
}

type session6Value struct {
	local            [4]byte
	generation, used uint32
	port             [2]byte
	_                uint16
}

type session4Key struct {
	local, remote         [4]byte
	localPort, remotePort [2]byte
	proto                 uint32
}

type session4Value struct {
	host             [16]byte
	generation, used uint32
	port             [2]byte
	pref64           uint16
}

const (
	maxPrefixes = 8
	maxPages    = 64
	numCounts   = 64
	identSets   = 8192
)

type prefixData struct {
	hi, lo, maskHi, maskLo uint64
	bits, number           uint32
}

type rulesData struct {
	generation                           uint32
	mtu4, mtu6, cut6                     uint32
	keep4to6, set4to6, keep6to4, set6to4 uint8
	flags                                uint32
	prefixes                             uint32
	clatPrefix                           uint32 // index of the one that maps the peers of clat4
	clat4                                [4]byte
	clat6                                [16]byte
	_                                    uint32
	clockStart                           uint64
	identKey, identPlaces                [2]uint64
	prefix                               [maxPrefixes]prefixData
	remote                               [1 << 16]uint8
}

// Flags of rulesData.
const (
	hasHosts    = 1
	hasSessions = 2
	leaveUDP    = 4
	hasCLAT     = 8
)

// What rulesData.remote says of 65,536 addresses. Higher values are numbers of pages.
const (
	allPeers  = 0
	noPeers   = 1
	firstPage = 2
)

// A page has a bit for each of 65,536 addresses that is no peer's.
type page [1 << 16 / 64]uint64

// A countValue has exported fields, since the values of all processors are decoded by reflection.
type countValue struct{ Packets, Bytes, Segments uint64 }
