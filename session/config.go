package session

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// Config configures a Table. New and Update check it; later changes to it have no effect.
type Config struct {
	// Pools are the IPv4 addresses that hosts share: at least one, none overlapping, at
	// most 65536 addresses.
	Pools []Pool
	// Static are bindings that do not end. Packets from any IPv4 address reach them,
	// whatever the Filtering.
	Static []Static
	// Clients are the IPv6 prefixes whose hosts share the pools; none means all.
	Clients []netip.Prefix

	Filtering Filtering
	Timeouts  Timeouts
	Limits    Limits

	// PortBlock is how many ports a subscriber gets at once, from 64 to 16384 and a
	// power of two: RFC 6888 §4 REQ-14, RFC 7422. A subscriber is a prefix of
	// Limits.PrefixLen. All its hosts share one address then. 0 means that ports are
	// assigned one by one. Update cannot change it.
	PortBlock int

	// Quarantine is how long at least a port of UDP or an ICMP identifier that was
	// released stays unused: RFC 6888 §4 REQ-8. 0 means DefaultQuarantine; a negative
	// one, not at all. MaxQuarantine limits how many of an address and protocol wait
	// so; others can be assigned at once. 0 means a quarter of them, or 64 if that is
	// more: a host that opens all that it may, again and again, cannot take them all.
	Quarantine    time.Duration
	MaxQuarantine int

	// Prefixes are the prefixes that are numbered from 1 on: those of
	// translate.TableConfig, in the same order. They are for files alone: a session that
	// is loaded keeps its prefix if that has another number, and is dropped if there is
	// none. Without them, numbers mean the same in each file.
	Prefixes []netip.Prefix

	// MaxProbes is how many connections wait to be probed at most: see Probes. 0 means
	// that none is; a Translator notices a change from or to 0 with its next Update.
	MaxProbes int

	// OnEvent, if not nil, is called for each Event: one at a time, and of one host in
	// order. It is called with locks held, never for a packet of a session that
	// exists. It must return soon and must not call the table.
	OnEvent func(Event)

	// Path, if not nil, is what sessions can be handed over to by Delegate. Update does not
	// change it.
	Path Path
}

// A Pool is a prefix of IPv4 addresses that hosts share.
type Pool struct {
	Prefix netip.Prefix // no host bits
	// Low and High are the ports to assign, both included; 0 and 0 mean 1024 and 65535.
	// They do not limit ICMP identifiers.
	Low, High uint16
	// Pref64 is the number of the prefix whose hosts this pool serves. 0 means those of
	// each prefix that has no pool of its own.
	Pref64 uint8
}

// A Static is a static binding: RFC 6146 §3.1.
type Static struct {
	Proto uint8          // 6, 17 or 1, as in an IP header
	Addr  netip.AddrPort // an address of a pool and any port, or ICMP identifier
	Host  netip.AddrPort // IPv6
	// Pref64 is the number of the prefix inside which the host sees those who open
	// sessions.
	Pref64 uint8
}

// Filtering says which packets from IPv4 a binding lets in.
type Filtering uint8

const (
	// EndpointIndependent: from each address. RFC 4787 §5.
	EndpointIndependent Filtering = iota
	// AddressDependent: from addresses that the host has a session with.
	AddressDependent
)

// Timeouts are the times after which an unused session ends, in whole seconds. 0 means the
// default.
type Timeouts struct {
	UDP time.Duration // default 5 minutes, at least 2: RFC 4787 §4.3 REQ-5
	DNS time.Duration // UDP to port 53: default UDP, at least a second: REQ-5a
	// TCP is the time of an established connection, which includes TCPTransitory:
	// default and minimum 2 hours and 4 minutes: RFC 5382 §5 REQ-5.
	TCP            time.Duration
	TCPTransitory  time.Duration // after FINs or RST: default and minimum 4 minutes
	TCPOpening     time.Duration // before the SYN of the other side: default 4 minutes, at least 6 s: RFC 7857 §2.1
	TCPIncomingSYN time.Duration // of a SYN that is held: default and minimum 6 s: RFC 5382 §5 REQ-4
	ICMP           time.Duration // default and minimum 60 s: RFC 5508 §3.2 REQ-2
}

