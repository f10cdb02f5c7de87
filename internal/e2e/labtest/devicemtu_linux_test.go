package labtest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// testDeviceMTU changes the MTU of the device under the running binary. The
// largest IPv4 packet that may not be cut is 20 bytes smaller; what is larger
// is answered by the translator, since it is no larger than the device itself
// and so of no concern to the kernel. The pings are between hosts whose path MTU
// the transfers do not need.
func (x *lab) testDeviceMTU(t *testing.T) {
	limit := func(mtu int) {
		t.Helper()
		const headers = 28
		_, err := x.old4.Ping(host6.v4, netlab.Echo{Size: mtu - 20 - headers, DontFragment: true})
		assert.NoError(t, err, "device with MTU %d", mtu)
		for _, size := range []int{mtu - 19, mtu} {
			var wrong *netlab.ICMPError
			_, err = x.old4.Ping(host6.v4, netlab.Echo{Size: size - headers, DontFragment: true})
			require.ErrorAs(t, err, &wrong, "%d bytes, device with MTU %d", size, mtu)
			assert.Equal(t, tayga4, wrong.From)
			assert.Equal(t, mtu-20, wrong.MTU)
		}
	}
	x.watch(t, func() {
		limit(jumboMTU)
		for _, mtu := range []int{1280, 9000, 1500, 9000} {
			x.setDeviceMTU(t, mtu)
			limit(mtu)
		}
	})

	// In the middle of transfers in both directions.
	changed := make(chan struct{})
	var streams []*stream
	for _, c := range []struct {
		from, to *netlab.Host
		dst      netip.Addr
	}{{x.host6, x.host4, host4.v6}, {x.host4, x.host6, host6.v4}} {
		_, err := c.to.ServeTCP(fmt.Sprintf(":%d", streamPort), digest)
		require.NoError(t, err)
		conn, err := c.from.Dial("tcp", at(c.dst, streamPort), patience)
		require.NoError(t, err)
		streams = append(streams, startStream(conn, changed))
	}
	for _, s := range streams {
		<-s.going
	}
	x.setDeviceMTU(t, 1280)
	close(changed)
	for _, s := range streams {
		require.NoError(t, <-s.done)
	}
	for _, c := range []struct {
		host *netlab.Host
		dst  netip.Addr
		want int
	}{{x.host6, host4.v6, 1280}, {x.host4, host6.v4, 1260}} {
		known, err := c.host.PathMTU(c.dst)
		require.NoError(t, err)
		assert.Equal(t, c.want, known)
	}
	x.setDeviceMTU(t, jumboMTU)
}

const streamPort = 50100

// digest answers everything a client sends with its hash.
func digest(c net.Conn) {
	sum := sha256.New()
	io.Copy(sum, c)
	c.Write(sum.Sum(nil))
}

// A stream sends until it is told to stop, and then the length of a transfer.
type stream struct {
	going chan struct{} // closed when the first bytes have gone, or none will
	done  chan error
}

func startStream(c net.Conn, stop <-chan struct{}) *stream {
	s := &stream{make(chan struct{}), make(chan error, 1)}
	go func() {
		var once sync.Once
		begun := func() { once.Do(func() { close(s.going) }) }
		defer begun()
		s.done <- sendStream(c, begun, stop)
	}()
	return s
}

func sendStream(c net.Conn, begun func(), stop <-chan struct{}) error {
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	sum, block := sha256.New(), make([]byte, 64<<10)
	random := rand.NewChaCha8([32]byte{1})
	left := -1 // blocks to send; not known yet
	for sent := 0; left != 0; sent++ {
		random.Read(block)
		sum.Write(block)
		if _, err := c.Write(block); err != nil {
			return err
		}
		if sent*len(block) == transferSize {
			begun()
		}
		if left > 0 {
			left--
			continue
		}
		select {
		case <-stop:
			left = transferSize / len(block)
		default:
		}
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(c)
	if err == nil && !bytes.Equal(got, sum.Sum(nil)) {
		err = fmt.Errorf("SHA-256 differs: %x there, %x here", got, sum.Sum(nil))
	}
	return err
}
