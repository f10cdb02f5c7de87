package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
)

// goldenConf is packettest.Config and packettest.TableConfig as a tayga.conf.
const goldenConf = `tun-device nat64
ipv4-addr 192.0.2.254
ipv6-addr 2001:db8:f::254
prefix 2001:db8:64::/96
map 192.0.2.6 2001:db8:6::6
icmp-errors rfc7915
`

// settings are those of packettest.Golden as directives.
var settings = map[string]string{
	"udp-zero=compute": "udp-cksum-mode calc\n",
	"node-address=yes": "icmp-node-address yes\n",
}

// begin is when the captures of these tests were taken.
var begin = time.Date(2026, 11, 1, 12, 0, 0, 123456000, time.UTC)

// capture builds a capture file of frames that are a second apart.
func capture(t testing.TB, ng bool, link layers.LinkType, frames ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w writer
	if ng {
		n, err := pcapgo.NewNgWriter(&b, link)
		require.NoError(t, err)
		w = n
	} else {
		p := pcapgo.NewWriter(&b)
		require.NoError(t, p.WriteFileHeader(maxFrame, link))
		w = p
	}
	for i, f := range frames {
		ci := gopacket.CaptureInfo{Timestamp: begin.Add(time.Duration(i) * time.Second), CaptureLength: len(f), Length: len(f)}
		require.NoError(t, w.WritePacket(ci, f))
	}
	if n, ok := w.(*pcapgo.NgWriter); ok {
		require.NoError(t, n.Flush())
	}
	return b.Bytes()
}

// A bench is a directory with a tayga.conf.
type bench struct {
	testing.TB
	dir string
}

func newBench(t testing.TB, conf string) *bench {
	b := &bench{t, t.TempDir()}
	b.write("tayga.conf", []byte(conf))
	return b
}

func (b *bench) write(name string, text []byte) string {
	b.Helper()
	path := filepath.Join(b.dir, name)
	require.NoError(b, os.WriteFile(path, text, 0o644))
	return path
}

// tool translates in to a file called out and returns what the program said.
func (b *bench) tool(in []byte, out string, flags ...string) (said string, status int) {
	b.Helper()
	args := append([]string{"-c", filepath.Join(b.dir, "tayga.conf")}, flags...)
	args = append(args, b.write("in", in), filepath.Join(b.dir, out))
	var stderr bytes.Buffer
	status = run(args, nil, io.Discard, &stderr)
	return stderr.String(), status
}

// A packetData is what both readers of pcapgo are.
type packetData interface {
	ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
	LinkType() layers.LinkType
}

// packets reads a file that the program wrote, as a program that is not ours.
func (b *bench) packets(name string) (list [][]byte, times []time.Time) {
	b.Helper()
	f, err := os.Open(filepath.Join(b.dir, name))
	require.NoError(b, err)
	defer f.Close()
	var r packetData
	if strings.HasSuffix(name, ".pcapng") {
		r, err = pcapgo.NewNgReader(f, pcapgo.DefaultNgReaderOptions)
	} else {
		r, err = pcapgo.NewReader(f)
	}
	require.NoError(b, err)
	assert.Equal(b, layers.LinkTypeRaw, r.LinkType())
	for {
		data, ci, err := r.ReadPacketData()
		if err == io.EOF {
			return list, times
		}
		require.NoError(b, err)
		list, times = append(list, data), append(times, ci.Timestamp)
	}
}