// Limits bound the state. At a limit new sessions are denied; those that exist go on. 0
// means the default.
type Limits struct {
	Sessions int // in total: default 262,144, at most 16,777,216
	HalfOpen int // TCP sessions from IPv6 that wait for the answer: default Sessions/4
	Inbound  int // sessions that were opened from IPv4: default Sessions/4

	// Each IPv6 prefix of length PrefixLen (default 64) has at most so many sessions
	// that its hosts opened, so many of these half-open, and PerPrefix more that were
	// opened from IPv4. The default of PerPrefix is Sessions/4, and of the bindings half of
	// the ports and identifiers of the pools: hosts that take all that they can get leave
	// the other half.
	PrefixLen         int
	PerPrefix         int
	HalfOpenPerPrefix int // default PerPrefix/4

	// HeldSYN is how many SYNs from IPv4 wait for the host to open the same
	// connection: default 10, at most 4096, none if negative. RFC 6146 §3.5.2.2.
	HeldSYN int
}

// The defaults of a Config.
const (
	DefaultSessions   = 1 << 18
	DefaultQuarantine = 120 * time.Second

	maxSessions  = 1 << 24
	maxAddresses = 1 << 16
	maxHeldSYN   = translate.MaxHeldSYN
	longest      = 365 * 24 * time.Hour
)

// settings are a Config in the form that packets need. They are immutable.
type settings struct {
	timeout    [states]uint32             // seconds
	group      [translate.MaxPref64]uint8 // of pools, by the number of the prefix
	pooled     [translate.MaxPref64]bool  // whether a group has a pool
	limits     Limits
	share      [translate.MaxPref64][protocols]int64 // bindings of a prefix, by group
	filtering  Filtering
	heldSYN    uint32 // seconds that a SYN is held
	block      int
	quarantine uint32 // seconds
	cooling    int    // MaxQuarantine
	probes     int
	onEvent    func(Event)
	path       Path

	clients  []prefix6
	prefixes []netip.Prefix
	mask     translate.Addr6 // of a subscriber
	spans    []span
	static   []Static
}

// seconds checks a time against its minimum and returns it in seconds.
func seconds(name string, d, minimum, otherwise time.Duration) (uint32, error) {
	if d == 0 {
		d = otherwise
	}
	if d < minimum || d > longest || d%time.Second != 0 {
		return 0, fmt.Errorf("session: timeout %s: %v: want whole seconds, at least %v and at most a year", name, d, minimum)
	}
	return uint32(d / time.Second), nil
}

func (c *settings) setTimeouts(t Timeouts) error {
	var total, transitory, udp uint32
	for _, x := range []struct {
		name               string
		d, minimum, normal time.Duration
		to                 []*uint32
	}{
		{"udp", t.UDP, 2 * time.Minute, 5 * time.Minute, []*uint32{&udp, &c.timeout[udpAlive], &c.timeout[udpDNS]}},
		{"tcp", t.TCP, 2*time.Hour + 4*time.Minute, 2*time.Hour + 4*time.Minute, []*uint32{&total}},
		{"tcp-transitory", t.TCPTransitory, 4 * time.Minute, 4 * time.Minute, []*uint32{&transitory, &c.timeout[trans], &c.timeout[bothFin]}},
		{"tcp-opening", t.TCPOpening, 6 * time.Second, 4 * time.Minute, []*uint32{&c.timeout[v6Init], &c.timeout[v4Init]}},
		{"tcp-syn", t.TCPIncomingSYN, 6 * time.Second, 6 * time.Second, []*uint32{&c.heldSYN}},
		{"icmp", t.ICMP, time.Minute, time.Minute, []*uint32{&c.timeout[icmpAlive]}},
	} {
		n, err := seconds(x.name, x.d, x.minimum, x.normal)
		if err != nil {
			return err
		}
		for _, to := range x.to {
			*to = n
		}
	}
	if t.DNS != 0 {
		n, err := seconds("dns", t.DNS, time.Second, 0)
		if err != nil {
			return err
		}
		c.timeout[udpDNS] = n
	}
	// An established session becomes transitory when its own timer ends, which is never
	// below TCP_EST: RFC 6146 §4.
	est := uint32(2 * time.Hour / time.Second)
	if total > transitory {
		est = max(est, total-transitory)
	}
	c.timeout[established], c.timeout[v4Fin], c.timeout[v6Fin] = est, est, est
	return nil
}

