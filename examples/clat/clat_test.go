package clat_test

import (
	"fmt"
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/examples/clat"
	"github.com/steppe-nat64/steppe/internal/test/packettest"
)

type event int

// system stands for the TUN device of the operating system: packets that
// programs send, and packets that they get.
type system struct {
	sent, got [][]byte
	mtu       int
}

func (s *system) Read(bufs [][]byte, sizes []int, offset int) (n int, err error) {
	for ; n < len(bufs) && len(s.sent) > 0; n++ {
		sizes[n] = copy(bufs[n][offset:], s.sent[0])
		s.sent = s.sent[1:]
	}
	if n == 0 {
		return 0, os.ErrClosed
	}
	return n, nil
}

func (s *system) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		s.got = append(s.got, append([]byte(nil), b[offset:]...))
	}
	return len(bufs), nil
}

func (s *system) MTU() (int, error)     { return s.mtu, nil }
func (s *system) Name() (string, error) { return "clat", nil }
func (s *system) Events() <-chan event  { return nil }
func (s *system) File() *os.File        { return nil }
func (s *system) Close() error          { return nil }
func (s *system) BatchSize() int        { return 4 }

var config = clat.Config{
	Prefix: netip.MustParsePrefix("64:ff9b::/96"),
	Host4:  netip.MustParseAddr("192.0.0.1"),
	Host6:  netip.MustParseAddr("2001:db8::464"),
	Own4:   netip.MustParseAddr("192.0.0.2"),
}

// readAll reads what goes into the tunnel, as wireguard-go does.
func readAll(d clat.Device[event]) (packets [][]byte) {
	const offset = 16
	bufs, sizes := make([][]byte, d.BatchSize()), make([]int, d.BatchSize())
	for i := range bufs {
		bufs[i] = make([]byte, 1<<16)
	}
	for {
		n, err := d.Read(bufs, sizes, offset)
		for i := range n {
			packets = append(packets, append([]byte(nil), bufs[i][offset:offset+sizes[i]]...))
		}
		if err != nil {
			return packets
		}
	}
}

// A program sends a datagram to an IPv4 address; the tunnel sees IPv6. Then the
// answer.
func Example() {
	dev := &system{mtu: 1420}
	d, err := clat.New(dev, config)
	if err != nil {
		fmt.Println(err)
		return
	}
	var tunnel clat.Device[event] = d // what wireguard-go is given

	server4, server6 := netip.MustParseAddr("198.51.100.4"), netip.MustParseAddr("64:ff9b::198.51.100.4")
	dev.sent = [][]byte{packettest.IP(
		packettest.Header{Src: config.Host4, Dst: server4}, packettest.UDP(1000, 53, []byte("question")))}
	for _, b := range readAll(tunnel) {
		fmt.Printf("tunnel: %v to %v, %q\n", netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:])), b[48:])
	}
	answer := packettest.IP(
		packettest.Header{Src: server6, Dst: config.Host6}, packettest.UDP(53, 1000, []byte("answer")))
	if _, err := tunnel.Write([][]byte{answer}, 0); err != nil {
		fmt.Println(err)
		return
	}
	for _, b := range dev.got {
		fmt.Printf("program: %v to %v, %q\n", netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:])), b[28:])
	}
	// Output:
	// tunnel: 2001:db8::464 to 64:ff9b::c633:6404, "question"
	// program: 198.51.100.4 to 192.0.0.1, "answer"
}

var (
	server4 = netip.MustParseAddr("198.51.100.4")
	server6 = netip.MustParseAddr("64:ff9b::198.51.100.4")
	host6   = netip.MustParseAddr("2001:db8::99") // the host's own address, not the CLAT's
	from4   = packettest.Header{Src: config.Host4, Dst: server4}
	native  = packettest.Header{Src: host6, Dst: netip.MustParseAddr("2001:db8:5::5")}
)

func newCLAT(t *testing.T, sent ...[]byte) (*system, clat.Device[event]) {
	dev := &system{mtu: 1420, sent: sent}
	d, err := clat.New(dev, config)
	require.NoError(t, err)
	return dev, d
}

