package refxlat

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// Sharing are the hosts that share IPv4 addresses: the tables of RFC 6146 as lists, that
// are searched from one end to the other.
//
// Which port a host gets is random, so it cannot be told. The sharing learns it from the
// translator that is compared, and checks that the choice was allowed.
type Sharing struct {
	// Learn returns the address and port that a host's port has now.
	Learn func(proto uint8, host netip.AddrPort) (at netip.AddrPort, ok bool)

	cfg      session.Config
	clock    time.Duration
	now      int // its seconds
	bindings []*binding
	sessions []*tracked
	released map[endpoint]int // when

	fragments []*pieces
	ready     []packet // fragments that have waited and leave now
	syns      []heldSYN

	Wrong string // the first choice that was not allowed
}

// endpoint is an address and port, or identifier, of a protocol.
type endpoint struct {
	proto uint8
	netip.AddrPort
}

// binding is an entry of a Binding Information Base.
type binding struct {
	host, at endpoint
	prefix   netip.Prefix // inside which new callers are seen
	static   bool
}

// tracked is an entry of a session table.
type tracked struct {
	*binding
	remote  netip.AddrPort // port 0 for ICMP
	prefix  netip.Prefix   // inside which the host sees the remote address
	state   string
	used    int // the second from which the timer runs
	inbound bool
}

// NewSharing returns a Sharing without sessions. All limits and times of cfg but the
// times of TCP that are fixed here have to be given; PrefixLen is 64.
func NewSharing(cfg session.Config, learn func(proto uint8, host netip.AddrPort) (netip.AddrPort, bool)) *Sharing {
	s := &Sharing{Learn: learn, cfg: cfg, released: map[endpoint]int{}}
	for _, b := range cfg.Static {
		s.bindings = append(s.bindings, &binding{host: endpoint{b.Proto, b.Host}, at: endpoint{b.Proto, b.Addr}, static: true})
	}
	return s
}

// transition is a line of the table in RFC 6146 §3.5.2.2. event is the side and the flag,
// "" any other packet; of several flags the first of R, S and F that has a line counts.
type transition struct{ state, event, next, timer string }

var transitions = []transition{
	{"v4-init", "6S", "established", "start"},
	{"v4-init", "6R", "v4-init", ""},
	{"v4-init", "", "v4-init", ""},
	{"v6-init", "4R", "v6-init", ""},
	{"v6-init", "4S", "established", "start"},
	{"v6-init", "6R", "v6-init", ""},
	{"v6-init", "6S", "v6-init", "start"},
	{"v6-init", "", "v6-init", ""},
	{"established", "4R", "trans", "start"},
	{"established", "6R", "trans", "start"},
	{"established", "4F", "v4-fin", "start"},
	{"established", "6F", "v6-fin", "start"},
	{"established", "", "established", "start"},
	{"v4-fin", "6F", "v4-fin-v6-fin", "start"},
	{"v4-fin", "", "v4-fin", "start"},
	{"v6-fin", "4F", "v4-fin-v6-fin", "start"},
	{"v6-fin", "", "v6-fin", "start"},
	{"v4-fin-v6-fin", "", "v4-fin-v6-fin", ""},
	{"trans", "4R", "trans", ""},
	{"trans", "6R", "trans", ""},
	{"trans", "", "established", "start"},
	{"udp", "", "udp", "start"},
	{"dns", "", "dns", "start"},
	{"icmp", "", "icmp", "start"},
}

func find(state, event string) (transition, bool) {
	for _, l := range transitions {
		if l.state == state && l.event == event {
			return l, true
		}
	}
	return transition{}, false
}

// packet moves a session on.
func (s *Sharing) packet(t *tracked, side string, flags uint8) {
	l, found := transition{}, false
	for _, f := range []struct {
		bit  uint8
		name string
	}{{4, "R"}, {2, "S"}, {1, "F"}} {
		if flags&f.bit != 0 && !found {
			l, found = find(t.state, side+f.name)
		}
	}
	if !found {
		l, _ = find(t.state, "")
	}
	t.state = l.next
	if l.timer != "" {
		t.used = max(t.used, s.now)
	}
}

// lifetime is how long a state lasts without packets.
func (s *Sharing) lifetime(state string) int {
	d := s.cfg.Timeouts.TCP - s.cfg.Timeouts.TCPTransitory
	switch state {
	case "udp":
		d = s.cfg.Timeouts.UDP
	case "dns":
		d = s.cfg.Timeouts.DNS
	case "icmp":
		d = s.cfg.Timeouts.ICMP
	case "v4-init", "v6-init":
		d = s.cfg.Timeouts.TCPOpening
	case "trans", "v4-fin-v6-fin":
		d = s.cfg.Timeouts.TCPTransitory
	}
	return int(d / time.Second)
}

