package fastpath

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// provePackets is how many packets Prove compares, of hosts and of sessions. They take some
// tens of milliseconds.
const provePackets = 4000

// Prove loads the program once more, and compares what it makes of some thousand packets,
// random and aimed, with what a translator makes of them that has the configuration and the
// prefixes: of each table, if the one that will be used is not known yet. It returns the first
// difference as an error of one line, or why that could not be found out. It needs the
// capabilities of Load.
func Prove(cfg translate.Config, tables ...translate.TableConfig) error {
	if err := Supported(); err != nil {
		return err
	}
	p, err := load(Sizes{}, ethernet)
	if err != nil {
		return err
	}
	defer p.Close()
	if len(tables) == 0 {
		return errors.New("fastpath: prove: no table")
	}
	for i, tab := range tables {
		for _, kind := range kindsOfHosts {
			if err := prove(p, cfg, tab, kind, provePackets/len(tables), uint64(i+1)); err != nil {
				return err
			}
		}
	}
	return nil
}

// A kindOfHost says how hosts come by their other address.
type kindOfHost uint8

const (
	withMaps kindOfHost = iota
	withSessions
	ofCLAT // one that has the only map, and is on the IPv4 side
)

var kindsOfHosts = []kindOfHost{withMaps, withSessions, ofCLAT}

// prove compares n packets of one kind of hosts. It compares none where the program leaves
// those of a CLAT.
func prove(p *Path, cfg translate.Config, tab translate.TableConfig, kind kindOfHost, n int, seed uint64) error {
	hosts, tab, err := proveTable(tab, kind)
	if err != nil {
		return err
	}
	t, err := translate.NewTable(tab)
	if err != nil {
		return fmt.Errorf("fastpath: prove: %w", err)
	}
	cfg.ICMPPool4, cfg.ICMPPool6 = nil, nil
	tr, err := translate.New(cfg, t)
	if err != nil {
		return fmt.Errorf("fastpath: prove: %w", err)
	}
	rules, err := NewRules(cfg, tab)
	if err != nil {
		return err
	}
	if kind == ofCLAT && rules.data.flags&hasCLAT == 0 {
		return nil
	}
	p.SetRules(rules, 0)
	defer p.Off()
	w := tr.NewWorker()
	defer w.Close()
	c := newComparer(p, w)
	if kind == withSessions {
		c.shared = func(a [4]byte) bool { return sharedByProve.Contains(netip.AddrFrom4(a)) }
	}
	s := newSampler(seed, w, &cfg, hosts)
	s.swapped = kind == ofCLAT
	for i := range n {
		c.now += time.Millisecond
		pkt, gso := s.packet(c.now)
		if c.flags = 0; i%2 == 1 {
			c.flags = testFlags()
		}
		if err := c.compare(pkt, gso); err != nil {
			return fmt.Errorf("fastpath: prove: %w", err)
		}
	}
	if c.translated < n/3 {
		return fmt.Errorf("fastpath: prove: the program translates %d of %d packets alone", c.translated, n)
	}
	return nil
}

// testFlags are those of BPF_PROG_TEST_RUN. Since Linux 6.11 it can give the program a packet
// with the sum of all of it, as network devices do, and checks that this is kept right.
func testFlags() uint32 {
	const checksumComplete = 1 << 2
	if major, minor, _ := release(); major < 6 || major == 6 && minor < 11 {
		return 0
	}
	return checksumComplete
}

// Addresses of the hosts that Prove makes up, for benchmarks and documentation. IPv6 hosts
// are those of the two that are inside no prefix.
var (
	hostsOfProve  = [...]netip.Addr{netip.MustParseAddr("2001:db8:5afe::1000"), netip.MustParseAddr("fd00:5afe::1000")}
	mappedByProve = netip.MustParseAddr("198.18.7.16")
	sharedByProve = netip.MustParsePrefix("198.18.8.0/30")
)

