package taygaconf

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/steppe-nat64/steppe/session"
)

// Stateful is what the directives about hosts that share IPv4 addresses say: RFC 6146.
// Without Pools there are none.
type Stateful struct {
	Pools    []SharedPool   // in the order of the file
	Bindings []Binding      // static ones
	Clients  []netip.Prefix // whose hosts share addresses; empty: all

	Filtering session.Filtering
	Timeouts  session.Timeouts // zero: the default of the RFC
	Fragment  time.Duration    // how long a fragment waits for the first one; zero: the default

	MaxSessions  int          // 0: the default
	MaxPerPrefix SessionLimit // the zero value: the default
	MaxHeldSYN   int          // 0: the default; -1: none
	PortBlock    int          // ports that a subscriber gets at once; 0: no blocks
	Log          StatefulLog
}

// A SharedPool is a line with a stateful-pool.
type SharedPool struct {
	Prefix    netip.Prefix // IPv4, masked, disjoint from all others
	Low, High uint16       // the ports to assign
	Pref64    netip.Prefix // one of Config.Prefixes; the zero value: none
	Line      int

	// static is the prefix inside which hosts with static bindings see those who open
	// connections. The zero value means that there is none.
	static netip.Prefix
}

// A Binding is a static binding and where it was written.
type Binding struct {
	Proto uint8          // 6, 17 or 1
	Addr  netip.AddrPort // IPv4; of ICMP, the port is the identifier
	Host  netip.AddrPort // IPv6
	File  string
	Line  int
}

// String returns the words of the directive.
func (b Binding) String() string {
	return ProtocolName(b.Proto) + " " + b.Addr.String() + " " + b.Host.String()
}

// A SessionLimit bounds how many sessions the hosts of one prefix may have.
type SessionLimit struct {
	Bits     int // length of the prefix, 1 to 128
	Sessions int // at least 1
}

// StatefulLog says which events of shared addresses are logged.
type StatefulLog uint8

// What is logged.
const (
	LogNoSessions StatefulLog = iota
	LogBindings
	LogBlocks
)

// Limits of stateful-pool, as of package session.
const (
	lowestPort, highestPort = 1024, 65535
	longestShared           = 16 // the shortest length of a pool
	maxShared               = 1 << 16
	maxSessions             = 1 << 24
	maxHeldSYN              = 4096
	maxBlock, minBlock      = 16384, 64
	// maxNumbered is how many prefixes sessions can tell apart.
	maxNumbered = 63
)

// statefulPool takes ADDRESS[/LEN] [LOW-HIGH] [via PREFIX]. What depends on other lines is
// for checkStateful.
func (r *reader) statefulPool(words []string) error {
	pool := SharedPool{Low: lowestPort, High: highestPort, Line: r.line}
	p, err := prefix(words[0], addr4, whole)
	if err != nil {
		return err
	}
	words = words[1:]
	if len(words) > 0 && !strings.EqualFold(words[0], "via") {
		if pool.Low, pool.High, err = portRange(words[0]); err != nil {
			return err
		}
		words = words[1:]
	}
	if len(words) > 0 {
		if pool.Pref64, err = poolPref64(words); err != nil {
			return err
		}
		if len(words) > 2 {
			return fmt.Errorf("%s is one word too many: put the ports before via, and comments after a #", show(words[2]))
		}
	}
	if err := r.checkShared(p); err != nil {
		return err
	}
	pool.Prefix = p
	r.c.Stateful.Pools = append(r.c.Stateful.Pools, pool)
	return nil
}

