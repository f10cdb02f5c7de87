package labtest

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// What the narrow links leave to hosts of the other family: RFC 7915 §4.2, §5.2.
const (
	pathMTU6 = narrow4MTU + 20
	pathMTU4 = narrow6MTU - 20
)

// testPathMTU sends full segments into links that are too narrow for them. They
// get through only if the ICMP error of a router of the other family reaches the
// sender with the right MTU. Every case has a sender that does not know yet.
func (x *lab) testPathMTU(t *testing.T) {
	type transfer func() (netlab.Transfer, error)
	upload := func(from *netlab.Host, to string) transfer {
		return func() (netlab.Transfer, error) { return from.Upload(to, transferSize, patience) }
	}
	download := func(from *netlab.Host, to string) transfer {
		return func() (netlab.Transfer, error) { return from.Download(to, transferSize, patience) }
	}
	for _, c := range []struct {
		name           string
		run            transfer
		host           *netlab.Host // the sender of data
		sender, target endpoint
		six            bool // the sender speaks IPv6
	}{
		{"ipv6-sends/ipv6-asks", upload(x.host6, at(far4.v6, transferPort)), x.host6, host6, far4, true},
		{"ipv6-sends/ipv4-asks", download(x.far4, at(near6.v4, transferPort)), x.near6, near6, far4, true},
		{"ipv4-sends/ipv4-asks", upload(x.host4, at(far6.v4, transferPort)), x.host4, host4, far6, false},
		{"ipv4-sends/ipv6-asks", download(x.far6, at(near4.v6, transferPort)), x.near4, near4, far6, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dst := c.target.addr(c.six)
			known, err := c.host.PathMTU(dst)
			require.NoError(t, err)
			require.Equal(t, c.sender.mtu, known, "known before")

			w := x.watch(t, func() {
				_, err := c.run()
				require.NoError(t, err)
			})
			known, err = c.host.PathMTU(dst)
			require.NoError(t, err)
			if c.six {
				assert.Equal(t, pathMTU6, known)
				x.checkTooBig(t, icmp(w.from6, tooBig6))
				full(t, fitting(segments(w.from4, c.sender.v4, c.target.v4), pathMTU6-60), pathMTU6-60)
			} else {
				assert.Equal(t, pathMTU4, known)
				x.checkFragNeeded(t, icmp(w.from4, unreachable4))
				full(t, fitting(segments(w.from6, c.sender.v6, c.target.v6), pathMTU4-40), pathMTU4-40)
			}

			var wrong *netlab.ICMPError
			_, err = c.host.Ping(dst, netlab.Echo{Size: 1400, DontFragment: true})
			require.ErrorAs(t, err, &wrong)
			assert.Equal(t, known, wrong.MTU, "told to ping")
			headers := 28
			if c.six {
				headers = 48
			}
			_, err = c.host.Ping(dst, netlab.Echo{Size: known - headers, DontFragment: true})
			assert.NoError(t, err, "a packet of that size")

			_, err = c.host.UDPEcho(at(dst, echoPort), netlab.UDPEcho{
				Sizes:    []int{known - headers, known - headers + 1, 1452, 1472, 4000, maxUDP},
				Attempts: 20, Timeout: 250 * time.Millisecond, // the other end may have to learn its own MTU
			})
			assert.NoError(t, err)
		})
	}
}

// fitting returns the segments without those that were too large for the path,
// which got no further than the narrow link.
func fitting(list []segment, mss int) (fit []segment) {
	for _, s := range list {
		if s.n+s.opts <= mss {
			fit = append(fit, s)
		}
	}
	return fit
}

// checkTooBig checks what becomes of the Fragmentation Needed of r4a.
func (x *lab) checkTooBig(t *testing.T, messages []packet) {
	t.Helper()
	require.NotEmpty(t, messages)
	for _, p := range messages {
		assert.Equal(t, embed("198.51.100.2"), p.src, "r4a")
		assert.EqualValues(t, pathMTU6, binary.BigEndian.Uint32(p.data[4:]))
	}
}

// checkFragNeeded checks what becomes of the Packet Too Big of r6b.
func (x *lab) checkFragNeeded(t *testing.T, messages []packet) {
	t.Helper()
	require.NotEmpty(t, messages)
	for _, p := range messages {
		require.EqualValues(t, 4, p.data[1], "code")
		assert.EqualValues(t, pathMTU4, binary.BigEndian.Uint16(p.data[6:]))
		node := nodeAddress(t, p)
		if x.mode.plainErrors {
			assert.Equal(t, tayga4, p.src)
			assert.False(t, node.IsValid(), "%v", node)
		} else {
			assert.Contains(t, icmpPool, p.src)
			assert.Equal(t, addr("2001:db8:0:1::2"), node, "r6b")
		}
	}
}

// testPathMTUControl has the routers send no ICMP errors. The
// transfers have to stall then, or testPathMTU would show nothing.
func (x *lab) testPathMTUControl(t *testing.T) {
	x.r4a.Nft(`table ip control {
		chain output {
			type filter hook output priority 0
			icmp type destination-unreachable drop
		}
	}`)
	x.r6b.Nft(`table ip6 control {
		chain output {
			type filter hook output priority 0
			icmpv6 type packet-too-big drop
		}
	}`)
	upload := func(timeout time.Duration) (err6, err4 error) {
		done := make(chan error)
		go func() {
			_, err := x.host6.Upload(at(far4.v6, transferPort), transferSize, timeout)
			done <- err
		}()
		_, err4 = x.host4.Upload(at(far6.v4, transferPort), transferSize, timeout)
		return <-done, err4
	}
	err6, err4 := upload(time.Second)
	assert.ErrorIs(t, err6, os.ErrDeadlineExceeded, "from IPv6")
	assert.ErrorIs(t, err4, os.ErrDeadlineExceeded, "from IPv4")
	x.r4a.Nft("delete table ip control")
	x.r6b.Nft("delete table ip6 control")
	assert.NoError(t, errors.Join(upload(patience)))
}