// advance lets time pass: what is over ends.
func (s *Sharing) advance(now time.Duration) {
	s.clock = max(s.clock, now)
	sec := int(now / time.Second)
	if sec <= s.now {
		return
	}
	s.now = sec
	s.sessions = slices.DeleteFunc(s.sessions, func(t *tracked) bool {
		if d := s.lifetime(t.state); t.state == "established" && sec-t.used > d {
			t.state, t.used = "trans", t.used+d
		}
		return sec-t.used > s.lifetime(t.state)
	})
	s.bindings = slices.DeleteFunc(s.bindings, func(b *binding) bool {
		if b.static || slices.ContainsFunc(s.sessions, func(t *tracked) bool { return t.binding == b }) {
			return false
		}
		if b.at.proto != tcp {
			s.released[b.at] = sec
		}
		return true
	})
}

func (s *Sharing) byHost(host endpoint) *binding {
	for _, b := range s.bindings {
		if b.host == host {
			return b
		}
	}
	return nil
}

func (s *Sharing) byAddr(at endpoint) *binding {
	for _, b := range s.bindings {
		if b.at == at {
			return b
		}
	}
	return nil
}

func (s *Sharing) session(b *binding, remote netip.AddrPort) *tracked {
	for _, t := range s.sessions {
		if t.binding == b && t.remote == remote {
			return t
		}
	}
	return nil
}

// full reports whether a limit denies a session more.
func (s *Sharing) full(host endpoint, inbound bool) bool {
	l := s.cfg.Limits
	all, own, halfOpen, ownHalfOpen := 0, 0, 0, 0
	for _, t := range s.sessions {
		mine := samePrefix(t.host.Addr(), host.Addr())
		if t.inbound == inbound {
			all++
			if mine {
				own++
			}
		}
		if t.state == "v6-init" {
			halfOpen++
			if mine {
				ownHalfOpen++
			}
		}
	}
	switch {
	case len(s.sessions) >= l.Sessions || own >= l.PerPrefix:
		return true
	case inbound:
		return all >= l.Inbound
	}
	return host.proto == tcp && (halfOpen >= l.HalfOpen || ownHalfOpen >= l.HalfOpenPerPrefix)
}

// samePrefix reports whether two hosts are of one subscriber.
func samePrefix(a, b netip.Addr) bool {
	p, _ := a.Prefix(64)
	return p.Contains(b)
}

// begin makes a session of a host, and a binding if b is nil: RFC 6146 §3.5.
func (s *Sharing) begin(b *binding, host endpoint, remote netip.AddrPort, prefix netip.Prefix, inbound bool) (*binding, translate.Reason) {
	if s.full(host, inbound) {
		return nil, translate.SessionLimit
	}
	if b == nil {
		at, ok := s.Learn(host.proto, host.AddrPort)
		if wrong := s.wrongChoice(host, endpoint{host.proto, at}, ok); wrong != "" && s.Wrong == "" {
			s.Wrong = fmt.Sprintf("%v: %s", host, wrong)
		}
		if !ok {
			return nil, translate.NoPort
		}
		b = &binding{host: host, at: endpoint{host.proto, at}, prefix: prefix}
		s.bindings = append(s.bindings, b)
	}
	t := &tracked{binding: b, remote: remote, prefix: prefix, used: s.now, inbound: inbound}
	switch {
	case host.proto == icmp4:
		t.state = "icmp"
	case host.proto == udp && remote.Port() == 53 && !inbound:
		t.state = "dns"
	case host.proto == udp:
		t.state = "udp"
	case inbound:
		t.state = "v4-init"
	case s.dropSYN(b.at, remote):
		t.state = "established" // a simultaneous open
	default:
		t.state = "v6-init"
	}
	s.sessions = append(s.sessions, t)
	return b, translate.NotChecked
}

// opens reports whether a packet of TCP opens a connection.
func opens(flags uint8) bool { return flags&2 != 0 && flags&4 == 0 }

// out maps a packet of a host: RFC 6146 §3.5.1, §3.5.2, §3.5.3.
func (s *Sharing) out(host endpoint, remote netip.AddrPort, prefix netip.Prefix, flags uint8) (at netip.AddrPort, why translate.Reason) {
	b := s.byHost(host)
	t := s.session(b, remote)
	switch {
	case b != nil && t != nil:
		s.packet(t, "6", flags)
		t.prefix = prefix
	case host.proto == tcp && !opens(flags) && b == nil:
		return at, translate.NoSession
	case host.proto == tcp && !opens(flags):
	default:
		if b, why = s.begin(b, host, remote, prefix, false); b == nil {
			return at, why
		}
	}
	return b.at.AddrPort, translate.NotChecked
}