// checkShared checks the addresses of a stateful-pool.
func (r *reader) checkShared(p netip.Prefix) error {
	switch {
	case p.Bits() < longestShared:
		return fmt.Errorf("%s has more than %d addresses: use a length of %d to 32", p, maxShared, longestShared)
	case this4.Overlaps(p):
		return fmt.Errorf("%s lies in %s: packets with such an address are not translated", p, this4)
	case p.Contains(broadcast4):
		return fmt.Errorf("%s contains %s, the broadcast address: use a smaller pool", p, broadcast4)
	}
	warning, err := checkNetwork4(p.Masked())
	switch {
	case err != nil:
		return err
	case p != p.Masked():
		return hostBits(p)
	}
	if warning != "" {
		r.warn("%s", warning)
	}
	total := 1 << (32 - p.Bits())
	for _, q := range r.c.Stateful.Pools {
		if p.Overlaps(q.Prefix) {
			return fmt.Errorf("%s overlaps stateful-pool %s on line %d", p, q.Prefix, q.Line)
		}
		total += 1 << (32 - q.Prefix.Bits())
	}
	if total > maxShared {
		return fmt.Errorf("more than %d addresses in all stateful pools", maxShared)
	}
	if len(r.c.Stateful.Pools) == maxPrefixes {
		return fmt.Errorf("more than %d pools", maxPrefixes)
	}
	return nil
}

// portRange reads LOW-HIGH.
func portRange(word string) (low, high uint16, err error) {
	a, b, found := strings.Cut(word, "-")
	lo, errLow := number(a, 0, 65535)
	hi, errHigh := number(b, 0, 65535)
	switch {
	case !found || errLow != nil || errHigh != nil:
		return 0, 0, fmt.Errorf("%s is neither a range of ports such as 1024-65535 nor via: put comments after a #", show(word))
	case lo == 0, hi == 0:
		return 0, 0, fmt.Errorf("ports %d-%d: no packet has port 0: begin with 1 or more, usually 1024", lo, hi)
	case lo > hi:
		return 0, 0, fmt.Errorf("ports %d-%d: the lower one goes first: did you mean %d-%d?", lo, hi, hi, lo)
	}
	return uint16(lo), uint16(hi), nil
}

// Protocols whose hosts can share an address.
var (
	protocolNames   = []string{"tcp", "udp", "icmp"}
	protocolNumbers = []uint8{6, 17, 1}
)

// ProtocolName returns the name that the directive stateful-map has for a protocol.
func ProtocolName(proto uint8) string {
	for i, n := range protocolNumbers {
		if n == proto {
			return protocolNames[i]
		}
	}
	return strconv.Itoa(int(proto))
}

func (r *reader) statefulMap(words []string) error {
	b, err := parseBinding(words)
	if err != nil {
		return err
	}
	b.File, b.Line = r.file, r.line
	r.c.Stateful.Bindings = append(r.c.Stateful.Bindings, b)
	return nil
}

// parseBinding reads the three words of a static binding.
func parseBinding(words []string) (b Binding, err error) {
	if b.Proto, err = choice(words[0], protocolNames, protocolNumbers); err != nil {
		return b, err
	}
	if b.Addr, err = netip.ParseAddrPort(words[1]); err != nil || !b.Addr.Addr().Is4() {
		return b, fmt.Errorf("%s is not an IPv4 address and port such as 192.0.2.1:80", show(words[1]))
	}
	if b.Host, err = netip.ParseAddrPort(words[2]); err != nil || !b.Host.Addr().Is6() || b.Host.Addr().Zone() != "" {
		return b, fmt.Errorf("%s is not an IPv6 address and port such as [2001:db8::1]:80", show(words[2]))
	}
	if b.Proto != 1 && (b.Addr.Port() == 0 || b.Host.Port() == 0) {
		return b, errors.New("no packet has port 0: use 1 to 65535")
	}
	if _, err := checkUnicast(b.Host.Addr()); err != nil {
		return b, err
	}
	return b, nil
}

func (r *reader) statefulFilter(words []string) (err error) {
	r.c.Stateful.Filtering, err = choice(words[0], []string{"endpoint-independent", "address-dependent"},
		[]session.Filtering{session.EndpointIndependent, session.AddressDependent})
	return err
}

// A timeout is one of those that stateful-timeout sets.
type timeout struct {
	name    string
	minimum time.Duration
	rule    string // where that is from
	at      func(*Stateful) *time.Duration
}