// wraps put an IP packet into a frame of each link type that pcapgo can write.
var wraps = map[layers.LinkType]func([]byte) []byte{
	layers.LinkTypeEthernet: ethernet,
	layers.LinkTypeRaw:      func(b []byte) []byte { return b },
	layers.LinkTypeNull:     func(b []byte) []byte { return append([]byte{30, 0, 0, 0}, b...) },
	layers.LinkTypeLoop:     func(b []byte) []byte { return append([]byte{0, 0, 0, 2}, b...) },
	layers.LinkTypeLinuxSLL: func(b []byte) []byte {
		return append(append(make([]byte, 14), etherType(b)...), b...)
	},
	layers.LinkTypePPP:      ppp,
	layers.LinkTypePPP_HDLC: func(b []byte) []byte { return append([]byte{0xff, 3}, ppp(b)...) },
	layers.LinkTypePPPEthernet: func(b []byte) []byte {
		return append([]byte{0x11, 0, 0, 9, byte((len(b) + 2) >> 8), byte(len(b) + 2)}, ppp(b)...)
	},
	layers.LinkTypeC_HDLC: func(b []byte) []byte { return append(append([]byte{0x0f, 0}, etherType(b)...), b...) },
	layers.LinkTypeIPv4:   func(b []byte) []byte { return b },
	layers.LinkTypeIPv6:   func(b []byte) []byte { return b },
}

// ppp puts the protocol of PPP before an IP packet.
func ppp(b []byte) []byte {
	if b[0]>>4 == 6 {
		return append([]byte{0, 0x57}, b...)
	}
	return append([]byte{0, 0x21}, b...)
}

func etherType(b []byte) []byte {
	if b[0]>>4 == 6 {
		return []byte{0x86, 0xdd}
	}
	return []byte{8, 0}
}

// ethernet adds two VLAN tags and the padding of a short frame.
func ethernet(b []byte) []byte {
	f := append(make([]byte, 12), 0x88, 0xa8, 0, 7, 0x81, 0, 0, 9)
	f = append(append(f, etherType(b)...), b...)
	return append(f, make([]byte, max(0, 60-len(f)))...)
}

// The golden packets, from captures of every kind.
func TestGoldenPackets(t *testing.T) {
	all, err := packettest.Goldens()
	require.NoError(t, err)
	for link, wrap := range wraps {
		for _, ng := range []bool{false, true} {
			for _, out := range []string{"out.pcap", "out.pcapng"} {
				t.Run(fmt.Sprintf("%v/ng=%v/%s", link, ng, out), func(t *testing.T) {
					for _, g := range all {
						b := newBench(t, goldenConf)
						for _, s := range g.Settings {
							require.Contains(t, settings, s)
							b.write("tayga.conf", []byte(goldenConf+settings[s]))
						}
						said, status := b.tool(capture(t, ng, link, wrap(g.In)), out)
						require.Equal(t, 0, status, said)
						list, times := b.packets(out)
						require.Len(t, list, 1, "%s: %s", g.ID, said)
						assert.Empty(t, g.Diff(list[0]), g.ID)
						assert.True(t, begin.Equal(times[0]), "%s: %v", g.ID, times[0])
					}
				})
			}
		}
	}
}

// A file in which the byte order is that of other machines, the time counts in
// nanoseconds, and the link type is one that pcapgo cuts to eight bits.
func TestBigEndianNanoseconds(t *testing.T) {
	packet := packettest.IP(packettest.From4(), packettest.UDP(1, 2, []byte("data")))
	frame := append(append([]byte{8, 0}, make([]byte, 18)...), packet...)
	h := func(words ...uint32) (b []byte) {
		for _, w := range words {
			b = binary.BigEndian.AppendUint32(b, w)
		}
		return b
	}
	file := append(h(magicNano, 2<<16|4, 0, 0, maxFrame, uint32(linkSLL2), 1700000000, 987654321, uint32(len(frame)), uint32(len(frame))), frame...)
	b := newBench(t, goldenConf)
	said, status := b.tool(file, "out.pcap")
	require.Equal(t, 0, status, said)
	list, times := b.packets("out.pcap")
	require.Len(t, list, 1)
	assert.NoError(t, packettest.Check(list[0]))
	assert.True(t, times[0].Equal(time.Unix(1700000000, 987654321)), times[0])
}

// ngBlock builds a block of a pcapng file.
func ngBlock(order binary.AppendByteOrder, typ uint32, body ...byte) []byte {
	body = append(body, make([]byte, -len(body)&3)...)
	size := uint32(len(body) + blockFrame)
	b := order.AppendUint32(order.AppendUint32(nil, typ), size)
	return order.AppendUint32(append(b, body...), size)
}