// Packets of both families in one batch keep their order; those without DF that
// grow too large are cut, and the pieces find room in a later Read.
func TestRead(t *testing.T) {
	small := packettest.UDP(1, 2, []byte("small"))
	large := packettest.UDP(3, 4, packettest.Bytes(1390, 7))
	dev, d := newCLAT(t,
		packettest.IP(native, small), packettest.IP(from4, large), packettest.IP(from4, small),
		packettest.IP(native, small), packettest.IP(from4, large), packettest.IP(from4, large))
	list := readAll(d)
	require.Len(t, list, 9)
	for i, b := range list {
		assert.NoError(t, packettest.Check(b), "packet %d", i)
		assert.LessOrEqual(t, len(b), 1420)
	}
	assert.Equal(t, packettest.IP(native, small), list[0])
	assert.Empty(t, dev.got)
	fragments := 0
	for _, b := range list {
		if b[6] == 44 {
			fragments++
		}
	}
	assert.Equal(t, 6, fragments)
}

// A packet with DF that would grow too large is answered, as is a ping to the
// translator; what cannot be translated is not sent.
func TestReadReplies(t *testing.T) {
	df := from4
	df.DF = true
	ping := packettest.Header{Src: config.Host4, Dst: config.Own4}
	stray := packettest.Header{Src: netip.MustParseAddr("10.1.2.3"), Dst: server4}
	dev, d := newCLAT(t,
		packettest.IP(df, packettest.UDP(1, 2, make([]byte, 1390))),
		packettest.IP(ping, packettest.EchoRequest(1, 2, nil)),
		packettest.IP(stray, packettest.EchoReply(1, 2, nil)),
		make([]byte, 1421), nil)
	assert.Len(t, readAll(d), 2) // the last two are nothing that a CLAT knows
	require.Len(t, dev.got, 2)
	for _, b := range dev.got {
		assert.NoError(t, packettest.Check(b))
	}
	assert.Equal(t, []byte{3, 4}, dev.got[0][20:22], "fragmentation needed")
	assert.Equal(t, []byte{0x05, 0x78}, dev.got[0][26:28], "1400 bytes fit")
	assert.Equal(t, []byte{0, 0}, dev.got[1][20:22], "echo reply")
}

// What comes through the tunnel for other addresses, or is no packet at all, is
// the system's affair. A packet for the CLAT that makes no sense ends here.
func TestWrite(t *testing.T) {
	data := packettest.UDP(1, 2, []byte("data"))
	reply := packettest.Header{Src: server6, Dst: config.Host6}
	spoofed := packettest.Header{Src: netip.MustParseAddr("2001:db8:bad::1"), Dst: config.Host6}
	back := packettest.Header{Src: native.Dst, Dst: native.Src}
	dev, d := newCLAT(t)
	for _, offset := range []int{0, 16, 64} {
		dev.got = nil
		at := func(b []byte) []byte { return append(make([]byte, offset), b...) }
		n, err := d.Write([][]byte{
			at(packettest.IP(reply, data)), at(packettest.IP(spoofed, data)), at(packettest.IP(back, data)), at(nil), at(packettest.IP(reply, data)),
		}, offset)
		require.NoError(t, err)
		assert.Equal(t, 5, n)
		want := packettest.IP(packettest.Header{Src: server4, Dst: config.Host4, TTL: 63}, data)
		require.Len(t, dev.got, 4)
		assert.Empty(t, packettest.Equal(want, dev.got[0]))
		assert.Equal(t, packettest.IP(back, data), dev.got[1])
		assert.Empty(t, dev.got[2])
		assert.Empty(t, packettest.Equal(want, dev.got[3]))
	}
	_, err := d.Write([][]byte{make([]byte, 100)}, 65)
	assert.ErrorIs(t, err, os.ErrInvalid)
}

// The MTU of the device has to carry IPv6, and the addresses have to be there.
func TestBadConfig(t *testing.T) {
	_, err := clat.New(&system{mtu: 1200}, config)
	assert.Error(t, err)
	_, err = clat.New(&system{mtu: 1420}, clat.Config{Prefix: config.Prefix})
	assert.Error(t, err)
}