var timeouts = []timeout{
	{"udp", 2 * time.Minute, "RFC 4787 REQ-5", func(s *Stateful) *time.Duration { return &s.Timeouts.UDP }},
	{"dns", time.Second, "", func(s *Stateful) *time.Duration { return &s.Timeouts.DNS }},
	{"tcp", 2*time.Hour + 4*time.Minute, "RFC 5382 REQ-5", func(s *Stateful) *time.Duration { return &s.Timeouts.TCP }},
	{"tcp-transitory", 4 * time.Minute, "RFC 5382 REQ-5", func(s *Stateful) *time.Duration { return &s.Timeouts.TCPTransitory }},
	{"tcp-opening", 6 * time.Second, "RFC 7857 §2.1", func(s *Stateful) *time.Duration { return &s.Timeouts.TCPOpening }},
	{"tcp-syn", 6 * time.Second, "RFC 5382 REQ-4", func(s *Stateful) *time.Duration { return &s.Timeouts.TCPIncomingSYN }},
	{"icmp", time.Minute, "RFC 5508 REQ-2", func(s *Stateful) *time.Duration { return &s.Timeouts.ICMP }},
	{"fragment", 2 * time.Second, "RFC 6146 §3.4", func(s *Stateful) *time.Duration { return &s.Fragment }},
}

// longestTimeout is what session accepts.
const longestTimeout = 365 * 24 * time.Hour

func (r *reader) statefulTimeout(words []string) error {
	var names []string
	for _, t := range timeouts {
		names = append(names, t.name)
	}
	t, err := choice(words[0], names, timeouts)
	if err != nil {
		return err
	}
	if line, given := r.timeouts[t.name]; given {
		return fmt.Errorf("%s given before, on line %d: remove one of the two", t.name, line)
	}
	r.timeouts[t.name] = r.line
	d, err := duration(words[1])
	switch {
	case err != nil:
		return err
	case d < t.minimum:
		return fmt.Errorf("%s: %v is less than %v, the minimum of %s", t.name, d, t.minimum, t.rule)
	case d > longestTimeout:
		return fmt.Errorf("%s: %v is more than a year", t.name, d)
	}
	*t.at(&r.c.Stateful) = d
	return nil
}

func (r *reader) statefulClients(words []string) error {
	if err := clientPrefixes(&r.c.Stateful.Clients, words); err != nil {
		return err
	}
	if len(r.c.Stateful.Clients) > maxPrefixes {
		return fmt.Errorf("more than %d prefixes", maxPrefixes)
	}
	return nil
}

// clientPrefixes adds IPv6 prefixes to a list.
func clientPrefixes(list *[]netip.Prefix, words []string) error {
	for _, w := range words {
		p, err := prefix(w, addr6, whole)
		if err != nil {
			return err
		}
		if p != p.Masked() {
			return hostBits(p)
		}
		*list = append(*list, p)
	}
	return nil
}

func (r *reader) statefulMaxSessions(words []string) (err error) {
	r.c.Stateful.MaxSessions, err = number(words[0], 1, maxSessions)
	return err
}

func (r *reader) statefulMaxPerPrefix(words []string) error {
	bits, err := number(strings.TrimPrefix(words[0], "/"), 1, 128)
	if err != nil {
		return fmt.Errorf("length: %w", err)
	}
	n, err := number(words[1], 1, maxSessions)
	if err != nil {
		return fmt.Errorf("number of sessions: %w", err)
	}
	r.c.Stateful.MaxPerPrefix = SessionLimit{Bits: bits, Sessions: n}
	return nil
}

func (r *reader) statefulMaxHeldSYNs(words []string) error {
	n, err := number(words[0], 0, maxHeldSYN)
	if n == 0 {
		n = -1
	}
	r.c.Stateful.MaxHeldSYN = n
	return err
}

func (r *reader) statefulPortBlock(words []string) error {
	n, err := number(words[0], minBlock, maxBlock)
	if err != nil || n&(n-1) != 0 {
		return fmt.Errorf("%s is not a power of two from %d to %d", show(words[0]), minBlock, maxBlock)
	}
	r.c.Stateful.PortBlock = n
	return nil
}

func (r *reader) statefulLog(words []string) (err error) {
	r.c.Stateful.Log, err = choice(words[0], []string{"off", "bindings", "blocks"},
		[]StatefulLog{LogNoSessions, LogBindings, LogBlocks})
	return err
}
