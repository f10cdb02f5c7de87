//go:build linux

package fastpath

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// BenchmarkFastpath is the time of the program for a packet, by BPF_PROG_TEST_RUN.
//
// With packets=same the program runs on what it has made of the packet before, to and fro
// between two hosts that are inside the prefix: 100 times each way, then for another pair of
// hosts, taken at random. With packets=any each packet is of another host or session and
// comes after a system call, so that the maps are in no processor's cache if there are many;
// the time of a run that returns at once, because there are no rules, is subtracted.
func BenchmarkFastpath(b *testing.B) {
	for _, kind := range []string{"hosts", "sessions"} {
		for _, n := range []int{1, 1000, 1_000_000} {
			for _, packets := range []string{"same", "any"} {
				b.Run(fmt.Sprintf("%s=%d/packets=%s", kind, n, packets), func(b *testing.B) {
					benchmark(b, kind == "sessions", n, packets == "same")
				})
			}
		}
	}
}

// BenchmarkFastpathCLAT is the time of the program for a packet of a CLAT's host, or to it. Each
// comes after a system call; the time of a run without rules is subtracted.
func BenchmarkFastpathCLAT(b *testing.B) {
	prefix := netip.MustParsePrefix("64:ff9b::/96")
	host4, host6 := netip.MustParseAddr("192.0.0.1"), netip.MustParseAddr("2001:db8:1::464")
	peer4 := netip.AddrFrom4(array4(benchPeer))
	peer6, err := translate.Embed(prefix, peer4)
	if err != nil {
		b.Fatal(err)
	}
	table := translate.TableConfig{Prefixes: []netip.Prefix{prefix}, Maps: []translate.Map{{IPv4: netip.PrefixFrom(host4, 32), IPv6: netip.PrefixFrom(host6, 128)}}}
	rules, err := NewRules(packettest.Config(), table)
	if err != nil {
		b.Fatal(err)
	}
	for _, dir := range []struct {
		name     string
		src, dst netip.Addr
	}{{"4to6", host4, peer4}, {"6to4", peer6, host6}} {
		b.Run("dir="+dir.name, func(b *testing.B) {
			p := loadForTest(b, Sizes{}, ethernet)
			p.SetRules(rules, 0)
			pkt := packettest.IP(packettest.Header{Src: dir.src, Dst: dir.dst, DF: dir.src.Is4()}, packettest.UDP(443, 1000, make([]byte, 64)))
			c := newComparer(p, nil)
			if _, _, err := c.run(pkt, 0); err != nil { // fills c.in
				b.Fatal(err)
			}
			in := c.in[:ethernet+len(pkt)]
			run := func(want uint32) time.Duration {
				verdict, took, err := p.program.Benchmark(in, 1, nil)
				if err != nil {
					b.Fatal(err)
				}
				if verdict != want {
					b.Fatalf("verdict %d", int32(verdict))
				}
				return took
			}
			var total, empty time.Duration
			for b.Loop() {
				total += run(tcxRedirect)
			}
			p.Off()
			for range b.N {
				empty += run(tcxNext)
			}
			b.ReportMetric(float64((total-empty).Nanoseconds())/float64(b.N), "ns/packet")
			b.ReportMetric(0, "ns/op") // that of the system call
		})
	}
}

// benchPeer is the host at the other end.
const benchPeer = 8<<24 | 8<<16 | 8<<8 | 8

// benchHost is the IPv4 address of a host.
func benchHost(i int) uint32 { return 10<<24 | uint32(i) }

func benchmark(b *testing.B, stateful bool, n int, same bool) {
	p := loadForTest(b, Sizes{Hosts: n + 1, Sessions: 2 * n}, ethernet)
	cfg, table := packettest.Config(), packettest.TableConfig()
	table.Maps = nil
	if stateful {
		table.Sessions = &fixedSessions{}
	}
	rules, err := NewRules(cfg, table)
	if err != nil {
		b.Fatal(err)
	}
	prefix, g := table.Prefixes[0], p.SetRules(rules, 0)
	in6 := func(a uint32) [16]byte {
		v6, err := translate.Embed(prefix, netip.AddrFrom4(array4(a)))
		if err != nil {
			b.Fatal(err)
		}
		return v6.As16()
	}
	session := func(host, peer uint32, hostPort, peerPort uint16) error {
		hi, lo := halves(in6(host))
		t6 := translate.Tuple6{Host: translate.Addr6{Hi: hi, Lo: lo}, Remote: peer, HostPort: hostPort, RemotePort: peerPort, Proto: 17, Pref64: 1}
		t4 := translate.Tuple4{Local: host, Remote: peer, LocalPort: hostPort, RemotePort: peerPort, Proto: 17}
		return p.PutSession(g, &t6, &t4)
	}
	host := func(a uint32) error {
		if err := p.PutHost6(g, in6(a), 1, array4(a)); err != nil {
			return err
		}
		return p.PutHost4(g, array4(a), in6(a), 1)
	}
	if !stateful {
		err = host(benchPeer)
	}
	for i := 0; i < n && err == nil; i++ {
		if a := benchHost(i); !stateful {
			err = host(a)
		} else if err = session(a, benchPeer, 1000, 443); err == nil {
			err = session(benchPeer, a, 443, 1000)
		}
	}
	if err != nil {
		b.Fatal(err)
	}

	pkt := packettest.IP(packettest.Header{Src: netip.AddrFrom4(array4(benchPeer)), Dst: netip.AddrFrom4(array4(benchHost(0))), TTL: 255, DF: true},
		packettest.UDP(443, 1000, make([]byte, 64)))
	c := newComparer(p, nil)
	if _, _, err := c.run(pkt, 0); err != nil { // fills c.in
		b.Fatal(err)
	}
	in := c.in[:ethernet+len(pkt)]
	rng := rand.New(rand.NewPCG(1, 1))
	repeat := 1
	if same {
		repeat = 200
	}
	run := func(want uint32) time.Duration {
		binary.BigEndian.PutUint32(in[ethernet+16:], benchHost(rng.IntN(n)))
		in[ethernet+10], in[ethernet+11] = 0, 0
		binary.BigEndian.PutUint16(in[ethernet+10:], ^uint16(headerSum(in[ethernet:])))
		verdict, took, err := p.program.Benchmark(in, repeat, nil)
		if err != nil {
			b.Fatal(err)
		}
		if verdict != want {
			b.Fatalf("verdict %d", int32(verdict))
		}
		return took
	}
	var total, empty time.Duration
	for b.Loop() {
		total += run(tcxRedirect)
	}
	p.Off()
	for range b.N {
		empty += run(tcxNext)
	}
	if same {
		empty = 0
	}
	b.ReportMetric(float64((total-empty).Nanoseconds())/float64(b.N), "ns/packet")
	b.ReportMetric(0, "ns/op") // that of the system call
}
