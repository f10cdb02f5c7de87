package labtest

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

const transferSize = 3 << 20

// testTCP transfers data in both directions over connections opened from both
// sides; the two ends compare hashes. Then it looks at the segments.
func (x *lab) testTCP(t *testing.T) {
	for _, c := range []struct {
		name   string
		client *netlab.Host
		six    endpoint // the end that speaks IPv6
		four   endpoint // the end that speaks IPv4
		asks6  bool     // the former is the client
		noDF   bool     // the latter sends without DF
	}{
		{"ipv6-asks", x.near6, near6, near4, true, false},
		{"ipv4-asks", x.near4, near6, near4, false, false},
		{"jumbo/ipv6-asks", x.host6, host6, host4, true, false},
		{"jumbo/ipv4-asks", x.host4, host6, host4, false, false},
		{"no-df/ipv6-asks", x.near6, near6, old4, true, true},
		{"no-df/ipv4-asks", x.old4, near6, old4, false, true},
		{"no-df/jumbo/ipv6-asks", x.host6, host6, old4, true, true},
		{"no-df/jumbo/ipv4-asks", x.old4, host6, old4, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := c.four.v6
			if !c.asks6 {
				server = c.six.v4
			}
			passed, err := x.gateway.Capture(device)
			require.NoError(t, err)
			transfers := func() {
				up, err := c.client.Upload(at(server, transferPort), transferSize, patience)
				require.NoError(t, err)
				down, err := c.client.Download(at(server, transferPort), transferSize, patience)
				require.NoError(t, err)
				want := c.six.v4 // the client, as the server sees it
				if !c.asks6 {
					want = c.four.v6
				}
				assert.Equal(t, want, up.SeenAs.Addr())
				assert.Equal(t, want, down.SeenAs.Addr())
			}
			w := x.watch(t, func() {
				n := uint64(transferSize)
				if !c.noDF { // or else half of it is not plain, but cut
					n *= 2
				}
				x.share(t, n, transfers)
			})
			packets, err := passed.Stop()
			require.NoError(t, err)

			mss := min(c.six.mtu-60, c.four.mtu-40)
			for _, m := range []int{
				min(synMSS(t, w.to6, c.six.v6, c.four.v6), synMSS(t, w.from6, c.four.v6, c.six.v6)),
				min(synMSS(t, w.to4, c.four.v4, c.six.v4), synMSS(t, w.from4, c.six.v4, c.four.v4)),
			} {
				assert.Equal(t, mss, m, "negotiated")
			}
			sent6, got4 := segments(w.to6, c.six.v6, c.four.v6), segments(w.from4, c.six.v4, c.four.v4)
			full(t, sent6, mss)
			full(t, got4, mss)
			same(t, sent6, got4)

			sent4, got6 := segments(w.to4, c.four.v4, c.six.v4), segments(w.from6, c.four.v6, c.six.v6)
			full(t, sent4, mss)
			for _, s := range sent4 {
				require.Equal(t, !c.noDF, s.df, "DF of the IPv4 host")
			}
			if c.noDF {
				assert.Greater(t, fragments(w.from6), len(sent4), "cut to what every link carries")
				x.checkLarge(t, packets, c.six.mtu, false)
				return
			}
			assert.Zero(t, fragments(w.from6)+fragments(w.from4))
			full(t, got6, mss)
			same(t, sent4, got6)
			x.checkLarge(t, packets, c.six.mtu, true)
		})
	}
}

// checkLarge checks that the device was handed, and if whole gave back, packets
// larger than the MTU of the hosts if offloads are on, and none if they are off:
// so the one mode tests what the other does not.
//
// With the fast path on, a capture sees of what it translates only what comes back: as large
// as it was, with and without offloads. Packets that have to be cut come to the daemon as ever.
func (x *lab) checkLarge(t *testing.T, packets []netlab.Packet, mtu int, whole bool) {
	t.Helper()
	var largest = map[bool]int{}
	for _, p := range packets {
		largest[p.Outgoing] = max(largest[p.Outgoing], len(p.Data))
	}
	if !whole || x.mode.daemonOnly {
		assert.Equal(t, x.mode.offload, largest[true] > mtu, "largest packet into the translator: %d", largest[true])
	}
	if whole {
		assert.Equal(t, x.mode.large(), largest[false] > mtu, "largest packet out of it: %d", largest[false])
	}
}

// A segment is a TCP segment with data.
type segment struct {
	seq  uint32
	n    int // bytes of data
	opts int // bytes of options
	df   bool
}

// segments returns the segments from one address to another that are whole.
func segments(ps []packet, src, dst netip.Addr) (list []segment) {
	for _, p := range ps {
		if p.proto != protoTCP || p.fragment || p.src != src || p.dst != dst {
			continue
		}
		if s := asSegment(&p); s.n > 0 {
			list = append(list, s)
		}
	}
	return list
}

func asSegment(p *packet) segment {
	hdr := int(p.data[12]>>4) * 4
	return segment{binary.BigEndian.Uint32(p.data[4:]), len(p.data) - hdr, hdr - 20, p.df}
}

// synMSS returns the maximum segment size that src tells dst.
func synMSS(t *testing.T, ps []packet, src, dst netip.Addr) int {
	t.Helper()
	for _, p := range ps {
		if p.proto != protoTCP || p.src != src || p.dst != dst || p.data[13]&2 == 0 {
			continue
		}
		require.Equal(t, []byte{2, 4}, p.data[20:22], "the first option of Linux")
		return int(binary.BigEndian.Uint16(p.data[22:]))
	}
	t.Fatalf("no SYN from %v to %v", src, dst)
	return 0
}

// full checks that no segment is larger than negotiated, options included (RFC
// 6691 §2), and that most of the data is in segments of that size.
func full(t *testing.T, list []segment, mss int) {
	t.Helper()
	all, whole := 0, 0
	for _, s := range list {
		require.LessOrEqual(t, s.n+s.opts, mss, "segment at %d", s.seq)
		all += s.n
		if s.n+s.opts == mss {
			whole += s.n
		}
	}
	assert.Greater(t, whole*4, all*3, "%d of %d bytes are in segments of %d", whole, all, mss)
}

// same checks that what came out is what went in, neither merged nor cut. What
// went in may have been lost on the way.
func same(t *testing.T, in, out []segment) {
	t.Helper()
	type key struct {
		seq uint32
		n   int
	}
	seen := map[key]bool{}
	for _, s := range in {
		seen[key{s.seq, s.n}] = true
	}
	require.NotEmpty(t, out)
	for _, s := range out {
		require.True(t, seen[key{s.seq, s.n}], "segment of %d bytes at %d went in otherwise", s.n, s.seq)
	}
}
