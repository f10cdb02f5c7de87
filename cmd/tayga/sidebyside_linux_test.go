package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
	. "github.com/steppe-nat64/steppe/internal/test/packettest" // the table below is packets and nothing else
)

// sideConf is understood by TAYGA 0.9.2.
const sideConf = `tun-device nat64
ipv4-addr 192.0.2.254
ipv6-addr 2001:db8:f::254
prefix 2001:db8:64::/96
map 192.0.2.6 2001:db8:6::6
map 192.0.2.64/28 2001:db8:7::40/124
dynamic-pool 10.64.0.0/24
`

// A port puts packets on a device and takes from it what its program makes of
// them, past all routing.
type port struct {
	fd    int
	index int
	marks uint16
}

// openPort runs a program on a device of its own and returns the way to it.
func openPort(t *testing.T, host *netlab.Host, program, conf string) *port {
	t.Helper()
	path := filepath.Join(t.TempDir(), "conf")
	require.NoError(t, os.WriteFile(path, []byte(conf), 0o644))
	p, err := host.Launch(program, "-d", "-c", path)
	require.NoError(t, err)
	require.NoError(t, waitFor(func() bool {
		return host.Do(func() error {
			if !deviceExists("nat64") {
				return os.ErrNotExist
			}
			return nil
		}) == nil
	}), p.Output())
	host.Sysctl("net.ipv6.conf.nat64.disable_ipv6", "1") // the kernel has nothing to say here
	host.Up("nat64")
	require.NoError(t, host.WaitRunning("nat64", patience))
	port := &port{}
	require.NoError(t, host.Do(func() (err error) {
		if port.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		ifr, _ := unix.NewIfreq("nat64")
		if err := unix.IoctlIfreq(port.fd, unix.SIOCGIFINDEX, ifr); err != nil {
			return err
		}
		port.index = int(ifr.Uint32())
		tv := unix.NsecToTimeval(patience.Nanoseconds())
		unix.SetsockoptTimeval(port.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
		return unix.Bind(port.fd, &unix.SockaddrLinklayer{Protocol: 0x0300, Ifindex: port.index}) // ETH_P_ALL
	}))
	t.Cleanup(func() { unix.Close(port.fd) })
	return port
}

func (p *port) send(t *testing.T, b []byte) {
	t.Helper()
	proto := uint16(0x0008) // ETH_P_IP, in network order
	if b[0]>>4 == 6 {
		proto = 0xdd86
	}
	require.NoError(t, unix.Sendto(p.fd, b, 0, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: p.index}))
}

// ask returns what comes of a packet. A ping to the program's own address goes
// after it, and its answer ends what there is to wait for.
func (p *port) ask(t *testing.T, b []byte) (out [][]byte) {
	t.Helper()
	p.send(t, b)
	p.marks++
	mark := EchoRequest(0x5eed, p.marks, nil)
	p.send(t, IP(Header{Src: R4, Dst: X4}, mark))
	buf := make([]byte, 70000)
	for {
		n, from, err := unix.Recvfrom(p.fd, buf, 0)
		require.NoError(t, err, "no answer to the ping after it")
		if from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		b := bytes.Clone(buf[:n])
		if len(b) == 28 && b[9] == 1 && binary.BigEndian.Uint16(b[24:]) == 0x5eed {
			if binary.BigEndian.Uint16(b[26:]) == p.marks {
				return out
			}
			continue
		}
		out = append(out, b)
	}
}

// tosOfErrors is why ICMPv4 errors differ in one byte.
const tosOfErrors = "errors carry the precedence of network control: RFC 1812 §4.3.2.5"

// answered is why TAYGA drops silently what this one answers.
const answered = "the source is told that the packet cannot be translated: RFC 7915 §4.4, §5.4"