func (c *settings) setLimits(l Limits) error {
	def := func(n *int, d int) {
		if *n == 0 {
			*n = max(d, 1)
		}
	}
	def(&l.Sessions, DefaultSessions)
	def(&l.HalfOpen, l.Sessions/4)
	def(&l.Inbound, l.Sessions/4)
	def(&l.PrefixLen, 64)
	def(&l.PerPrefix, l.Sessions/4)
	def(&l.HalfOpenPerPrefix, l.PerPrefix/4)
	def(&l.HeldSYN, 10)
	switch {
	case l.Sessions < 1 || l.Sessions > maxSessions:
		return fmt.Errorf("session: limit of %d sessions: want 1 to %d", l.Sessions, maxSessions)
	case l.PrefixLen < 1 || l.PrefixLen > 128:
		return fmt.Errorf("session: limit per /%d: want a length of 1 to 128", l.PrefixLen)
	case l.PerPrefix > maxSessions || l.HalfOpenPerPrefix > maxSessions:
		return fmt.Errorf("session: limit per prefix: want at most %d sessions", maxSessions)
	case l.HalfOpen < 1 || l.Inbound < 1 || l.PerPrefix < 1 || l.HalfOpenPerPrefix < 1:
		return errors.New("session: a limit is negative")
	case l.HeldSYN > maxHeldSYN:
		return fmt.Errorf("session: %d SYNs to hold: want at most %d", l.HeldSYN, maxHeldSYN)
	}
	c.limits = l
	c.mask = mask6(l.PrefixLen)
	return nil
}

// compile checks a Config.
func compile(cfg Config) (*settings, error) {
	c := &settings{filtering: cfg.Filtering, onEvent: cfg.OnEvent, path: cfg.Path, block: cfg.PortBlock, cooling: cfg.MaxQuarantine, probes: cfg.MaxProbes}
	if err := c.setTimeouts(cfg.Timeouts); err != nil {
		return nil, err
	}
	if err := c.setLimits(cfg.Limits); err != nil {
		return nil, err
	}
	switch q := cfg.Quarantine; {
	case q == 0:
		c.quarantine = uint32(DefaultQuarantine / time.Second)
	case q > 0:
		n, err := seconds("quarantine", q, time.Second, 0)
		if err != nil {
			return nil, err
		}
		c.quarantine = n
	}
	switch {
	case cfg.Filtering > AddressDependent:
		return nil, fmt.Errorf("session: filtering %d: out of range", cfg.Filtering)
	case cfg.MaxQuarantine < 0 || cfg.MaxProbes < 0:
		return nil, errors.New("session: a limit is negative")
	case c.block != 0 && (c.block < 64 || c.block > 16384 || bits.OnesCount(uint(c.block)) != 1):
		return nil, fmt.Errorf("session: blocks of %d ports: want a power of two from 64 to 16384", c.block)
	}
	if len(cfg.Prefixes) >= translate.MaxPref64 {
		return nil, fmt.Errorf("session: %d prefixes: want at most %d", len(cfg.Prefixes), translate.MaxPref64-1)
	}
	for _, p := range cfg.Prefixes {
		if !p.IsValid() || !p.Addr().Is6() {
			return nil, fmt.Errorf("session: %s: not an IPv6 prefix", p)
		}
		c.prefixes = append(c.prefixes, p.Masked())
	}
	for _, p := range cfg.Clients {
		if !p.IsValid() || !p.Addr().Is6() || p.Addr().Is4In6() {
			return nil, fmt.Errorf("session: clients %s: not an IPv6 prefix", p)
		}
		c.clients = append(c.clients, newPrefix6(p))
	}
	if err := c.setPools(cfg.Pools, cfg.Limits.PerPrefix != 0); err != nil {
		return nil, err
	}
	return c, c.setStatic(cfg.Static)
}

// addShare counts the ports of a pool.
func (c *settings) addShare(s *span) {
	n := int64(s.last-s.first) + 1
	of := &c.share[s.group]
	of[tcp] += n * (int64(s.high) - int64(s.low) + 1)
	of[udp] = of[tcp]
	of[icmp] += n << 16
}

