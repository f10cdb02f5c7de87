package bench

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"github.com/steppe-nat64/steppe/translate"
)

// counts are the numbers of maps and leases to measure with: what does not
// depend on them stays flat.
var counts = []int{10, 1000, 100_000, 1_000_000}

// million is the largest of counts.
const million = 1_000_000

// base4 is the first IPv4 address of the hosts with maps or leases; all of them
// lie in hosts4.
const base4 = 10<<24 | 1

var hosts4 = netip.MustParsePrefix("10.0.0.0/12")

// v4 returns the IPv4 address of the i-th host.
func v4(i int) (a [4]byte) {
	binary.BigEndian.PutUint32(a[:], uint32(base4+i))
	return a
}

// hosts returns n IPv6 addresses, always the same: in a thousand networks, with
// interface identifiers at random, as hosts choose them (RFC 7217).
func hosts(n int) [][16]byte {
	r := rand.New(rand.NewPCG(1, 1))
	all := make([][16]byte, n)
	for i := range all {
		binary.BigEndian.PutUint64(all[i][:], 0x20010db8_00000000|uint64(1+r.IntN(1000))<<16)
		binary.BigEndian.PutUint64(all[i][8:], r.Uint64())
	}
	return all
}

// maps returns explicit maps of v4(i) to hosts(n)[i].
func maps(n int) []translate.Map {
	all := make([]translate.Map, n)
	for i, h := range hosts(n) {
		all[i] = translate.Map{
			IPv4: netip.PrefixFrom(netip.AddrFrom4(v4(i)), 32),
			IPv6: netip.PrefixFrom(netip.AddrFrom16(h), 128),
		}
	}
	return all
}

// orderLen is how many steps a random order has before it begins anew.
const orderLen = 1 << 20

// order returns numbers below n at random, always the same: hosts in an order
// that no cache foresees.
func order(n int) []int {
	r := rand.New(rand.NewPCG(2, 2))
	all := make([]int, orderLen)
	for i := range all {
		all[i] = r.IntN(n)
	}
	return all
}
