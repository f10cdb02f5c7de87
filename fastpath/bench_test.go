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

// BenchmarkFastpath is the time of the program for a packet, by BPF_PROG_TEST_RUN: that of a
// run that translates, less that of a run that returns at once because there are no rules.
// Each packet is one of another host or session, taken at random, and comes after a system
// call: with many of them the maps are in no processor's cache.
func BenchmarkFastpath(b *testing.B) {
	for _, kind := range []string{"hosts", "sessions"} {
		for _, n := range []int{1, 1000, 1_000_000} {
			for _, dir := range []string{"4to6", "6to4"} {
				b.Run(fmt.Sprintf("%s=%d/dir=%s", kind, n, dir), func(b *testing.B) { benchmark(b, kind == "sessions", n, dir == "4to6") })
			}
		}
	}
}

func benchmark(b *testing.B, stateful bool, n int, from4 bool) {
	p := loadForTest(b, Sizes{Hosts: n, Sessions: n}, ethernet)
	cfg, table := packettest.Config(), packettest.TableConfig()
	if stateful {
		table.Sessions, table.Shared = &fixedSessions{}, nil
		table.Maps = nil
	}
	rules, err := NewRules(cfg, table)
	if err != nil {
		b.Fatal(err)
	}
	g := p.SetRules(rules, 0)
	host := func(i int) [16]byte {
		a := packettest.M6.As16()
		binary.BigEndian.PutUint32(a[12:], uint32(i))
		return a
	}
	for i := range n {
		h, a := host(i), array4(10<<24|uint32(i))
		if stateful {
			hi, lo := halves(h)
			t6 := translate.Tuple6{Host: translate.Addr6{Hi: hi, Lo: lo}, Remote: 8<<24 | 8<<16 | 8<<8 | 8, HostPort: 1000, RemotePort: 443, Proto: 17, Pref64: 1}
			t4 := translate.Tuple4{Local: 10<<24 | uint32(i), Remote: t6.Remote, LocalPort: 2000, RemotePort: 443, Proto: 17}
			err = p.PutSession(g, &t6, &t4)
		} else if err = p.PutHost6(g, h, 1, a); err == nil {
			err = p.PutHost4(g, a, h, 1)
		}
		if err != nil {
			b.Fatal(err)
		}
	}

	peer6, err := translate.Embed(table.Prefixes[0], addr4(8, 8, 8, 8))
	if err != nil {
		b.Fatal(err)
	}
	pkt := packettest.IP(packettest.Header{Src: packettest.M6, Dst: peer6}, packettest.UDP(1000, 443, make([]byte, 64)))
	at, local := ethernet+8, false
	if from4 {
		pkt = packettest.IP(packettest.Header{Src: addr4(8, 8, 8, 8), Dst: addr4(10, 0, 0, 0), DF: true}, packettest.UDP(443, 2000, make([]byte, 64)))
		at, local = ethernet+16, true
	}
	c := newComparer(p, nil)
	if _, _, err := c.run(pkt, 0); err != nil { // fills c.in
		b.Fatal(err)
	}
	in := c.in[:ethernet+len(pkt)]
	set := func(i int) {
		h, a := host(i), array4(10<<24|uint32(i))
		if local {
			copy(in[at:], a[:])
			in[ethernet+10], in[ethernet+11] = 0, 0
			binary.BigEndian.PutUint16(in[ethernet+10:], ^uint16(headerSum(in[ethernet:])))
			return
		}
		copy(in[at:], h[:])
	}
	rng := rand.New(rand.NewPCG(1, 1))
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
	var total time.Duration
	for b.Loop() {
		set(rng.IntN(n))
		total += run(tcxRedirect)
	}
	p.Off()
	var empty time.Duration
	for range b.N {
		set(rng.IntN(n))
		empty += run(tcxNext)
	}
	b.ReportMetric(float64((total-empty).Nanoseconds())/float64(b.N), "ns/packet")
	b.ReportMetric(0, "ns/op") // that of the system call
}

func addr4(a, b, c, d byte) netip.Addr { return netip.AddrFrom4([4]byte{a, b, c, d}) }
