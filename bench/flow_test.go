package bench

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

// A network is IPv6 hosts behind a translator, and the IPv4 addresses that stand
// for them.
type network struct {
	t  *translate.Translator
	v6 [][16]byte
	v4 [][4]byte
}

// prefixNetwork numbers its hosts from the prefix: there is no table.
func prefixNetwork(b *testing.B, n int) *network {
	x := &network{t: newTranslator(b, translate.TableConfig{Prefixes: []netip.Prefix{packettest.P}})}
	for i := range n {
		x.v4 = append(x.v4, v4(i))
		x.v6 = append(x.v6, embed(v4(i)))
	}
	return x
}

// mapNetwork gives each host an explicit map.
func mapNetwork(b *testing.B, n int) *network {
	x := &network{
		t:  newTranslator(b, translate.TableConfig{Prefixes: []netip.Prefix{packettest.P}, Maps: maps(n)}),
		v6: hosts(n),
	}
	for i := range n {
		x.v4 = append(x.v4, v4(i))
	}
	return x
}

// poolNetwork gives each host a lease.
func poolNetwork(b *testing.B, n int) *network {
	p, v4s := leases(b, n)
	tc := translate.TableConfig{Prefixes: []netip.Prefix{packettest.P}, Pools: []translate.Pool{{Prefixes: []netip.Prefix{hosts4}, Dynamic: p}}}
	return &network{t: newTranslator(b, tc), v6: hosts(n), v4: v4s}
}

// leases returns a pool with leases of hosts(n), and their addresses.
func leases(b *testing.B, n int) (*pool.Pool, [][4]byte) {
	b.Helper()
	p, err := pool.New(pool.Config{Prefixes: []netip.Prefix{hosts4}}, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	v4s := make([][4]byte, n)
	for i, h := range hosts(n) {
		a, ok := p.Assign(h)
		if !ok {
			b.Fatalf("no address for host %d of %d", i, n)
		}
		v4s[i] = a
	}
	return p, v4s
}

// embed returns the IPv6 form of an IPv4 address: RFC 6052 §2.2, for a /96.
func embed(v4 [4]byte) [16]byte {
	a := packettest.P.Addr().As16()
	copy(a[12:], v4[:])
	return a
}

// peer returns the j-th IPv4 host on the other side, out of 65,536.
func peer(j int) [4]byte { return [4]byte{203, 0, byte(j >> 8), byte(j)} }

// traffic makes TCP packets of 64 bytes between the hosts that order names and
// peers, of which the i-th packet is for peers(i).
func (x *network) traffic(dir string, order []int, peers func(i int) int) *traffic {
	h := packettest.From4()
	at, width := 10, 10 // checksum and addresses of IPv4
	if dir == "6to4" {
		h = packettest.From6()
		at, width = 8, 32 // addresses of IPv6
	}
	tr := &traffic{pkt: padded(h, 64, protos[0].l4), restore: headers, at: at, width: width}
	tr.flows = make([]byte, 0, width*len(order))
	hdr := append([]byte(nil), tr.pkt[:at+width]...)
	for i, host := range order {
		other := peer(peers(i))
		if dir == "6to4" {
			to := embed(other)
			copy(hdr[8:], x.v6[host][:])
			copy(hdr[24:], to[:])
		} else {
			copy(hdr[12:], other[:])
			copy(hdr[16:], x.v4[host][:])
			packettest.FixHeader(hdr)
		}
		tr.flows = append(tr.flows, hdr[at:]...)
	}
	return tr
}

// BenchmarkFlows is the cost of a packet by the number of flows and by where
// addresses come from. The flows of packets follow each other at random, which
// is the worst case: traffic comes in trains.
//
// A worker remembers the pairs of addresses that it saw last. With one flow it
// always finds them, with a million hardly ever; memory=void makes it forget
// between batches, so with 1,000 flows the difference is what remembering is
// worth.
func BenchmarkFlows(b *testing.B) {
	for _, table := range []struct {
		name string
		make func(*testing.B, int) *network
	}{{"prefix", prefixNetwork}, {"maps", mapNetwork}, {"pool", poolNetwork}} {
		var x *network // made when it is needed: a million of each takes a while
		for _, dir := range []string{"4to6", "6to4"} {
			for _, c := range []struct {
				flows int
				void  bool
			}{{1, false}, {1000, false}, {1000, true}, {million, false}} {
				name := fmt.Sprintf("table=%s/dir=%s/flows=%d", table.name, dir, c.flows)
				if c.void {
					name += "/memory=void"
				}
				var tr *traffic
				b.Run(name, func(b *testing.B) {
					if x == nil {
						x = table.make(b, million)
					}
					if tr == nil {
						tr = x.traffic(dir, order(c.flows), func(int) int { return 0 })
					}
					p := newPump(x.t, tr)
					p.void = c.void
					measurePumps(b, translate.Forward, p)
				})
			}
		}
	}
}

// newFlows returns peers so that hardly a packet is of a flow that a worker
// remembers, however few hosts there are.
func newFlows() func(int) int {
	r := rand.New(rand.NewPCG(3, 3))
	return func(int) int { return r.IntN(1 << 16) }
}
