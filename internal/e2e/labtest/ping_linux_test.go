package labtest

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// testPing sends echo requests of small and of full size from both sides, and to
// the translator itself.
func (x *lab) testPing(t *testing.T) {
	w := x.watch(t, func() {
		for _, size := range []int{0, 1, 56, 57, 1232, 1233, 1452} {
			r, err := x.near6.Ping(near4.v6, netlab.Echo{Size: size})
			require.NoError(t, err)
			assert.Equal(t, 64-7, r.HopLimit, "seven hops from near4")
			r, err = x.near4.Ping(near6.v4, netlab.Echo{Size: size})
			require.NoError(t, err)
			assert.Equal(t, 64-7, r.HopLimit, "seven hops from near6")
		}
		_, err := x.near6.Ping(tayga6, netlab.Echo{Size: 56})
		require.NoError(t, err)
		_, err = x.near4.Ping(tayga4, netlab.Echo{Size: 56})
		require.NoError(t, err)
	})
	assert.Zero(t, fragments(w.to6)+fragments(w.to4), "no fragments")
}

// testPing4000 has links that take the whole packet, since fragments of ICMP
// are not translated: their checksum would have to cover a length that no
// fragment tells (RFC 7915 §1.2). What leaves with DF clear is cut by the
// translator to what every IPv6 link carries, and put together by the host.
func (x *lab) testPing4000(t *testing.T) {
	const size = 4000
	const pieces = 4 // of 1232 bytes, for 8 of the header and the data
	for _, c := range []struct {
		name           string
		from           *netlab.Host
		six            bool
		df             bool
		from6fragments int
	}{
		{name: "ipv6-asks", from: x.host6, six: true, from6fragments: pieces}, // the reply has DF clear
		{name: "ipv4-asks", from: x.host4, from6fragments: pieces},
		{name: "ipv4-asks-df", from: x.host4, df: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dst := host6.v4
			if c.six {
				dst = host4.v6
			}
			w := x.watch(t, func() {
				r, err := c.from.Ping(dst, netlab.Echo{Size: size, DontFragment: c.df})
				require.NoError(t, err)
				assert.Equal(t, size, r.Size)
				assert.Equal(t, dst, r.From)
			})
			assert.Equal(t, c.from6fragments, fragments(w.from6), "IPv6 fragments from the gateway")
			assert.Zero(t, fragments(w.from4)+fragments(w.to4)+fragments(w.to6), "other fragments")
		})
	}
}

// testPingFragmented shows that the links matter: a request that its sender had
// to fragment goes no further than the translator. An IPv4 sender is told so, RFC 7915
// §4.4; about ICMPv6 §5.4 wants no such error.
func (x *lab) testPingFragmented(t *testing.T) {
	e := netlab.Echo{Size: 4000, Timeout: 200 * time.Millisecond}
	w := x.watch(t, func() {
		_, err := x.near6.Ping(host4.v6, e)
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		_, err = x.near4.Ping(host6.v4, e)
		assert.ErrorContains(t, err, "type 3, code 13")
	})
	assert.Equal(t, 3, fragments(w.to6), "IPv6 fragments that reached the gateway")
	assert.Equal(t, 3, fragments(w.to4), "IPv4 fragments that reached the gateway")
	assert.Zero(t, fragments(w.from6)+fragments(w.from4), "fragments that left it")
}