func ngSection(order binary.AppendByteOrder) []byte {
	return ngBlock(order, blockSection, append(order.AppendUint32(nil, byteOrderMagic), order.AppendUint32(order.AppendUint16(order.AppendUint16(nil, 1), 0), 0xffffffff)...)...)
}

func ngInterface(order binary.AppendByteOrder, link linkType, options ...byte) []byte {
	b := order.AppendUint32(order.AppendUint16(order.AppendUint16(nil, uint16(link)), 0), maxFrame)
	return ngBlock(order, blockInterface, append(b, options...)...)
}

func ngEnhanced(order binary.AppendByteOrder, id uint32, stamp uint64, data []byte) []byte {
	b := order.AppendUint32(nil, id)
	b = order.AppendUint32(order.AppendUint32(b, uint32(stamp>>32)), uint32(stamp))
	b = order.AppendUint32(order.AppendUint32(b, uint32(len(data))), uint32(len(data)))
	return ngBlock(order, blockEnhanced, append(b, data...)...)
}

// All that pcapng allows: sections of different byte order, interfaces of
// different link types and clocks, unknown blocks, old kinds of
// packets.
func TestSectionsAndInterfaces(t *testing.T) {
	packet := packettest.IP(packettest.From4(), packettest.UDP(1, 2, []byte("data")))
	size := []byte{byte(len(packet)), 0, 0, 0}
	le, be := binary.LittleEndian, binary.BigEndian
	file := bytes.Join([][]byte{
		ngSection(le),
		ngBlock(le, 0x12345678, []byte("what no reader knows")...),
		ngInterface(le, linkRaw),
		ngInterface(le, linkEthernet, append([]byte{2, 0, 3, 0, 'e', 't', 'h', 0, optTSResol, 0, 1, 0, 0x80 | 10, 0, 0, 0, optTSOffset, 0, 8, 0}, 100, 0, 0, 0, 0, 0, 0, 0)...),
		ngInterface(le, 189), // a USB bus without packets
		ngEnhanced(le, 0, 5_500_000, packet),
		ngEnhanced(le, 1, 1024*7+512, ethernet(packet)),
		ngBlock(le, blockSimple, append(size, packet...)...),
		ngBlock(le, blockPacket, append(append([]byte{0, 0, 9, 9, 0, 0, 0, 0, 64, 66, 15, 0}, append(size, size...)...), packet...)...),
		ngSection(be),
		ngInterface(be, linkRaw, 0, optTSResol, 0, 1, 9, 0, 0, 0, 0, optEnd, 0, 0),
		ngEnhanced(be, 0, 3_000_000_001, packet),
	}, nil)
	b := newBench(t, goldenConf)
	said, status := b.tool(file, "out.pcap")
	require.Equal(t, 0, status, said)
	list, times := b.packets("out.pcap")
	require.Len(t, list, 5)
	for _, p := range list {
		assert.NoError(t, packettest.Check(p))
	}
	for i, want := range []time.Duration{5500 * time.Millisecond, 107500 * time.Millisecond, 0, time.Second, 3*time.Second + 1} {
		assert.Equal(t, want, times[i].Sub(time.Unix(0, 0)), "packet %d", i+1)
	}
}

