package fastpath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/steppe-nat64/steppe/translate"
)

// Rules are what the program has to know of a configuration, besides the hosts and sessions
// that it is told one by one. They are immutable.
type Rules struct {
	data  rulesData
	pages []page

	own4     netip.Addr
	prefixes []rule // in the order of data.prefix: the longest first
}

type rule struct {
	prefix     netip.Prefix
	number     uint8 // place in TableConfig.Prefixes, from 1 on
	checkLoops bool
}

// NewRules makes the rules of a translator's configuration and table. Its error says, in
// one line, which option needs every packet in the translator. What is left to the
// translator packet by packet is no error.
func NewRules(cfg translate.Config, tab translate.TableConfig) (*Rules, error) {
	switch {
	case len(tab.Prefixes) == 0:
		return nil, errors.New("fastpath: there is no prefix that maps peers")
	case len(tab.Prefixes) > maxPrefixes:
		return nil, fmt.Errorf("fastpath: %d prefixes, more than %d", len(tab.Prefixes), maxPrefixes)
	case cfg.FlowLabels:
		return nil, errors.New("fastpath: flow labels are computed by the translator")
	}
	r := &Rules{own4: cfg.IPv4}
	d := &r.data
	d.mtu4, d.mtu6 = or(cfg.MTU4, 1500), or(cfg.MTU6, 1500)
	d.cut6 = min(or(cfg.LowestIPv6MTU, 1280), d.mtu6)
	d.keep4to6, d.set4to6 = tos(cfg.TOS4to6)
	d.keep6to4, d.set6to4 = tos(cfg.TOS6to4)
	d.flags = hasHosts
	if tab.Sessions != nil {
		d.flags = hasSessions
		if len(tab.Maps) > 0 || len(tab.Pools) > 0 {
			d.flags |= hasHosts
		}
	}
	for i, p := range tab.Prefixes {
		if _, err := translate.Embed(p, netip.AddrFrom4([4]byte{192, 0, 2, 1})); err != nil {
			return nil, fmt.Errorf("fastpath: %w", err)
		}
		loops := slices.ContainsFunc(tab.Rules, func(r translate.PrefixRule) bool { return r.Prefix == p && r.CheckLoops })
		r.prefixes = append(r.prefixes, rule{p, uint8(i + 1), loops})
	}
	slices.SortStableFunc(r.prefixes, func(a, b rule) int { return b.prefix.Bits() - a.prefix.Bits() })
	for i, p := range r.prefixes {
		d.prefix[i] = prefixOf(p.prefix, p.number)
	}
	d.prefixes = uint32(len(r.prefixes))
	for i := range d.identKey {
		d.identKey[i], d.identPlaces[i] = rand.Uint64(), rand.Uint64()
	}
	r.exclude(r.noPeers(&cfg, &tab))
	r.setCLAT(&cfg, &tab)
	return r, nil
}

// setCLAT notes the only map of a table, if its host may be on the IPv4 side: that of a CLAT,
// whose peers are inside a prefix on the other.
func (r *Rules) setCLAT(cfg *translate.Config, tab *translate.TableConfig) {
	if len(tab.Maps) != 1 || cfg.Hairpin == translate.HairpinSimple || cfg.DropEmbeddedSource ||
		slices.ContainsFunc(tab.Rules, func(r translate.PrefixRule) bool { return r.DropSource }) {
		return
	}
	m := tab.Maps[0]
	v4, v6 := m.IPv4.Addr(), m.IPv6.Addr()
	no := slices.Clone(reserved4)
	if !cfg.AllowClassE {
		no = append(no, classE)
	}
	if m.IPv4.Bits() != 32 || m.IPv6.Bits() != 128 || v4 == cfg.IPv4 || v6 == cfg.IPv6 || r.of(v6) >= 0 ||
		slices.ContainsFunc(no, func(p netip.Prefix) bool { return p.Contains(v4) }) {
		return
	}
	d := &r.data
	d.flags |= hasCLAT
	d.clat4, d.clat6, d.clatPrefix = v4.As4(), v6.As16(), uint32(r.index(1))
}

// WithIdents returns the rules with the secrets of a Translator, which counts identifications
// in the same memory: see Cache.IdentMemory. Without them the program has secrets of its own.
func (r *Rules) WithIdents(ids translate.Idents) *Rules {
	with := *r
	with.data.identKey, with.data.identPlaces = ids.Key, ids.Places
	return &with
}

// WithoutUDP returns the rules for a program that leaves UDP to the translator. All of it: of
// a flow whose super-packets go one way and whose datagrams the other, the order changes all
// the time.
func (r *Rules) WithoutUDP() *Rules {
	without := *r
	without.data.flags |= leaveUDP
	return &without
}

func or(v, def int) uint32 {
	if v == 0 {
		v = def
	}
	return uint32(v)
}

func tos(t translate.TOS) (keep, set uint8) {
	if t.Override {
		return 0, t.Value
	}
	return 0xff, 0
}

