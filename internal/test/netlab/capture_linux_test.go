package netlab

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestCapture captures on both sides of the router while all kinds of traffic
// pass it, and finds it there without a fault.
func TestCapture(t *testing.T) {
	x := newChain(t)
	x.disableOffloads()
	near, err := x.a.Capture("eth0")
	require.NoError(t, err)
	far, err := x.r.Capture("eth1")
	require.NoError(t, err)

	_, err = x.b.ServeTransfers(":5001")
	require.NoError(t, err)
	_, err = x.b.ServeUDPEcho(":7")
	require.NoError(t, err)
	eachFamily(t, func(t *testing.T, dst netip.Addr) {
		_, err = x.a.Upload(netip.AddrPortFrom(dst, 5001).String(), 1<<20, 20*time.Second)
		require.NoError(t, err)
		_, err = x.a.UDPEcho(netip.AddrPortFrom(dst, 7).String(), UDPEcho{Sizes: []int{0, 1, 2, 1000, 4000}, Attempts: 4, Timeout: 500 * time.Millisecond})
		require.NoError(t, err)
		_, err = x.a.Ping(dst, Echo{Size: 57})
		require.NoError(t, err)
		_, err = x.a.Traceroute(dst, Trace{UDP: true})
		require.NoError(t, err)
	})
	for name, c := range map[string]*Capture{"near": near, "far": far} {
		packets, err := c.Stop()
		require.NoError(t, err)
		assert.Empty(t, Check(packets), name)
		seen := make(map[gopacket.LayerType]int)
		var in, out, ipv6 int
		for _, p := range packets {
			assert.LessOrEqual(t, len(p.Data), 1500)
			if p.Outgoing {
				out++
			} else {
				in++
			}
			first := layers.LayerTypeIPv4
			if p.Data[0]>>4 == 6 {
				first = layers.LayerTypeIPv6
				ipv6++
			}
			for _, l := range gopacket.NewPacket(p.Data, first, gopacket.Default).Layers() {
				seen[l.LayerType()]++
			}
		}
		assert.Greater(t, in, 100, name)
		assert.Greater(t, out, 500, name)
		assert.Greater(t, ipv6, 500, name)
		assert.Greater(t, len(packets)-ipv6, 500, name)
		for _, want := range []gopacket.LayerType{
			layers.LayerTypeTCP, layers.LayerTypeUDP, layers.LayerTypeICMPv4,
			layers.LayerTypeICMPv6, layers.LayerTypeIPv6Fragment, gopacket.LayerTypeFragment,
		} {
			assert.NotZero(t, seen[want], "%s: no %v", name, want)
		}
		again, err := c.Stop()
		require.NoError(t, err)
		assert.Len(t, again, len(packets))
	}
}

func (x chain) disableOffloads() {
	for _, h := range []*Host{x.a, x.r, x.s, x.b} {
		h.DisableOffloads("eth0")
	}
	x.r.DisableOffloads("eth1")
	x.s.DisableOffloads("eth1")
}

// TestOffloads shows what DisableOffloads is for, and that Check sees the
// difference.
func TestOffloads(t *testing.T) {
	x := newChain(t)
	_, err := x.b.ServeTransfers(":5001")
	require.NoError(t, err)
	run := func() (largest int, bad []string) {
		c, err := x.a.Capture("eth0")
		require.NoError(t, err)
		_, err = x.a.Upload("192.0.2.130:5001", 1<<20, 20*time.Second)
		require.NoError(t, err)
		packets, err := c.Stop()
		require.NoError(t, err)
		for _, p := range packets {
			largest = max(largest, len(p.Data))
		}
		return largest, Check(packets)
	}
	largest, bad := run()
	assert.Greater(t, largest, 1500)
	assert.NotEmpty(t, bad)
	x.disableOffloads()
	largest, bad = run()
	assert.LessOrEqual(t, largest, 1500)
	assert.Empty(t, bad)
}