// The summary counts by direction, verdict and reason, and what never came to
// the translator.
func TestSummary(t *testing.T) {
	from4, from6 := packettest.From4(), packettest.From6()
	expired := from4
	expired.TTL = 1
	stranger := from6
	stranger.Src = packettest.R6
	data := packettest.UDP(1, 2, packettest.Bytes(1400, 0))
	large := from4
	large.DF = false
	file := capture(t, false, layers.LinkTypeEthernet,
		ethernet(packettest.IP(from4, data)),
		ethernet(packettest.IP(from6, data)),
		ethernet(packettest.IP(from6, data)),
		ethernet(packettest.IP(large, data)),
		ethernet(packettest.IP(expired, data)),
		ethernet(packettest.IP(stranger, data)),
		append(make([]byte, 12), 8, 6, 0, 1, 8, 0, 6, 4), // ARP
	)
	cut := packettest.IP(from4, data)
	cut = ethernet(cut)[:100]
	rec := binary.LittleEndian.AppendUint32(make([]byte, 8), uint32(len(cut)))
	file = append(append(file, binary.LittleEndian.AppendUint32(rec, 1500)...), cut...)

	b := newBench(t, goldenConf)
	said, status := b.tool(file, "out.pcap")
	require.Equal(t, 0, status, said)
	assert.Equal(t, `4to6  forward  translated                1 packets  1428 bytes
4to6  reply    hop-limit                 1 packets  1428 bytes
4to6  split    translated                1 packets  1428 bytes
6to4  forward  translated                2 packets  2896 bytes
6to4  reply    no-source                 1 packets  1448 bytes
-     skipped  not-ip                    1 packets  20 bytes
-     skipped  cut-short-by-the-capture  1 packets  100 bytes
8 packets in, 7 packets out
`, said)
	list, _ := b.packets("out.pcap")
	assert.Len(t, list, 7)
	for i, p := range list {
		assert.NoError(t, packettest.Check(p), "packet %d", i+1)
	}
}

// Leases last by the clock of the capture: the first one is kept for 124
// minutes, the one after it gets another address, and so the first again.
func TestDynamicPool(t *testing.T) {
	b := newBench(t, `tun-device nat64
ipv4-addr 172.16.2.1
prefix 2001:db8:64::/96
dynamic-pool 172.16.2.0/30
`)
	from := func(host string) []byte {
		h := packettest.Header{Src: netip.MustParseAddr(host), Dst: packettest.H4in6}
		return packettest.IP(h, packettest.UDP(1, 2, nil))
	}
	var file bytes.Buffer
	w := pcapgo.NewWriter(&file)
	require.NoError(t, w.WriteFileHeader(maxFrame, layers.LinkTypeRaw))
	at := begin
	add := func(after time.Duration, host string) {
		at = at.Add(after)
		p := from(host)
		require.NoError(t, w.WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(p), Length: len(p)}, p))
	}
	add(0, "2001:db8::1")
	add(time.Second, "2001:db8::2")
	add(time.Second, "2001:db8::3")          // the pool of two is used up
	add(-time.Hour, "2001:db8::1")           // a clock that goes back
	add(4*time.Hour, "2001:db8::3")          // both leases are dormant now
	add(1000*24*time.Hour, "2001:db8::1")    // forgotten meanwhile
	add(50*365*24*time.Hour, "2001:db8::10") // a clock that runs wild
	said, status := b.tool(file.Bytes(), "out.pcap")
	require.Equal(t, 0, status, said)
	list, _ := b.packets("out.pcap")
	require.Len(t, list, 7)
	src := func(i int) netip.Addr { return netip.AddrFrom4([4]byte(list[i][12:16])) }
	first, second := src(0), src(1)
	assert.NotEqual(t, first, second)
	assert.Equal(t, uint8(6), list[2][0]>>4, "an ICMPv6 error")
	assert.Equal(t, first, src(3))
	assert.Contains(t, []netip.Addr{first, second}, src(4))
	assert.Contains(t, said, "6to4  forward  translated  6 packets")
	assert.Contains(t, said, "6to4  reply    no-source   1 packets")
}