func prefixOf(p netip.Prefix, number uint8) prefixData {
	a := p.Addr().As16()
	ones := func(n int) uint64 { return ^(^uint64(0) >> min(max(n, 0), 64)) }
	hi, lo := halves(a)
	return prefixData{hi, lo, ones(p.Bits()), ones(p.Bits() - 64), uint32(p.Bits()), uint32(number)}
}

// reserved4 are addresses that no packet may have, or only with some options.
var reserved4 = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("255.255.255.255/32"),
}

// nonGlobal4 are addresses that the well-known prefix must not represent: RFC 6052 §3.1.
var nonGlobal4 = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
}

var (
	classE    = netip.MustParsePrefix("240.0.0.0/4")
	wellKnown = netip.MustParsePrefix("64:ff9b::/96")
)

// noPeers lists the IPv4 addresses that are not mapped like those of peers, by prefix alone,
// or may not be: by a map, a lease or a session; the translator's own; and those that no
// packet may have. A few more do no harm: their packets go to the translator.
func (r *Rules) noPeers(cfg *translate.Config, tab *translate.TableConfig) []netip.Prefix {
	list := slices.Clone(reserved4)
	if !cfg.AllowClassE {
		list = append(list, classE)
	}
	if slices.Contains(tab.Prefixes, wellKnown) && !cfg.AllowPrivate {
		list = append(list, nonGlobal4...)
	}
	if cfg.IPv4.Is4() {
		list = append(list, netip.PrefixFrom(cfg.IPv4, 32))
	}
	list = append(list, tab.Shared...)
	for _, p := range tab.Pools {
		list = append(list, p.Prefixes...)
	}
	for _, m := range tab.Maps {
		list = append(list, m.IPv4)
		list = append(list, r.inside(m.IPv6)...)
	}
	if cfg.IPv6.Is6() {
		list = append(list, r.inside(netip.PrefixFrom(cfg.IPv6, 128))...)
	}
	return list
}

// inside lists the IPv4 addresses which prefixes of the translator make addresses in p of:
// those are not mapped by these prefixes alone.
func (r *Rules) inside(p netip.Prefix) (list []netip.Prefix) {
	p = p.Masked()
	for _, q := range r.prefixes {
		if !q.prefix.Overlaps(p) {
			continue
		}
		// Bits 64 to 71 of an address are none of the embedded one: RFC 6052 §2.2.
		known := p.Bits() - q.prefix.Bits()
		if q.prefix.Bits() < 96 && p.Bits() > 64 {
			known = 64 - q.prefix.Bits() + max(0, p.Bits()-72)
		}
		v4 := netip.IPv4Unspecified()
		if known > 0 {
			v4, _ = translate.Extract(q.prefix, p.Addr())
		}
		list = append(list, netip.PrefixFrom(v4, min(max(known, 0), 32)))
	}
	return list
}

// exclude notes which addresses are no peer's. Beyond maxPages, all 65,536 addresses around
// one are none.
func (r *Rules) exclude(list []netip.Prefix) {
	remote := &r.data.remote
	for _, p := range list {
		a := p.Masked().Addr().As4()
		first := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
		if p.Bits() <= 16 {
			for i := range uint32(1) << (16 - p.Bits()) {
				remote[first>>16+i] = noPeers
			}
			continue
		}
		at := &remote[first>>16]
		if *at == allPeers {
			if *at = noPeers; len(r.pages) < maxPages {
				*at = uint8(firstPage + len(r.pages))
				r.pages = append(r.pages, page{})
			}
		}
		if *at < firstPage {
			continue
		}
		bits := &r.pages[*at-firstPage]
		for i := range uint32(1) << (32 - p.Bits()) {
			low := first&0xffff + i
			bits[low/64] |= 1 << (low % 64)
		}
	}
}

// isPeer reports what the program finds of an IPv4 address.
func (r *Rules) isPeer(a [4]byte) bool {
	kind := r.data.remote[int(a[0])<<8|int(a[1])]
	if kind < firstPage {
		return kind == allPeers
	}
	low := int(a[2])<<8 | int(a[3])
	return r.pages[kind-firstPage][low/64]>>(low%64)&1 == 0
}

// of returns the index of the longest prefix that contains an address, -1 if none does.
func (r *Rules) of(a netip.Addr) int {
	return slices.IndexFunc(r.prefixes, func(p rule) bool { return p.prefix.Contains(a) })
}

// index returns the index of the prefix with a number, which is -1 for none.
func (r *Rules) index(number uint8) int {
	return slices.IndexFunc(r.prefixes, func(p rule) bool { return p.number == number })
}

func halves(a [16]byte) (hi, lo uint64) {
	for i := range 8 {
		hi, lo = hi<<8|uint64(a[i]), lo<<8|uint64(a[8+i])
	}
	return hi, lo
}

func array4(a uint32) (b [4]byte) {
	binary.BigEndian.PutUint32(b[:], a)
	return b
}