// sideCases are packets for both programs. Where why is empty the same packets
// have to come out, but for what normal takes away; elsewhere they have to
// differ, for that reason. RFC numbers are in rfc/.
var sideCases = []struct {
	name string
	in   []byte
	why  string
}{
	// 4 to 6.
	{"4to6/tcp", IP(From4(), TCP(1, 2, Bytes(100, 0))), ""},
	{"4to6/udp", IP(From4(), UDP(1, 2, Bytes(100, 0))), ""},
	{"4to6/udp-empty", IP(From4(), UDP(1, 2, nil)), ""},
	{"4to6/tos", IP(Header{Src: H4, Dst: M4, DF: true, TOS: 0xb9}, UDP(1, 2, Bytes(9, 0))), ""},
	{"4to6/echo-request", IP(From4(), EchoRequest(1, 2, Bytes(56, 0))), ""},
	{"4to6/echo-reply", IP(From4(), EchoReply(1, 2, Bytes(56, 0))), ""},
	{"4to6/esp", IP(From4(), Raw(50, Bytes(60, 0))), ""},
	{"4to6/gre", IP(From4(), Raw(47, Bytes(60, 0))), ""},
	{"4to6/sctp", IP(From4(), Raw(132, Bytes(60, 0))), ""},
	{"4to6/ip-in-ip", IP(From4(), Raw(4, Bytes(60, 0))), ""},
	{"4to6/unknown-protocol", IP(From4(), Raw(253, Bytes(60, 0))), ""},
	{"4to6/subnet-map", IP(Header{Src: H4, Dst: netip.MustParseAddr("192.0.2.71"), DF: true}, UDP(1, 2, nil)), ""},
	{"4to6/options", IP(Header{Src: H4, Dst: M4, DF: true, Options: []byte{7, 7, 4, 0, 0, 0, 0, 0}}, UDP(1, 2, nil)), ""},
	{"4to6/df-1480", IP(From4(), UDP(1, 2, Bytes(1452, 0))), ""},
	{"4to6/df-1481", IP(From4(), UDP(1, 2, Bytes(1453, 0))), tosOfErrors},
	{"4to6/no-df-1260", IP(Header{Src: H4, Dst: M4, ID: 5}, UDP(1, 2, Bytes(1232, 0))), ""},
	{"4to6/no-df-1261", IP(Header{Src: H4, Dst: M4, ID: 5}, UDP(1, 2, Bytes(1233, 0))), ""},
	{"4to6/no-df-1500", IP(Header{Src: H4, Dst: M4, ID: 5}, UDP(1, 2, Bytes(1472, 0))), ""},
	{"4to6/first-fragment", IP(Header{Src: H4, Dst: M4, ID: 5, MF: true}, UDP(1, 2, Bytes(1272, 0))), ""},
	{"4to6/small-first-fragment", IP(Header{Src: H4, Dst: M4, ID: 5, MF: true}, UDP(1, 2, Bytes(64, 0))), ""},
	{"4to6/middle-fragment", IP(Header{Src: H4, Dst: M4, ID: 5, MF: true, Off8: 100}, Raw(17, Bytes(800, 0))), ""},
	{"4to6/last-fragment", IP(Header{Src: H4, Dst: M4, ID: 5, Off8: 100}, Raw(17, Bytes(33, 0))), ""},
	{"4to6/bad-udp-checksum", Edit(IP(From4(), UDP(1, 2, Bytes(9, 0))), func(b []byte) { b[26] ^= 1 }), ""},
	{"4to6/surplus-bytes", append(IP(From4(), UDP(1, 2, Bytes(9, 0))), 1, 2, 3), ""},
	{"4to6/ttl-2", IP(Header{Src: H4, Dst: M4, DF: true, TTL: 2}, UDP(1, 2, nil)), ""},
	{"4to6/lease", IP(Header{Src: H4, Dst: netip.MustParseAddr("10.64.0.9"), DF: true}, UDP(1, 2, nil)), tosOfErrors},

	{"4to6/ttl-1", IP(Header{Src: H4, Dst: M4, DF: true, TTL: 1}, UDP(1, 2, nil)), tosOfErrors},
	{"4to6/no-map-for-source", IP(Header{Src: netip.MustParseAddr("10.64.0.9"), Dst: M4, DF: true}, UDP(1, 2, nil)), tosOfErrors},
	{"4to6/own-tcp", IP(Header{Src: H4, Dst: X4, DF: true}, TCP(1, 2, nil)), tosOfErrors},
	{"4to6/own-ping", IP(Header{Src: H4, Dst: X4, DF: true, TOS: 3, TTL: 1}, EchoRequest(1, 2, Bytes(9, 0))), ""},
	{"4to6/own-ping-reply", IP(Header{Src: H4, Dst: X4, DF: true}, EchoReply(1, 2, Bytes(9, 0))), ""},

	// Refusals that are silent there.
	{"4to6/bad-header-checksum", flip(IP(From4(), UDP(1, 2, nil)), 10), ""},
	{"4to6/bad-icmp-checksum", Edit(IP(From4(), EchoRequest(1, 2, Bytes(9, 0))), func(b []byte) { b[22] ^= 1 }), "a wrong checksum of an Echo message stays wrong, as it does for TCP and UDP"},
	{"4to6/cut-short", IP(From4(), UDP(1, 2, Bytes(9, 0)))[:30], ""},
	{"4to6/ttl-0", Edit(IP(From4(), UDP(1, 2, nil)), func(b []byte) { b[8] = 0 }), "TAYGA is silent about a TTL of 0: RFC 1812 §5.3.1"},
	{"4to6/source-loopback", IP(Header{Src: netip.MustParseAddr("127.0.0.1"), Dst: M4}, UDP(1, 2, nil)), ""},
	{"4to6/source-link-local", IP(Header{Src: netip.MustParseAddr("169.254.1.1"), Dst: M4}, UDP(1, 2, nil)), ""},
	{"4to6/to-multicast", IP(Header{Src: H4, Dst: netip.MustParseAddr("224.0.0.1")}, UDP(1, 2, nil)), ""},
	{"4to6/udp-cut-in-header", IP(From4(), Raw(17, Bytes(7, 0))), answered},
	{"4to6/tcp-cut-in-header", IP(From4(), Raw(6, Bytes(19, 0))), answered},
	{"4to6/udp-zero-checksum", IP(From4(), UDPNoSum(1, 2, Bytes(9, 0))), answered},
	{"4to6/icmp-fragment", IP(Header{Src: H4, Dst: M4, MF: true}, EchoRequest(1, 2, Bytes(8, 0))), answered},
	{"4to6/icmp-timestamp", IP(From4(), ICMP(13, 0, 0, Bytes(12, 0))), ""},
	{"4to6/icmp-redirect", IP(From4(), ICMP(5, 0, 0, IP(back4(), UDP(1, 2, nil)))), ""},
	{"4to6/fragment-not-in-eights", IP(Header{Src: H4, Dst: M4, MF: true}, UDP(1, 2, Bytes(9, 0))), answered},
	{"4to6/fragment-beyond-65535", IP(Header{Src: H4, Dst: M4, Off8: 8191}, Raw(17, Bytes(64, 0))), ""},

	// ICMP errors from IPv4.
	{"4to6/host-unreachable", IP(From4(), ICMP(3, 1, 0, IP(back4(), UDP(1, 2, Bytes(30, 0))))), ""},
	{"4to6/net-unreachable", IP(From4(), ICMP(3, 0, 0, IP(back4(), UDP(1, 2, Bytes(30, 0))))), ""},
	{"4to6/protocol-unreachable", IP(From4(), ICMP(3, 2, 0, IP(back4(), UDP(1, 2, Bytes(30, 0))))), ""},
	{"4to6/port-unreachable", IP(From4(), ICMP(3, 3, 0, IP(back4(), UDP(1, 2, Bytes(30, 0))))), ""},
	{"4to6/admin-prohibited", IP(From4(), ICMP(3, 13, 0, IP(back4(), UDP(1, 2, Bytes(30, 0))))), ""},
	{"4to6/fragmentation-needed-1400", IP(From4(), ICMP(3, 4, 1400, IP(back4(), TCP(1, 2, Bytes(600, 0))))), ""},
	{"4to6/fragmentation-needed-600", IP(From4(), ICMP(3, 4, 600, IP(back4(), TCP(1, 2, Bytes(600, 0))))), ""},
	{"4to6/fragmentation-needed-0", IP(From4(), ICMP(3, 4, 0, IP(back4(), TCP(1, 2, Bytes(600, 0))))), ""},
	{"4to6/time-exceeded", IP(Header{Src: R4, Dst: M4}, ICMP(11, 0, 0, IP(back4(), UDP(1, 2, Bytes(30, 0))))), ""},
	{"4to6/reassembly-time-exceeded", IP(From4(), ICMP(11, 1, 0, IP(back4(), UDP(1, 2, Bytes(30, 0))))), ""},
	{"4to6/error-about-echo", IP(From4(), ICMP(3, 1, 0, IP(back4(), EchoRequest(1, 2, Bytes(30, 0))))), ""},
	{"4to6/error-about-error", IP(From4(), ICMP(3, 1, 0, IP(back4(), ICMP(3, 1, 0, IP(From4(), UDP(1, 2, nil)))))), ""},
	{"4to6/quote-to-unmapped", IP(From4(), ICMP(3, 1, 0, IP(Header{Src: netip.MustParseAddr("10.64.0.9"), Dst: H4}, UDP(1, 2, nil)))), ""},
	{"4to6/parameter-problem", IP(From4(), ICMP(12, 0, 8<<24, IP(back4(), UDP(1, 2, Bytes(30, 0))))), "0.9.2 drops them"},
	{"4to6/quote-of-8-bytes-tcp", IP(From4(), ICMP(3, 1, 0, IP(back4(), TCP(1, 2, nil))[:28])), "TAYGA drops what quotes less than a TCP header"},
	{"4to6/quote-of-fragment", IP(From4(), ICMP(11, 1, 0, IP(Header{Src: M4, Dst: H4, ID: 7, MF: true}, UDP(1, 2, Bytes(64, 0))))), "TAYGA loses the Fragment Header of the quote"},
	{"4to6/quote-without-checksum", IP(From4(), ICMP(3, 3, 0, IP(back4(), UDPNoSum(1, 2, Bytes(30, 0))))), "TAYGA drops them with the default of udp-cksum-mode"},
	{"4to6/extension", IP(Header{Src: R4, Dst: M4}, ExtendedError(11, 0, 0, IP(back4(), UDP(1, 2, Bytes(100, 0))), MPLS())), "TAYGA removes extensions"},
	{"4to6/source-route", IP(Header{Src: H4, Dst: M4, Options: []byte{131, 7, 4, 192, 0, 2, 9, 0}}, UDP(1, 2, nil)), "TAYGA ignores source routes"},
	{"4to6/protocol-icmpv6", IP(From4(), Raw(58, Bytes(60, 0))), "0.9.2 passes protocols of IPv6 on"},
	{"4to6/protocol-hop-by-hop", IP(From4(), Raw(0, Bytes(64, 0))), "0.9.2 passes protocols of IPv6 on"},
	{"4to6/udp-checksum-becomes-0", zeroSum(From4(), netip.MustParseAddr("2001:db8:64::c633:6404"), M6), "TAYGA sends 0"},
	{"4to6/udp-lite", IP(From4(), UDPLite(1, 2, 8, Bytes(30, 0))), "TAYGA leaves the checksum of the other family"},
	{"4to6/dccp", IP(From4(), DCCP(1, 2, Bytes(30, 0))), "TAYGA leaves the checksum of the other family"},

	// 6 to 4.
	{"6to4/tcp", IP(From6(), TCP(1, 2, Bytes(100, 0))), ""},
	{"6to4/udp", IP(From6(), UDP(1, 2, Bytes(100, 0))), ""},
	{"6to4/echo-request", IP(From6(), EchoRequest(1, 2, Bytes(56, 0))), ""},
	{"6to4/tcp-1400", IP(From6(), TCP(1, 2, Bytes(1400, 0))), ""},
	{"6to4/udp-1400", IP(From6(), UDP(1, 2, Bytes(1400, 0))), ""},
	{"6to4/traffic-class", IP(Header{Src: M6, Dst: H4in6, TOS: 0xb9, FlowLabel: 7}, UDP(1, 2, Bytes(1400, 0))), ""},
	{"6to4/echo-request-1400", IP(From6(), EchoRequest(1, 2, Bytes(1400, 0))), ""},
	{"6to4/echo-reply-1400", IP(From6(), EchoReply(1, 2, Bytes(1400, 0))), ""},
	{"6to4/esp-1400", IP(From6(), Raw(50, Bytes(1400, 0))), ""},
	{"6to4/subnet-map", IP(Header{Src: netip.MustParseAddr("2001:db8:7::47"), Dst: H4in6}, UDP(1, 2, Bytes(1400, 0))), ""},
	{"6to4/lease", IP(Header{Src: netip.MustParseAddr("2001:db8:9::9"), Dst: H4in6}, UDP(1, 2, Bytes(1400, 0))), ""},
	{"6to4/lease-kept", IP(Header{Src: netip.MustParseAddr("2001:db8:9::9"), Dst: H4in6}, UDP(3, 4, Bytes(1400, 0))), ""},
	{"6to4/other-lease", IP(Header{Src: netip.MustParseAddr("2001:db8:9:8:7:6:5:4"), Dst: H4in6}, UDP(1, 2, Bytes(1400, 0))), ""},
	{"6to4/first-fragment", IP(From6(), Fragment(0x12345, 0, true, Part(UDP(1, 2, Bytes(64, 0)), 0, 64))), ""},
	{"6to4/last-fragment", IP(From6(), Fragment(0x12345, 8, false, Raw(17, Bytes(9, 0)))), ""},
	{"6to4/atomic-fragment", IP(From6(), Fragment(0x12345, 0, false, UDP(1, 2, Bytes(64, 0)))), ""},
	{"6to4/hop-by-hop-1400", IP(From6(), HopByHop(8, UDP(1, 2, Bytes(1400, 0)))), ""},
	{"6to4/destination-options-1400", IP(From6(), DestOpts(8, UDP(1, 2, Bytes(1400, 0)))), ""},
	{"6to4/bad-tcp-checksum", flip(IP(From6(), TCP(1, 2, Bytes(1400, 0))), 57), ""},
	{"6to4/surplus-bytes", append(IP(From6(), UDP(1, 2, Bytes(1400, 0))), 1, 2, 3), ""},
	{"6to4/lease-answered", IP(Header{Src: H4, Dst: netip.MustParseAddr("10.64.0.255"), DF: true}, UDP(1, 2, nil)), tosOfErrors},

	{"6to4/hop-limit-1", IP(Header{Src: M6, Dst: H4in6, TTL: 1}, UDP(1, 2, nil)), ""},
	{"6to4/no-map-for-destination", IP(Header{Src: M6, Dst: netip.MustParseAddr("2001:db8:5::5")}, UDP(1, 2, nil)), ""},
	{"6to4/own-tcp", IP(Header{Src: M6, Dst: X6}, TCP(1, 2, nil)), ""},
	{"6to4/own-ping", IP(Header{Src: M6, Dst: X6, TOS: 3, TTL: 1}, EchoRequest(1, 2, Bytes(9, 0))), ""},
	{"6to4/own-neighbour-solicitation", IP(Header{Src: M6, Dst: X6, TTL: 255}, ICMP(135, 0, 0, Bytes(16, 0))), ""},

	{"6to4/bad-icmp-checksum", flip(IP(From6(), EchoRequest(1, 2, Bytes(9, 0))), 43), "a wrong checksum of an Echo message stays wrong, as it does for TCP and UDP"},
	{"6to4/source-link-local", IP(Header{Src: netip.MustParseAddr("fe80::1"), Dst: H4in6}, UDP(1, 2, nil)), ""},
	{"6to4/source-ipv4-link-local", IP(Header{Src: netip.MustParseAddr("2001:db8:64::169.254.1.1"), Dst: H4in6}, UDP(1, 2, nil)), "dropped silently, as RFC 3927 §7 has it"},
	{"6to4/to-ipv4-link-local", IP(Header{Src: M6, Dst: netip.MustParseAddr("2001:db8:64::169.254.169.254")}, UDP(1, 2, nil)), "dropped silently, as RFC 3927 §7 has it"},
	{"6to4/to-multicast", IP(Header{Src: M6, Dst: netip.MustParseAddr("ff02::2")}, UDP(1, 2, nil)), ""},
	{"6to4/cut-short", IP(From6(), UDP(1, 2, Bytes(9, 0)))[:50], ""},
	{"6to4/icmp-fragment", IP(From6(), Fragment(1, 0, true, Part(EchoRequest(1, 2, Bytes(64, 0)), 0, 64))), ""},
	{"6to4/udp-cut-in-header", IP(From6(), Raw(17, Bytes(7, 0))), answered},
	{"6to4/router-advertisement", IP(From6(), ICMP(134, 0, 0, Bytes(8, 0))), ""},

	// ICMP errors from IPv6.
	{"6to4/no-route", IP(From6(), ICMP(1, 0, 0, IP(back6(), UDP(1, 2, Bytes(1100, 0))))), ""},
	{"6to4/port-unreachable", IP(From6(), ICMP(1, 4, 0, IP(back6(), UDP(1, 2, Bytes(30, 0))))), ""},
	{"6to4/time-exceeded", IP(From6(), ICMP(3, 0, 0, IP(back6(), UDP(1, 2, Bytes(30, 0))))), ""},
	{"6to4/time-exceeded-unmapped-router", IP(Header{Src: R6, Dst: H4in6}, ICMP(3, 0, 0, IP(back6(), UDP(1, 2, Bytes(30, 0))))), "0.9.2 drops them"},
	{"6to4/packet-too-big", IP(From6(), ICMP(2, 0, 1400, IP(back6(), TCP(1, 2, Bytes(300, 0))))), ""},
	{"6to4/next-header-unknown", IP(From6(), ICMP(4, 1, 6, IP(back6(), UDP(1, 2, Bytes(30, 0))))), ""},
	{"6to4/admin-prohibited", IP(From6(), ICMP(1, 1, 0, IP(back6(), UDP(1, 2, Bytes(30, 0))))), ""},
	{"6to4/beyond-scope", IP(From6(), ICMP(1, 2, 0, IP(back6(), UDP(1, 2, Bytes(30, 0))))), ""},
	{"6to4/error-about-echo", IP(From6(), ICMP(1, 4, 0, IP(back6(), EchoRequest(1, 2, Bytes(30, 0))))), ""},
	{"6to4/address-unreachable", IP(From6(), ICMP(1, 3, 0, IP(back6(), UDP(1, 2, Bytes(30, 0))))), "0.9.2 drops them"},
	{"6to4/parameter-problem", IP(From6(), ICMP(4, 0, 7, IP(back6(), UDP(1, 2, Bytes(30, 0))))), "0.9.2 drops them"},
	{"6to4/routing-header", IP(From6(), Routing(1, UDP(1, 2, nil))), "0.9.2 ignores segments left"},
	{"6to4/protocol-icmpv4", IP(From6(), Raw(1, Bytes(1400, 0))), "0.9.2 passes protocol 1 on"},
	{"6to4/hairpin", IP(Header{Src: M6, Dst: netip.MustParseAddr("2001:db8:64::c000:246")}, UDP(1, 2, nil)), "TAYGA refuses hairpins"},
}