// TestEnableGRO has the router see large packets although the link carries none.
func TestEnableGRO(t *testing.T) {
	x := newChain(t)
	x.disableOffloads()
	x.r.EnableGRO("eth0")
	_, err := x.b.ServeTransfers(":5001")
	require.NoError(t, err)
	eachFamily(t, func(t *testing.T, dst netip.Addr) {
		sent, err := x.a.Capture("eth0")
		require.NoError(t, err)
		received, err := x.r.Capture("eth0")
		require.NoError(t, err)
		_, err = x.a.Upload(netip.AddrPortFrom(dst, 5001).String(), 4<<20, 20*time.Second)
		require.NoError(t, err)
		for c, large := range map[*Capture]bool{sent: false, received: true} {
			packets, err := c.Stop()
			require.NoError(t, err)
			largest := 0
			for _, p := range packets {
				largest = max(largest, len(p.Data))
			}
			assert.Equal(t, large, largest > 1500, "largest packet: %d", largest)
		}
	})
}

// TestSetFeature: what is set is what the kernel has then.
func TestSetFeature(t *testing.T) {
	x := newChain(t)
	for _, on := range []bool{true, false} {
		for _, name := range []string{"rx-gro", "rx-udp-gro-forwarding"} {
			x.r.SetFeature("eth0", name, on)
			var got bool
			require.NoError(t, x.r.Do(func() (err error) {
				got, err = feature("eth0", name)
				return err
			}))
			assert.Equal(t, on, got, name)
		}
	}
	assert.ErrorIs(t, x.r.Do(func() error { return setFeature("eth0", "no-such-feature", true) }), unix.EOPNOTSUPP)
	assert.ErrorIs(t, x.r.Do(func() error { return setFeature("eth7", "rx-gro", true) }), unix.ENODEV)
}

// feature reports whether a feature is on: struct ethtool_gfeatures.
func feature(ifname, name string) (bool, error) {
	n, size, err := featureBit(ifname, name)
	if err != nil {
		return false, err
	}
	blocks := make([]uint32, 2+4*size)
	blocks[0], blocks[1] = unix.ETHTOOL_GFEATURES, uint32(size)
	err = ethtoolCall(ifname, unsafe.Pointer(&blocks[0]))
	return blocks[2+4*(n/32)+2]&(1<<(n%32)) != 0, err
}

// TestCaptureTail wants the packet that passed just before Stop was called.
func TestCaptureTail(t *testing.T) {
	x := newChain(t)
	for range 50 {
		c, err := x.a.Capture("eth0")
		require.NoError(t, err)
		_, err = x.a.Ping(r4, Echo{})
		require.NoError(t, err)
		packets, err := c.Stop()
		require.NoError(t, err)
		assert.True(t, slices.ContainsFunc(packets, func(p Packet) bool {
			return !p.Outgoing && p.Data[0] == 0x45 && p.Data[20] == layers.ICMPv4TypeEchoReply
		}))
	}
}

func TestCaptureErrors(t *testing.T) {
	x := newChain(t)
	_, err := x.a.Capture("eth7")
	assert.ErrorContains(t, err, "netlab: a: capture on eth7: find eth7")
	c, err := x.a.Capture("eth0")
	require.NoError(t, err)
	link, err := x.a.link("eth0")
	require.NoError(t, err)
	require.NoError(t, x.a.netlink(func(nl *netlink.Handle) error { return nl.LinkSetDown(link) })) // no reason to stop
	require.NoError(t, x.a.netlink(func(nl *netlink.Handle) error { return nl.LinkDel(link) }))
	_, err = c.Stop()
	assert.NoError(t, err)
}

func TestWritePcap(t *testing.T) {
	want := []Packet{
		{Time: time.Unix(1700000000, 123456789), Data: []byte{0x45, 0, 0, 20}},
		{Time: time.Unix(1700000001, 0), Data: []byte{0x60}},
	}
	var file bytes.Buffer
	require.NoError(t, WritePcap(&file, want))
	r, err := pcapgo.NewReader(&file)
	require.NoError(t, err)
	assert.Equal(t, layers.LinkTypeRaw, r.LinkType())
	for _, p := range want {
		data, ci, err := r.ReadPacketData()
		require.NoError(t, err)
		assert.Equal(t, p.Data, data)
		assert.True(t, p.Time.Equal(ci.Timestamp), ci.Timestamp)
		assert.Equal(t, len(p.Data), ci.Length)
	}
}
