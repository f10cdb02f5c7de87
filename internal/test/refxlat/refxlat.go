// Package refxlat is the reference implementation of package translate, for tests and
// fuzzing. It is slow, simple and allocates. It is written to be easy to read, one rule
// after the other, and uses only types and constants of translate: tables are linear
// lists, packets are structs, every sum is a loop over a slice.
//
// It does not implement rate limits (errors are unlimited, or off), offloads except
// Finish, flow labels other than zero, and random choice (an ICMP pool gives its
// first address). Where the translator generates an IPv4 Identification, the reference
// writes 0; packettest.Equal takes that into account.
package refxlat

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// Xlat is a translator. Without a Sharing it keeps no state, so its methods may be called at
// the same time as far as its Dynamic allows.
type Xlat struct {
	cfg translate.Config
	tab translate.TableConfig
	dyn translate.Dynamic

	pools   []pool // all of tab
	sharing *Sharing
}

// New returns a translator. It refuses flow labels and mappings
// that cannot be; the rest of cfg and tab is expected to be what translate.New
// and translate.NewTable accept.
func New(cfg translate.Config, tab translate.TableConfig) (*Xlat, error) {
	if cfg.FlowLabels {
		return nil, errors.New("refxlat: flow labels are not supported")
	}
	if cfg.MTU4 == 0 {
		cfg.MTU4 = 1500
	}
	if cfg.MTU6 == 0 {
		cfg.MTU6 = 1500
	}
	if cfg.LowestIPv6MTU == 0 {
		cfg.LowestIPv6MTU = 1280
	}
	x := &Xlat{cfg: cfg}
	for _, p := range tab.Prefixes {
		if !p.Addr().Is6() || !slices.Contains([]int{32, 40, 48, 56, 64, 96}, p.Bits()) {
			return nil, fmt.Errorf("refxlat: %s is no RFC 6052 prefix", p)
		}
		x.tab.Prefixes = append(x.tab.Prefixes, p.Masked())
	}
	for _, m := range tab.Maps {
		if !m.IPv4.Addr().Is4() || !m.IPv6.Addr().Is6() || 32-m.IPv4.Bits() > 128-m.IPv6.Bits() {
			return nil, fmt.Errorf("refxlat: %s to %s is no map", m.IPv4, m.IPv6)
		}
		x.tab.Maps = append(x.tab.Maps, translate.Map{IPv4: m.IPv4.Masked(), IPv6: m.IPv6.Masked()})
	}
	x.tab.Pools, x.tab.Rules = tab.Pools, tab.Rules
	for _, v := range tab.Pools {
		if !v.Pref64.IsValid() {
			x.dyn = v.Dynamic
		}
		for _, p := range v.Prefixes {
			if !p.Addr().Is4() {
				return nil, fmt.Errorf("refxlat: %s is no IPv4 pool", p)
			}
			x.pools = append(x.pools, pool{Prefix: p.Masked(), dyn: v.Dynamic, via: v.Pref64})
		}
	}
	return x, nil
}

// Translate translates pkt, which it neither changes nor keeps. out is empty for
// Drop, holds one packet for Forward and Reply, and the fragments in order for
// Split.
func (x *Xlat) Translate(pkt []byte) (out [][]byte, res translate.Result) {
	pkt = slices.Clone(pkt)
	o, err := x.outcomeOf(pkt)
	if err == nil {
		return o.packets, translate.Result{Verdict: o.verdict, Reason: o.reason}
	}
	var no *refusal
	if !errors.As(err, &no) {
		panic(err) // nothing else is ever returned
	}
	if no = x.silence(pkt, no); no.tell == nil {
		return nil, translate.Result{Verdict: translate.Drop, Reason: no.reason}
	}
	if answer := x.originate(pkt, no); answer != nil {
		return [][]byte{answer}, translate.Result{Verdict: translate.Reply, Reason: no.reason}
	}
	return nil, translate.Result{Verdict: translate.Drop, Reason: no.reason}
}

// TranslateAt is Translate at a time, for a translator with a Sharing.
func (x *Xlat) TranslateAt(now time.Duration, pkt []byte) (out [][]byte, res translate.Result) {
	x.sharing.advance(now)
	return x.Translate(pkt)
}

// Emit returns the packets that are due at now and come from no packet that was
// translated, and when it has the next ones: translate.Worker.Emit. A translator without
// state has none.
func (x *Xlat) Emit(now time.Duration) (out [][]byte, next time.Duration) {
	return nil, translate.Never
}

// outcomeOf returns what has to become of pkt.
func (x *Xlat) outcomeOf(pkt []byte) (outcome, error) {
	if len(pkt) > 0 && pkt[0]>>4 == 4 {
		return x.from4(pkt)
	}
	if len(pkt) > 0 && pkt[0]>>4 == 6 {
		return x.from6(pkt)
	}
	return outcome{}, drop(translate.BadHeader)
}

// outcome is what becomes of a packet that is not refused.
type outcome struct {
	verdict translate.Verdict
	reason  translate.Reason
	packets [][]byte
}

func forward(pkt []byte) outcome {
	return outcome{translate.Forward, translate.Translated, [][]byte{pkt}}
}

// refusal is what becomes of the others. If tell is set, the source is told by
// an ICMP error, as far as that is allowed.
type refusal struct {
	reason translate.Reason
	tell   *notice
}

// notice is an ICMP error without its quote, in the family of the bad packet.
type notice struct {
	typ, code uint8
	word      uint32 // MTU or pointer where the type has one
}

// silence takes the notice off a refused IPv6 packet that is dropped silently for its
// addresses, whatever else is wrong with it.
func (x *Xlat) silence(b []byte, no *refusal) *refusal {
	if no.tell == nil || b[0]>>4 == 4 {
		return no
	}
	p, _ := read6(b)
	p.walk()
	if why, silent := x.silent6(p.src, p.dst); silent && mayConcern6(p, no.reason) {
		return &refusal{reason: why}
	}
	return no
}

// silent6 reports whether no answer may be given to a packet from src to dst, and why.
func (x *Xlat) silent6(src, dst netip.Addr) (translate.Reason, bool) {
	if d := x.static4(dst); d.how != unmapped && dst != x.cfg.IPv6 {
		switch {
		case x.staysLocal(d.addr):
			return translate.LinkLocal, true
		case x.illegal4(d.addr):
			return translate.IllegalDestination, true
		}
	}
	s := x.static4(src)
	switch {
	case s.how == byPrefix && x.dropsSource(s):
		return translate.EmbeddedSource, true
	case s.how != unmapped && x.staysLocal(s.addr):
		return translate.LinkLocal, true
	case s.how != unmapped && x.illegal4(s.addr):
		return translate.IllegalSource, true
	}
	return 0, false
}

func (r *refusal) Error() string { return r.reason.String() }

func drop(reason translate.Reason) error { return &refusal{reason: reason} }

// prohibit is for packets of which no RFC says that they are dropped silently, nor
// names another error: RFC 7915 §4.4, §5.4.
func prohibit(p packet, reason translate.Reason) error {
	if p.is4() {
		return tell(reason, 3, 13, 0)
	}
	return tell(reason, 1, 1, 0)
}

func tell(reason translate.Reason, typ, code uint8, word uint32) error {
	return &refusal{reason, &notice{typ, code, word}}
}