// in maps a packet to a shared address. It makes no binding.
func (s *Sharing) in(at endpoint, remote netip.AddrPort, flags uint8) (host netip.AddrPort, prefix netip.Prefix, why translate.Reason) {
	b := s.byAddr(at)
	unsolicited := translate.NoSession
	if s.cfg.Limits.HeldSYN > 0 {
		unsolicited = translate.UnsolicitedSYN
	}
	switch {
	case b == nil && at.proto == tcp && opens(flags):
		return host, prefix, unsolicited
	case b == nil && at.proto == tcp:
		return host, prefix, translate.NoSession
	case b == nil:
		return host, prefix, translate.NoBinding
	}
	if t := s.session(b, remote); t != nil {
		s.packet(t, "4", flags)
		return b.host.AddrPort, t.prefix, translate.NotChecked
	}
	if s.cfg.Filtering == session.AddressDependent && !b.static {
		known := slices.ContainsFunc(s.sessions, func(t *tracked) bool { return t.binding == b && t.remote.Addr() == remote.Addr() })
		switch {
		case at.proto == tcp && opens(flags): // RFC 5382 §4.3 REQ-4: no answer
			return host, prefix, unsolicited
		case !known:
			return host, prefix, translate.Filtered
		}
	}
	if at.proto != tcp || opens(flags) {
		if _, why = s.begin(b, b.host, remote, b.prefix, true); why != translate.NotChecked {
			return host, prefix, why
		}
	}
	return b.host.AddrPort, b.prefix, translate.NotChecked
}

// ofHost and ofAddr return the session of a packet that an error quotes.
func (s *Sharing) ofHost(host endpoint, remote netip.AddrPort) *tracked {
	if b := s.byHost(host); b != nil {
		return s.session(b, remote)
	}
	return nil
}

func (s *Sharing) ofAddr(at endpoint, remote netip.AddrPort) *tracked {
	if b := s.byAddr(at); b != nil {
		return s.session(b, remote)
	}
	return nil
}

// List describes the sessions, sorted.
func (s *Sharing) List() []string {
	var list []string
	for _, t := range s.sessions {
		list = append(list, fmt.Sprintf("%d %s %s %s %s %ds", t.host.proto, t.host.AddrPort, t.at.AddrPort, t.remote, t.state, t.used+s.lifetime(t.state)-s.now))
	}
	slices.SortFunc(list, strings.Compare)
	return list
}

// Bindings is how many bindings there are.
func (s *Sharing) Bindings() int { return len(s.bindings) }

// wrongChoice says what is wrong with the address and port that a host has got, or with
// getting none: RFC 6146 §3.5.1.1, §3.5.2.3, RFC 6888 REQ-2 and REQ-8.
func (s *Sharing) wrongChoice(host, got endpoint, ok bool) string {
	var addrs []netip.Addr
	for _, p := range s.cfg.Pools {
		for a := p.Prefix.Addr(); p.Prefix.Contains(a); a = a.Next() {
			addrs = append(addrs, a)
		}
	}
	if i := slices.IndexFunc(s.bindings, func(b *binding) bool { return b.host.Addr() == host.Addr() }); i >= 0 {
		addrs = []netip.Addr{s.bindings[i].at.Addr()}
	}
	low, high := int(s.cfg.Pools[0].Low), int(s.cfg.Pools[0].High)
	if host.proto == icmp4 {
		low, high = 0, 65535
	}
	if ok {
		switch at := int(got.Port()); {
		case !slices.Contains(addrs, got.Addr()):
			return fmt.Sprint("has another address, or one that is not shared: ", got)
		case s.byAddr(got) != nil || at < low || at > high || s.waits(got, false):
			return fmt.Sprint("assigned, out of range or in quarantine: ", got)
		case fit(host, got.Port()) == fit(host, host.Port()):
			return ""
		}
		addrs = []netip.Addr{got.Addr()}
	}
	for _, a := range addrs {
		for p := low; p <= high; p++ {
			at := endpoint{host.proto, netip.AddrPortFrom(a, uint16(p))}
			if s.byAddr(at) != nil || s.waits(at, true) {
				continue
			}
			if !ok {
				return fmt.Sprint("has no port, though there is ", at)
			}
			if fit(host, at.Port()) > fit(host, got.Port()) {
				return fmt.Sprintf("has %v, though %v fits better", got, at)
			}
		}
	}
	return ""
}

// fit is how well a port fits that of a host.
func fit(host endpoint, port uint16) int {
	n := 0
	if host.proto != icmp4 && cmp.Compare(port, 1024) < 0 == (host.Port() < 1024) {
		n += 2
	}
	if host.proto == udp && port%2 == host.Port()%2 {
		n++
	}
	return n
}

// waits reports whether a port is in quarantine: it is after the time that is configured, or
// perhaps is, up to twice the time.
func (s *Sharing) waits(at endpoint, perhaps bool) bool {
	released, was := s.released[at]
	q := int(s.cfg.Quarantine / time.Second)
	if perhaps {
		q = 2*q + 2
	}
	return was && s.now-released <= q
}
