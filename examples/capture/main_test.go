package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
)

func write(t *testing.T, name string, link layers.LinkType, packets ...[]byte) {
	f, err := os.Create(name)
	require.NoError(t, err)
	defer f.Close()
	w := pcapgo.NewWriter(f)
	require.NoError(t, w.WriteFileHeader(1<<16, link))
	for _, b := range packets {
		require.NoError(t, w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: len(b), Length: len(b)}, b))
	}
}

func TestConvert(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	from6 := packettest.Header{Src: netip.MustParseAddr("2001:db8::2"), Dst: netip.MustParseAddr("64:ff9b::8.8.8.8")}
	from4 := packettest.Header{Src: netip.MustParseAddr("8.8.8.8"), Dst: netip.MustParseAddr("203.0.113.7")}
	large := packettest.UDP(1, 2, packettest.Bytes(1400, 0))
	write(t, in, layers.LinkTypeRaw, packettest.IP(from6, large), packettest.IP(from4, large), []byte{0})
	require.NoError(t, convert(in, out))

	f, err := os.Open(out)
	require.NoError(t, err)
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	require.NoError(t, err)
	var versions []byte
	for {
		b, _, err := r.ReadPacketData()
		if err != nil {
			break
		}
		assert.NoError(t, packettest.Check(b))
		versions = append(versions, b[0]>>4)
	}
	assert.Equal(t, []byte{4, 6, 6}, versions)

	write(t, in, layers.LinkTypeEthernet)
	assert.ErrorContains(t, convert(in, out), "link type Ethernet: not raw IP")
	require.NoError(t, os.WriteFile(in, []byte("no capture at all, not at all"), 0o644))
	assert.Error(t, convert(in, out))
	assert.Error(t, convert(in+".absent", out))
}