// setPools checks the pools. explicit says that Limits.PerPrefix is the caller's.
func (c *settings) setPools(pools []Pool, explicit bool) error {
	if len(pools) == 0 {
		return errors.New("session: no pool")
	}
	total := 0
	for i, p := range pools {
		switch {
		case !p.Prefix.IsValid() || !p.Prefix.Addr().Is4():
			return fmt.Errorf("session: pool %s: not an IPv4 prefix", p.Prefix)
		case p.Prefix != p.Prefix.Masked():
			return fmt.Errorf("session: pool %s: has host bits set (%s?)", p.Prefix, p.Prefix.Masked())
		case p.Pref64 >= translate.MaxPref64:
			return fmt.Errorf("session: pool %s: prefix number %d: want less than %d", p.Prefix, p.Pref64, translate.MaxPref64)
		}
		for _, q := range pools[:i] {
			if p.Prefix.Overlaps(q.Prefix) {
				return fmt.Errorf("session: pool %s overlaps pool %s", p.Prefix, q.Prefix)
			}
		}
		if p.Low == 0 && p.High == 0 {
			p.Low, p.High = 1024, 65535
		}
		if p.Low == 0 || p.Low > p.High {
			return fmt.Errorf("session: pool %s: ports %d to %d: want 1 to 65535, the lower first", p.Prefix, p.Low, p.High)
		}
		if first, last := blocksIn(p.Low, p.High, c.block); c.block != 0 && first > last {
			return fmt.Errorf("session: pool %s: ports %d to %d contain no block of %d that begins at a multiple of it", p.Prefix, p.Low, p.High, c.block)
		}
		if p.Prefix.Bits() < 16 || total+1<<(32-p.Prefix.Bits()) > maxAddresses {
			return fmt.Errorf("session: pool %s: more than %d addresses in all pools", p.Prefix, maxAddresses)
		}
		total += 1 << (32 - p.Prefix.Bits())
		c.spans = append(c.spans, newSpan(p))
	}
	for i := range c.spans {
		g := c.spans[i].group
		c.group[g], c.pooled[g] = g, true
		c.addShare(&c.spans[i])
	}
	for g := range c.share {
		for p, n := range c.share[g] {
			c.share[g][p] = max(n/2, 1)
			if explicit {
				c.share[g][p] = maxSessions // PerPrefix says how many
			}
		}
	}
	slices.SortFunc(c.spans, func(a, b span) int { return int(int64(a.first) - int64(b.first)) })
	return nil
}

func (c *settings) setStatic(static []Static) error {
	type end struct {
		proto uint64
		at    netip.AddrPort
	}
	seen := map[end]bool{}
	for _, s := range static {
		proto, a := number(s.Proto), s.Host.Addr()
		s.Host = netip.AddrPortFrom(a.WithZone(""), s.Host.Port())
		switch {
		case proto == 0:
			return fmt.Errorf("session: static binding of %s: protocol %d: want 6, 17 or 1", s.Addr, s.Proto)
		case !s.Addr.Addr().Is4() || c.find(bits4(s.Addr.Addr())) == nil:
			return fmt.Errorf("session: static binding of %s: the address is in no pool", s.Addr)
		case !a.Is6() || !canBe(addr6(a)):
			return fmt.Errorf("session: static binding of %s to %s: no host can have that address", s.Addr, s.Host)
		case proto != icmp && (s.Addr.Port() == 0 || s.Host.Port() == 0):
			return fmt.Errorf("session: static binding of %s to %s: port 0", s.Addr, s.Host)
		case s.Pref64 >= translate.MaxPref64:
			return fmt.Errorf("session: static binding of %s: prefix number %d: want less than %d", s.Addr, s.Pref64, translate.MaxPref64)
		case c.group[s.Pref64] != c.find(bits4(s.Addr.Addr())).group:
			return fmt.Errorf("session: static binding of %s: the pool does not serve prefix number %d", s.Addr, s.Pref64)
		case !c.isClient(addr6(a)):
			return fmt.Errorf("session: static binding of %s to %s: the host is no client", s.Addr, s.Host)
		case seen[end{proto, s.Addr}]:
			return fmt.Errorf("session: static binding of %s: defined twice", s.Addr)
		case seen[end{proto, s.Host}]:
			return fmt.Errorf("session: static binding of %s to %s: the host's port has a binding already", s.Addr, s.Host)
		}
		seen[end{proto, s.Addr}], seen[end{proto, s.Host}] = true, true
		c.static = append(c.static, s)
	}
	return nil
}
