package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
)

// le32 are the bytes of little-endian words.
func le32(words ...uint32) (b []byte) {
	for _, w := range words {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

// hostile are files that no honest program writes, and what is said about them.
var hostile = []struct {
	name, says string
	file       []byte
}{
	{"empty", "not a capture file: too short", nil},
	{"short", "not a capture file: too short", []byte{0xd4, 0xc3}},
	{"text", "not a capture file: neither pcap nor pcapng", []byte("tun-device nat64\n")},
	{"gzip", "compressed by gzip: unpack it first", []byte{0x1f, 0x8b, 8, 0, 0, 0}},
	{"header-cut", "the file ends in the middle of a packet", le32(magicMicro, 2|4<<16)},
	{"version", "pcap version 7 not known", le32(magicMicro, 7, 0, 0, 0, 1)},
	{"wifi", "link type 105 not supported: Ethernet, Linux cooked (SLL, SLL2), PPP, PPPoE, Cisco HDLC, null, loop, enc and raw IP are", le32(magicMicro, 2|4<<16, 0, 0, 65535, 105)},
	{"huge-packet", "packet 1: a packet of 4294967295 bytes, more than the 262144 that a capture can hold", le32(magicNano, 2|4<<16, 0, 0, 0xffffffff, 1, 0, 0, 0xffffffff, 0xffffffff)},
	{"packet-cut", "packet 1: the file ends in the middle of a packet", le32(magicMicro, 2|4<<16, 0, 0, 65535, 101, 0, 0, 20, 20, 0x45)},
	{"record-cut", "packet 1: the file ends in the middle of a packet", le32(magicMicro, 2|4<<16, 0, 0, 65535, 101, 0)},
	{"ng-without-order", "pcapng: a section without byte order", le32(blockSection, 28, 0, 1, 0, 0, 28)},
	{"ng-version", "pcapng version 2 not known", le32(blockSection, 28, byteOrderMagic, 2, 0, 0, 28)},
	{"ng-section-of-nothing", "pcapng: a block of 12 bytes", le32(blockSection, 12, byteOrderMagic, 1)},
	{"ng-section-cut", "the file ends in the middle of a packet", le32(blockSection, 28, byteOrderMagic, 1, 0)},
	{"ng-block-of-nothing", "packet 1: pcapng: a block of 0 bytes", append(ngSection(binary.LittleEndian), le32(99, 0)...)},
	{"ng-odd-block", "packet 1: pcapng: a block of 31 bytes", append(ngSection(binary.LittleEndian), le32(blockEnhanced, 31)...)},
	{"ng-huge-block", "packet 1: a packet of 4294967292 bytes, more than the 262144 that a capture can hold", append(ngSection(binary.LittleEndian), le32(blockEnhanced, 0xfffffffc)...)},
	{"ng-skip-cut", "packet 1: the file ends in the middle of a packet", append(ngSection(binary.LittleEndian), le32(99, 0xfffffffc)...)},
	{"ng-head-cut", "packet 1: the file ends in the middle of a packet", append(ngSection(binary.LittleEndian), le32(99)...)},
	{"ng-no-interface", "packet 1: pcapng: a packet of interface 3, which is not described", append(ngSection(binary.LittleEndian), ngEnhanced(binary.LittleEndian, 3, 0, nil)...)},
	{"ng-simple-without-interface", "packet 1: pcapng: a packet of interface 0, which is not described", append(ngSection(binary.LittleEndian), ngBlock(binary.LittleEndian, blockSimple, 0, 0, 0, 0)...)},
	{"ng-short-packet", "packet 1: pcapng: a block that is too short for what it holds", append(ngSection(binary.LittleEndian), ngBlock(binary.LittleEndian, blockEnhanced, 0, 0, 0, 0)...)},
	{"ng-packet-beyond-block", "packet 1: pcapng: a block that is too short for what it holds", bytes.Join([][]byte{ngSection(binary.LittleEndian), ngInterface(binary.LittleEndian, linkRaw), ngBlock(binary.LittleEndian, blockEnhanced, le32(0, 0, 0, 0xffffffff, 0xffffffff)...)}, nil)},
	{"ng-short-interface", "packet 1: pcapng: a block that is too short for what it holds", append(ngSection(binary.LittleEndian), ngBlock(binary.LittleEndian, blockInterface, 1, 0, 0, 0)...)},
	{"ng-option-beyond-block", "packet 1: pcapng: a block that is too short for what it holds", append(ngSection(binary.LittleEndian), ngInterface(binary.LittleEndian, linkRaw, 2, 0, 0xff, 0xff)...)},
	// pcapgo divides by zero here: 10^64 is 0 in 64 bits.
	{"ng-clock-of-no-units", "packet 1: pcapng: time resolution 0x40", append(ngSection(binary.LittleEndian), ngInterface(binary.LittleEndian, linkRaw, optTSResol, 0, 1, 0, 64, 0, 0, 0)...)},
	{"ng-usb", "packet 1: link type 189 not supported: Ethernet, Linux cooked (SLL, SLL2), PPP, PPPoE, Cisco HDLC, null, loop, enc and raw IP are", bytes.Join([][]byte{ngSection(binary.LittleEndian), ngInterface(binary.LittleEndian, 189), ngEnhanced(binary.LittleEndian, 0, 0, make([]byte, 20))}, nil)},
}

// A file that makes no sense gets one line that says why, and status 1.
func TestHostileFiles(t *testing.T) {
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, goldenConf)
			said, status := b.tool(c.file, "out.pcap")
			assert.Equal(t, 1, status)
			lines := strings.Split(strings.TrimSuffix(said, "\n"), "\n")
			last := lines[len(lines)-1]
			assert.Equal(t, "nat64-pcap: "+filepath.Join(b.dir, "in")+": "+c.says, last)
			if len(lines) > 1 {
				assert.Equal(t, []string{"0 packets in, 0 packets out"}, lines[:len(lines)-1])
			}
		})
	}
}