// proveTable makes a table with the prefixes and rules of tab, and hosts that have a map each
// or share addresses.
func proveTable(tab translate.TableConfig, kind kindOfHost) (hosts []sampleHost, _ translate.TableConfig, err error) {
	if len(tab.Prefixes) == 0 {
		return nil, tab, errors.New("fastpath: there is no prefix that maps peers")
	}
	tab.Maps, tab.Pools, tab.Shared, tab.Sessions = nil, nil, nil, nil
	v6, v4 := hostsOfProve[0], mappedByProve
	if slices.ContainsFunc(tab.Prefixes, func(p netip.Prefix) bool { return p.Contains(v6) }) {
		v6 = hostsOfProve[1]
	}
	count := 4
	switch kind {
	case withSessions:
		v4 = sharedByProve.Addr()
	case ofCLAT:
		for _, p := range tab.Prefixes {
			hosts = append(hosts, sampleHost{v6, v4, p})
		}
		tab.Maps = []translate.Map{{IPv4: netip.PrefixFrom(v4, 32), IPv6: netip.PrefixFrom(v6, 128)}}
		return hosts, tab, nil
	}
	for i := range count {
		// Packets to a host with a map come from inside the first prefix.
		pref64 := tab.Prefixes[0]
		if kind == withSessions {
			pref64 = tab.Prefixes[i%len(tab.Prefixes)]
		}
		hosts = append(hosts, sampleHost{v6, v4, pref64})
		if kind != withSessions {
			tab.Maps = append(tab.Maps, translate.Map{IPv4: netip.PrefixFrom(v4, 32), IPv6: netip.PrefixFrom(v6, 128)})
		}
		v6, v4 = v6.Next(), v4.Next()
	}
	if kind == withSessions {
		tab.Shared, tab.Sessions = []netip.Prefix{sharedByProve}, &fixedSessions{hosts: hosts, prefixes: tab.Prefixes}
	}
	return hosts, tab, nil
}

// fixedSessions has a session for each flow: the port is another one, and the address of a
// host has no other host.
type fixedSessions struct {
	hosts    []sampleHost
	prefixes []netip.Prefix
}

const otherPort = 0x5a5a

func (f *fixedSessions) number(h *sampleHost) uint8 {
	return uint8(slices.Index(f.prefixes, h.pref64) + 1)
}

func (f *fixedSessions) Outbound(_ time.Duration, t *translate.Tuple6, _ uint8, to *translate.Tuple4) translate.FlowResult {
	for i := range f.hosts {
		h := &f.hosts[i]
		if hi, lo := halves(h.v6.As16()); hi == t.Host.Hi && lo == t.Host.Lo && f.number(h) == t.Pref64 {
			*to = translate.Tuple4{Local: v4number(h.v4), Remote: t.Remote, LocalPort: t.HostPort ^ otherPort, RemotePort: t.RemotePort, Proto: t.Proto}
			if t.Proto == protoICMP6 {
				to.RemotePort, to.Proto = to.LocalPort, protoICMP4
			}
			return translate.FlowMapped
		}
	}
	return translate.FlowUnshared
}

func (f *fixedSessions) Inbound(_ time.Duration, t *translate.Tuple4, _ uint8, to *translate.Tuple6) translate.FlowResult {
	for i := range f.hosts {
		h := &f.hosts[i]
		if v4number(h.v4) == t.Local {
			hi, lo := halves(h.v6.As16())
			*to = translate.Tuple6{Host: translate.Addr6{Hi: hi, Lo: lo}, Remote: t.Remote, HostPort: t.LocalPort ^ otherPort, RemotePort: t.RemotePort, Proto: t.Proto, Pref64: f.number(h)}
			if t.Proto == protoICMP4 {
				to.RemotePort, to.Proto = to.HostPort, protoICMP6
			}
			return translate.FlowMapped
		}
	}
	return translate.FlowNoBinding
}

func (f *fixedSessions) OutboundError(now time.Duration, t *translate.Tuple6, to *translate.Tuple4) translate.FlowResult {
	return f.Outbound(now, t, 0, to)
}

func (f *fixedSessions) InboundError(now time.Duration, t *translate.Tuple4, to *translate.Tuple6) translate.FlowResult {
	return f.Inbound(now, t, 0, to)
}

func v4number(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