func flip(b []byte, i int) []byte {
	b[i] ^= 1
	return b
}

// back4 and back6 are the headers of packets that errors are about.
func back4() Header { return Header{Src: M4, Dst: H4, DF: true, TTL: 60} }
func back6() Header { return Header{Src: H4in6, Dst: M6, TTL: 60} }

// zeroSum is a UDP packet whose checksum becomes 0 between src6 and dst6.
func zeroSum(h Header, src6, dst6 netip.Addr) []byte {
	data := []byte{0, 0}
	_, b := UDP(1, 2, data)(src6, dst6)
	copy(data, b[6:8]) // what is missing to a sum of all ones
	return IP(h, UDP(1, 2, data))
}

func TestPacketsSideBySide(t *testing.T) {
	if _, err := os.Stat(debianTayga); err != nil {
		t.Skip("Debian's tayga is not installed")
	}
	lab := netlab.New(t)
	self, err := os.Executable()
	require.NoError(t, err)
	theirs := openPort(t, lab.Host("theirs"), debianTayga, sideConf)
	ours := openPort(t, lab.Host("ours"), self, sideConf+"workers 1\n")
	time.Sleep(50 * time.Millisecond)
	same := 0
	for _, c := range sideCases {
		t.Run(c.name, func(t *testing.T) {
			want, got := normal(theirs.ask(t, c.in)), normal(ours.ask(t, c.in))
			switch {
			case c.why == "" && want != got:
				t.Errorf("in:\n%stheirs:\n%sours:\n%s", hex.Dump(c.in), want, got)
			case c.why != "" && want == got:
				t.Errorf("the same, but expected to differ: %s\n%s", c.why, want)
			case c.why == "":
				same++
			}
		})
	}
	t.Logf("%d packets, %d with the same outcome", len(sideCases), same)
}