// A file that was cut anywhere gives what is whole in it.
func TestTruncatedFiles(t *testing.T) {
	packet := packettest.IP(packettest.From4(), packettest.UDP(1, 2, []byte("data")))
	for _, ng := range []bool{false, true} {
		file := capture(t, ng, layers.LinkTypeRaw, packet, packet)
		empty := len(capture(t, ng, layers.LinkTypeRaw))
		each := (len(file) - empty) / 2
		for n := empty; n <= len(file); n++ {
			b := newBench(t, goldenConf)
			said, status := b.tool(file[:n], "out.pcap")
			if whole := (n - empty) % each; whole == 0 {
				require.Equal(t, 0, status, said)
			} else {
				require.Equal(t, 1, status)
				require.Contains(t, said, ": the file ends in the middle of a packet\n")
			}
			list, _ := b.packets("out.pcap")
			require.Len(t, list, (n-empty)/each)
		}
	}
}

// What is wrong about the command line or the configuration is said, and OUT
// stays as it was.
func TestRefusals(t *testing.T) {
	good := capture(t, false, layers.LinkTypeRaw, packettest.IP(packettest.From4(), packettest.TCP(1, 2, nil)))
	b := newBench(t, goldenConf)
	in, out := b.write("in", good), b.write("out", []byte("precious"))
	conf, bad := b.dir+"/tayga.conf", b.write("bad.conf", []byte("tun-device nat64\nprefix 2001:db8::/95\n"))
	clat := b.write("clat.conf", []byte("clat yes\n"))
	for _, c := range []struct {
		name string
		args []string
		says string
	}{
		{"no-arguments", nil, "^Usage: "},
		{"one-file", []string{"-c", conf, in}, "^Usage: "},
		{"unknown-flag", []string{"-q", in, out}, "^flag provided but not defined: -q\nUsage: "},
		{"no-config", []string{"-c", b.dir + "/absent", in, out}, `^nat64-pcap: .*absent: .*no such file or directory\nnat64-pcap: .*absent has errors\n$`},
		{"bad-config", []string{"-c", bad, in, out}, `^nat64-pcap: .*bad.conf:2: prefix: (.*\n)+nat64-pcap: .*bad.conf has errors\n$`},
		{"clat", []string{"-c", clat, in, out}, `^nat64-pcap: .*clat.conf: with clat yes the network has the mapping: take a file with prefix and map\n$`},
		{"no-input", []string{"-c", conf, b.dir + "/absent", out}, `^nat64-pcap: open .*absent: no such file or directory\n$`},
		{"input-is-a-directory", []string{"-c", conf, b.dir, out}, `^nat64-pcap: .*: is a directory\n$`},
		{"same-file", []string{"-c", conf, in, in}, `^nat64-pcap: .*/in and .*/in are the same file\n$`},
		{"small-mtu", []string{"-c", conf, "-mtu", "1000", in, out}, `^nat64-pcap: translate: .*\n$`},
		{"output-nowhere", []string{"-c", conf, in, b.dir + "/absent/out"}, `^nat64-pcap: open .*: no such file or directory\n$`},
		{"config-as-input", []string{"-c", conf, conf, out}, `^nat64-pcap: .*: not a capture file: neither pcap nor pcapng\n$`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stderr bytes.Buffer
			assert.Equal(t, 1, run(c.args, nil, io.Discard, &stderr))
			assert.Regexp(t, c.says, stderr.String())
		})
	}
	text, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.Equal(t, "precious", string(text))
	text, err = os.ReadFile(in)
	require.NoError(t, err)
	assert.Equal(t, good, text)

	var stderr bytes.Buffer
	assert.Equal(t, 0, run([]string{"-h"}, nil, io.Discard, &stderr))
	assert.Equal(t, usage, stderr.String())
}

