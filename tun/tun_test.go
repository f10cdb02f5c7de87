package tun

import (
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/translate"
)

// Every platform has the same methods.
var (
	_ interface {
		Name() string
		Index() int
		Features() Features
		Queues() []*Queue
		Link() (Link, error)
		SetMTU(int) error
		SetUp(bool) error
		Watch(func(Link)) error
		Stop()
		Close() error
	} = (*Device)(nil)
	_ interface {
		Read([]translate.Packet) (int, error)
		Write([]translate.Packet) (int, error)
		Failed() uint64
	} = (*Queue)(nil)
)

// TestNewPackets: each buffer holds the largest packet with the room that
// translation and the virtio-net header need, and none reaches into the next.
func TestNewPackets(t *testing.T) {
	require.GreaterOrEqual(t, Headroom, translate.Headroom+virtioLen)
	ps := NewPackets(3)
	require.Len(t, ps, 3)
	for i, p := range ps {
		require.Len(t, p.Buf, Headroom+65535+translate.Tailroom)
		require.Equal(t, len(p.Buf), cap(p.Buf), "append must not reach the next packet")
		for k := range p.Buf {
			p.Buf[k] = byte(i + 1)
		}
	}
	for i, p := range ps {
		for _, b := range p.Buf {
			if b != byte(i+1) {
				t.Fatalf("packet %d was written to through another", i)
			}
		}
	}
}

func TestNewPacketsOfNone(t *testing.T) {
	require.Empty(t, NewPackets(0))
	require.Panics(t, func() { NewPackets(-1) })
}

func TestFeaturesString(t *testing.T) {
	require.Equal(t, "none", Features{}.String())
	require.Equal(t, "checksum", Features{Checksum: true}.String())
	require.Equal(t, "checksum tso uso", Features{true, true, true}.String())
	require.Equal(t, "checksum uso", Features{Checksum: true, USO: true}.String())
}

func TestUnsupportedPlatform(t *testing.T) {
	switch runtime.GOOS {
	case "linux", "darwin":
		t.Skip("this platform has TUN devices")
	}
	_, err := Open(Config{Name: "tun0"})
	require.True(t, errors.Is(err, errors.ErrUnsupported))
	require.True(t, errors.Is(Persist("tun0", Owner{-1, -1}), errors.ErrUnsupported))
}
