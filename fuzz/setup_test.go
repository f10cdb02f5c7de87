package fuzz

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/internal/test/refxlat"
	"github.com/steppe-nat64/steppe/translate"
)

// A rig is a translator and its slow reference implementation, both made of one packettest.Setup,
// and the addresses that are worth trying with it.
type rig struct {
	packettest.Setup
	tab *translate.Table
	tr  *translate.Translator
	w   *translate.Worker
	now time.Duration // for w
	ref *refxlat.Xlat

	labels *translate.Worker // like w, with flow labels; made when it is needed

	addrs4, addrs6 []netip.Addr
	more           []translate.Packet // for Fragment
}

// newRig makes a translator and its reference.
func newRig(s packettest.Setup) (*rig, error) {
	tab, err := translate.NewTable(s.Table)
	if err != nil {
		return nil, err
	}
	tr, err := translate.New(s.Config, tab)
	if err != nil {
		return nil, err
	}
	ref, err := refxlat.New(s.Config, s.Table)
	if err != nil {
		return nil, err
	}
	x := &rig{Setup: s, tab: tab, tr: tr, w: tr.NewWorker(), ref: ref}
	x.more = []translate.Packet{{Buf: make([]byte, translate.Headroom+max(1500, s.Config.MTU4, s.Config.MTU6))}}
	x.collect()
	return x, nil
}

// rigs are the translators of all of packettest.Setups.
var rigs = sync.OnceValues(func() (all []*rig, err error) {
	for _, s := range packettest.Setups() {
		x, err := newRig(s)
		if err != nil {
			return nil, err
		}
		all = append(all, x)
	}
	return all, nil
})

// rigOf returns a rig by a number from the fuzzer. It forgets the pairs of
// addresses that the rig has seen, so that a finding can be reproduced.
func rigOf(t testing.TB, i uint8) *rig {
	t.Helper()
	all, err := rigs()
	if err != nil {
		t.Fatal(err)
	}
	x := all[int(i)%len(all)]
	x.update(t, x.Config.MTU4, x.Config.MTU6, x.tab)
	return x
}

// update puts MTUs and a table in force.
func (x *rig) update(t testing.TB, mtu4, mtu6 int, tab *translate.Table) {
	t.Helper()
	err := x.tr.Update(func(s *translate.Settings) { s.MTU4, s.MTU6, s.Table = mtu4, mtu6, tab })
	if err != nil {
		t.Fatal(err)
	}
}

// collect lists addresses that some rule knows: hosts, the translator, and the
// ends of every prefix.
func (x *rig) collect() {
	a := netip.MustParseAddr
	x.addrs4 = []netip.Addr{packettest.H4, packettest.M4, packettest.R4, packettest.X4,
		a("8.8.8.8"), a("10.0.0.1"), a("203.0.113.66"), a("203.0.113.86"), a("240.0.0.1")}
	x.addrs6 = []netip.Addr{packettest.M6, packettest.R6, packettest.X6,
		a("2001:db8:77::2"), a("2001:db8:77::1:2"), a("2001:db8:bad::2"), a("ff02::1")}
	for _, p := range x.Table.Prefixes {
		for _, v4 := range x.addrs4 {
			if v6, err := translate.Embed(p, v4); err == nil {
				x.addrs6 = append(x.addrs6, v6)
			}
		}
	}
	for _, m := range x.Table.Maps {
		x.addrs4 = append(x.addrs4, m.IPv4.Addr(), last(m.IPv4))
		x.addrs6 = append(x.addrs6, m.IPv6.Addr(), last(m.IPv6))
	}
}

// last is the last address of p.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// addr chooses a known address by a number from the fuzzer.
func (x *rig) addr(is4 bool, i uint8) netip.Addr {
	if is4 {
		return x.addrs4[int(i)%len(x.addrs4)]
	}
	return x.addrs6[int(i)%len(x.addrs6)]
}