// fullDisk takes n bytes.
type fullDisk struct{ n int }

func (d *fullDisk) Write(b []byte) (int, error) {
	if d.n -= len(b); d.n < 0 {
		return 0, errors.New("no space left on device")
	}
	return len(b), nil
}

// A disk that is full is noticed, at the latest by the last byte.
func TestFullDisk(t *testing.T) {
	b := newBench(t, goldenConf)
	packet := packettest.IP(packettest.From4(), packettest.UDP(1, 2, make([]byte, 1000)))
	in := capture(t, false, layers.LinkTypeRaw, packet, packet, packet, packet, packet, packet)
	for _, room := range []int{0, 4096} {
		var stderr bytes.Buffer
		status := run([]string{"-c", b.dir + "/tayga.conf", "-", "-"}, bytes.NewReader(in), &fullDisk{room}, &stderr)
		assert.Equal(t, 1, status)
		assert.Contains(t, stderr.String(), "no space left on device\n")
	}
}

// Whatever the file: no panic, one line if it is refused, and an output that
// another reader takes, with as many packets as were announced.
func FuzzConvert(f *testing.F) {
	for _, c := range hostile {
		f.Add(c.file)
	}
	all, err := packettest.Goldens()
	require.NoError(f, err)
	var packets [][]byte
	for _, g := range all {
		packets = append(packets, g.In)
	}
	f.Add(capture(f, false, layers.LinkTypeRaw, packets...))
	f.Add(capture(f, true, layers.LinkTypeRaw, packets...))
	f.Add(capture(f, false, layers.LinkTypeEthernet, ethernet(packets[0]), ethernet(packets[1])))

	conf := newBench(f, goldenConf+"dynamic-pool 172.16.2.0/29\n").dir + "/tayga.conf"
	f.Fuzz(func(t *testing.T, file []byte) {
		var stdout, stderr bytes.Buffer
		status := run([]string{"-c", conf, "-", "-"}, bytes.NewReader(file), &stdout, &stderr)
		if n := strings.Count(stderr.String(), "nat64-pcap: "); n != status {
			t.Fatalf("status %d, %d lines about it:\n%s", status, n, &stderr)
		}
		if stdout.Len() == 0 {
			return
		}
		r, err := pcapgo.NewReader(&stdout)
		require.NoError(t, err)
		n := 0
		for ; ; n++ {
			b, _, err := r.ReadPacketData()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			require.True(t, b[0]>>4 == 4 || b[0]>>4 == 6)
		}
		require.Contains(t, stderr.String(), fmt.Sprintf(" packets in, %d packets out\n", n))
	})
}

// Names of files and words of a configuration reached the terminal as they were.
func TestHostileWords(t *testing.T) {
	const hostile = "a\x1b[2J\x07\x7f\u009b\u202e\x9b"
	dir := t.TempDir()
	conf := filepath.Join(dir, hostile+".conf")
	good := "tun-device nat64\nipv4-addr 192.0.2.1\nipv6-addr 2001:db8:1::64\nprefix 2001:db8:64::/96\n"
	in := filepath.Join(dir, hostile)
	require.NoError(t, os.WriteFile(in, []byte(hostile), 0o644))
	for _, test := range []struct {
		conf string
		args []string
	}{
		{good + "dynamic-pool " + hostile + "\n", []string{"-c", conf, in, "-"}},
		{good + "map-file " + hostile + "\n", []string{"-c", conf, in, "-"}},
		{good + "map-file " + in + "\n", []string{"-c", conf, in, "-"}},
		{good, []string{"-c", conf, in, "-"}},
		{good, []string{"-c", conf, in + hostile, in}},
		{good, []string{"-c", conf, in, in}},
		{good, []string{"-c", in, in, "-"}},
		{good, []string{"-c", in + hostile, in, "-"}},
		{good, []string{"-" + hostile}},
		{good, []string{"-mtu", hostile}},
		{good, []string{hostile}},
	} {
		require.NoError(t, os.WriteFile(conf, []byte(test.conf), 0o644))
		var stderr bytes.Buffer
		assert.Equal(t, 1, run(test.args, nil, io.Discard, &stderr), "%q", test.args)
		text := stderr.String()
		assert.NotEmpty(t, text)
		assert.True(t, utf8.ValidString(text), "%q: %q", test.args, text)
		for _, r := range text {
			assert.True(t, unicode.IsPrint(r) || r == '\n' || r == '\t', "%U in %q of %q", r, text, test.args)
		}
	}
}