// normal prints packets without what may have any value: of unfragmented IPv4
// packets the identification and, up to 1260 bytes, DF, which TAYGA 0.9.2 sets
// or not depending on what it has seen before (RFC 7915 §5.1 says clear); and the
// checksums over them.
func normal(packets [][]byte) string {
	var s strings.Builder
	for _, b := range packets {
		b = bytes.Clone(b)
		if mask4(b) && b[9] == 1 && len(b) > 28 && (b[20] == 3 || b[20] == 11 || b[20] == 12) && mask4(b[28:]) {
			b[22], b[23] = 0, 0
		}
		fmt.Fprintf(&s, "%d bytes\n%s", len(b), hex.Dump(b[:min(len(b), 160)]))
		if len(b) > 160 {
			fmt.Fprintf(&s, "… %x\n", b[160:])
		}
	}
	if len(packets) == 0 {
		return "nothing\n"
	}
	return s.String()
}

// mask4 does that to one header. It reports whether there was one.
func mask4(b []byte) bool {
	if len(b) < 20 || b[0]>>4 != 4 {
		return false
	}
	if binary.BigEndian.Uint16(b[6:])&0x3fff == 0 {
		b[4], b[5], b[10], b[11] = 0, 0, 0, 0
		if binary.BigEndian.Uint16(b[2:]) <= 1260 {
			b[6] &^= 0x40
		}
	}
	return true
}