// TestSharedAddress: hosts share an address, of which a port belongs to one of them. Sessions
// last by the clock of the capture: the limit of one denies a second for five minutes.
func TestSharedAddress(t *testing.T) {
	b := newBench(t, goldenConf+"stateful-pool 192.0.2.9\nstateful-map udp 192.0.2.9:53 [2001:db8:a::1]:5353\nstateful-max-per-prefix 64 1\n")
	var file bytes.Buffer
	w := pcapgo.NewWriter(&file)
	require.NoError(t, w.WriteFileHeader(maxFrame, layers.LinkTypeRaw))
	add := func(after time.Duration, src, dst netip.Addr, sport, dport uint16) {
		p := packettest.IP(packettest.Header{Src: src, Dst: dst}, packettest.UDP(sport, dport, nil))
		require.NoError(t, w.WritePacket(gopacket.CaptureInfo{Timestamp: begin.Add(after), CaptureLength: len(p), Length: len(p)}, p))
	}
	server, host, other := netip.MustParseAddr("2001:db8:a::1"), netip.MustParseAddr("2001:db8:b::1"), netip.MustParseAddr("2001:db8:b::2")
	add(0, packettest.H4, netip.MustParseAddr("192.0.2.9"), 4000, 53)
	add(time.Second, server, packettest.H4in6, 5353, 4000)
	add(2*time.Second, host, packettest.H4in6, 1000, 53)
	add(200*time.Second, other, packettest.H4in6, 1000, 53)
	add(400*time.Second, other, packettest.H4in6, 1000, 53)
	said, status := b.tool(file.Bytes(), "out.pcap")
	require.Equal(t, 0, status, said)
	list, _ := b.packets("out.pcap")
	require.Len(t, list, 5)
	assert.Equal(t, server.As16(), [16]byte(list[0][24:40]))
	for _, i := range []int{1, 2, 4} {
		assert.Equal(t, [4]byte{192, 0, 2, 9}, [4]byte(list[i][12:16]), i)
	}
	assert.Equal(t, []byte{0, 53}, list[1][20:22])
	assert.Contains(t, said, "6to4  reply    session-limit  1 packets")
}

// Standard input and output in place of files.
func TestPipe(t *testing.T) {
	b := newBench(t, goldenConf)
	in := capture(t, true, layers.LinkTypeRaw, packettest.IP(packettest.From4(), packettest.TCP(1, 2, nil)))
	var stdout, stderr bytes.Buffer
	status := run([]string{"-c", b.dir + "/tayga.conf", "-", "-"}, bytes.NewReader(in), &stdout, &stderr)
	require.Equal(t, 0, status, stderr.String())
	b.write("out.pcap", stdout.Bytes())
	list, _ := b.packets("out.pcap")
	assert.Len(t, list, 1)
}

// The map-file counts as it does for the daemon.
func TestMapFile(t *testing.T) {
	b := newBench(t, strings.Replace(goldenConf, "map 192.0.2.6 2001:db8:6::6", "map-file maps", 1))
	b.write("tayga.conf", []byte(strings.Replace(goldenConf, "map 192.0.2.6 2001:db8:6::6", "data-dir "+b.dir+"\nmap-file maps", 1)))
	in := capture(t, false, layers.LinkTypeRaw, packettest.IP(packettest.From4(), packettest.TCP(1, 2, nil)))
	said, status := b.tool(in, "out.pcap")
	assert.Equal(t, 1, status)
	assert.Regexp(t, `^nat64-pcap: .*map-file: .*/maps: no such file or directory\n$`, said)
	b.write("maps", []byte("map 192.0.2.6 2001:db8:6::6\n"))
	said, status = b.tool(in, "out.pcap")
	require.Equal(t, 0, status, said)
	assert.Contains(t, said, "4to6  forward  translated  1 packets")
}

// MTU of the device: what the daemon would have read from it.
func TestMTU(t *testing.T) {
	b := newBench(t, goldenConf)
	in := capture(t, false, layers.LinkTypeRaw, packettest.IP(packettest.From4(), packettest.UDP(1, 2, make([]byte, 1460))))
	said, _ := b.tool(in, "out.pcap")
	assert.Contains(t, said, "4to6  reply  too-big  1 packets")
	said, _ = b.tool(in, "out.pcap", "-mtu", "9000")
	assert.Contains(t, said, "4to6  forward  translated  1 packets")
}
