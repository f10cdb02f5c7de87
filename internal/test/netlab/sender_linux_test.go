package netlab

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestSender sends what no socket of a program would: foreign sources, bytes
// that are no packet, and through a TUN device.
func TestSender(t *testing.T) {
	x := newChain(t)
	mac, err := x.r.HardwareAddr("eth0")
	require.NoError(t, err)
	require.Len(t, mac, 6)
	s, err := x.a.OpenSender("eth0", mac)
	require.NoError(t, err)
	c, err := x.r.Capture("eth0")
	require.NoError(t, err)
	before, err := x.r.Counters("eth0")
	require.NoError(t, err)
	packets := [][]byte{
		append([]byte{0x45, 1, 2, 3}, make([]byte, 30)...),
		append([]byte{0x60, 1, 2, 3}, make([]byte, 60)...),
		{0xf0},
	}
	for _, p := range packets {
		sent, err := s.Send(p)
		require.NoError(t, err)
		assert.True(t, sent)
	}
	got, err := c.Stop()
	require.NoError(t, err)
	n := 0
	for _, p := range got {
		if !p.Outgoing && n < len(packets) && bytes.Equal(p.Data, packets[n]) {
			n++
		}
	}
	assert.Equal(t, len(packets), n)
	after, err := x.r.Counters("eth0")
	require.NoError(t, err)
	assert.GreaterOrEqual(t, after.Received-before.Received, uint64(len(packets)))

	_, err = s.Send(make([]byte, 1501))
	assert.ErrorIs(t, err, unix.EMSGSIZE)
	require.NoError(t, s.Close())
	_, err = s.Send(packets[0])
	assert.ErrorContains(t, err, "netlab: a: send 34 bytes: use of closed file")
	_, err = x.a.OpenSender("eth7", mac)
	assert.ErrorContains(t, err, "netlab: a: open sender on eth7: find eth7")
	_, err = x.a.Counters("eth7")
	assert.ErrorIs(t, err, ErrNoInterface)
	_, err = x.a.HardwareAddr("eth7")
	assert.ErrorIs(t, err, ErrNoInterface)
}

// TestChangeLink sets an interface down and up and deletes it.
func TestChangeLink(t *testing.T) {
	x := newChain(t)
	x.r.QueueLength("eth0", 5)
	x.r.Down("eth0")
	assert.Error(t, x.r.WaitRunning("eth0", 0))
	x.r.Up("eth0")
	require.NoError(t, x.r.WaitRunning("eth0", 10*time.Second))
	link, err := x.r.link("eth0")
	require.NoError(t, err)
	assert.Equal(t, 5, link.Attrs().TxQLen)
	x.r.Delete("eth0")
	assert.ErrorIs(t, x.r.WaitRunning("eth0", 0), ErrNoInterface)
}

// TestOutputFrom reads what a process prints piece by piece.
func TestOutputFrom(t *testing.T) {
	h := New(t).Host("a")
	p, err := h.Launch("/bin/echo", "one two")
	require.NoError(t, err)
	require.NoError(t, p.Wait())
	assert.Equal(t, "two\n", p.OutputFrom(4))
	assert.Empty(t, p.OutputFrom(len(p.Output())))
}

// TestOwn talks to any address of a prefix of each family.
func TestOwn(t *testing.T) {
	x := newChain(t)
	x.b.Own("198.51.100.0/24")
	x.b.Own("2001:db8:bb::/48")
	x.s.Route("198.51.100.0/24", b4.String(), "")
	x.s.Route("2001:db8:bb::/48", b6.String(), "")
	x.r.Route("198.51.100.0/24", "192.0.2.66", "")
	x.r.Route("2001:db8:bb::/48", "2001:db8:ab::2", "")
	for _, s := range []string{"198.51.100.1", "198.51.100.77", "2001:db8:bb::1", "2001:db8:bb:1::ffff"} {
		r, err := x.a.Ping(netip.MustParseAddr(s), Echo{})
		require.NoError(t, err)
		assert.Equal(t, s, r.From.String())
	}
	c, err := x.b.ListenPacket("udp6", "[2001:db8:bb:2::3]:0")
	require.NoError(t, err)
	assert.NoError(t, c.Close())
}
