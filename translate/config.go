package translate

import (
	"fmt"
	"net/netip"
	"time"
)

// Config holds what a Translator is made of besides its address tables. The
// zero value of each field is what RFC 7915 recommends. New checks a Config
// once; later changes to it have no effect.
type Config struct {
	// IPv4 and IPv6 are the translator's own addresses: the sources of the ICMP
	// errors that it originates. It answers Echo Requests to them. Without an
	// own address no error is originated in that family; one in 0.0.0.0/8, which
	// no packet may have, is none. Others have to be unicast.
	IPv4, IPv6 netip.Addr

	// MTU4 and MTU6 are the MTUs of the next hop on either side, in bytes; 0
	// means 1500. MTU4 is at least 68, MTU6 at least 1280, both at most 65535.
	// Update changes them later.
	MTU4, MTU6 int

	// LowestIPv6MTU is the lowest MTU of the IPv6 network, 1280 to 65535 bytes;
	// 0 means 1280. IPv4 packets without DF are cut so that the result fits:
	// RFC 7915 §4, "lowest-ipv6-mtu".
	LowestIPv6MTU int

	// MSSClamp is the largest TCP MSS in bytes, 536 to 65535, that the SYNs of both
	// directions keep; a larger one is lowered to it, a smaller one stays, and a SYN
	// without the option gets none. 0 changes nothing. MSSAuto stands for what packets
	// of the sizes MTU4 and MTU6 carry, but at least 536. RFC 9293 §3.7.1 has the MSS be
	// chosen by hosts: set it where Packet Too Big or Fragmentation Needed get lost.
	MSSClamp int

	UDPZero    UDPZero    // what happens to UDP over IPv4 without a checksum
	Hairpin    Hairpin    // how two mapped hosts reach each other by IPv4 addresses
	ICMPErrors ICMPErrors // codes of originated errors

	// AllowPrivate translates non-global IPv4 addresses with the well-known prefix
	// 64:ff9b::/96, which RFC 6052 §3.1 forbids. Private addresses and those for
	// documentation, such as 192.0.2.1, are non-global.
	AllowPrivate bool
	// AllowClassE accepts 240.0.0.0/4 as unicast addresses.
	AllowClassE bool
	// DropEmbeddedSource drops IPv6 packets whose source address lies inside
	// a translation prefix: RFC 6052 §5.1. Set it where no IPv6 host is numbered
	// from any prefix; TableConfig.Rules does it for some of them.
	DropEmbeddedSource bool

	// ErrorRate is how many ICMP errors a Worker may originate per second, and
	// ErrorBurst how many at once (token bucket, RFC 4443 §2.4 (f)). 0 means 100
	// and 50. A negative ErrorRate turns originated errors off; UnlimitedErrors
	// removes the limit. A fifth of ErrorBurst comes on top, for hosts that got no
	// error in this second and the one before: one host cannot use it up.
	ErrorRate, ErrorBurst int
	// MTUErrorRate and MTUErrorBurst are the same for Fragmentation Needed and
	// Packet Too Big, which have a budget of their own: without them connections
	// stall. 0 means what ErrorRate and ErrorBurst are.
	MTUErrorRate, MTUErrorBurst int

	// ICMPPool4 holds the IPv4 sources of translated ICMPv6 errors whose own
	// source cannot be translated (RFC 6791), at most 256; empty means IPv4.
	// ICMPPool6 is the same for the other direction.
	ICMPPool4, ICMPPool6 []netip.Addr
	// NodeAddress attaches the untranslatable IPv6 source to such an error as
	// an RFC 5837 Interface Information Object: RFC 6791 §4.
	NodeAddress bool

	// FragmentTimeout is how long what is known of fragments from and to shared addresses
	// is kept (TableConfig.Sessions): a fragment finds its way if the first of its packet
	// has come in that time before or comes in that time after it. At least 2 s, at most a
	// year; 0 means 2 s: RFC 6146 §3.4, FRAGMENT_MIN.
	FragmentTimeout time.Duration
	// FragmentBytes is the memory for fragments that wait for the first one of their packet, or
	// are reassembled, 128 KiB to 1 GiB, and Fragments is how many packets in fragments are
	// known at once, 64 to 16,777,216. 0 means 4 MiB and 8,192. A source may use an eighth. They are
	// allocated when hosts begin to share addresses, and cannot change afterwards.
	FragmentBytes, Fragments int

	// TOS4to6 and TOS6to4 say what becomes of the TOS byte or Traffic Class.
	TOS4to6, TOS6to4 TOS
	// FlowLabels gives every flow a stable IPv6 flow label instead of zero.
	FlowLabels bool
}

// UnlimitedErrors as Config.ErrorRate or Config.MTUErrorRate removes the limit on
// originated errors.
const UnlimitedErrors = 1 << 30

// UDPZero is what happens to an IPv4 UDP packet without a checksum, which IPv6
// does not allow: RFC 7915 §4.5. To an address that hosts share such packets are
// translated: they are reassembled and get a checksum, as RFC 6146 §3.4 requires.
type UDPZero uint8

const (
	UDPZeroDrop    UDPZero = iota // reject it; if hosts share its destination, UDPZeroCompute
	UDPZeroCompute                // compute the checksum; first fragments are rejected, unless hosts share the destination
	UDPZeroForward                // forward it without a checksum (RFC 6936 tunnels)
)

// Hairpin is how hosts with explicit maps reach each other by their IPv4
// addresses: RFC 7757 §4.2.
type Hairpin uint8

const (
	HairpinIntrinsic Hairpin = iota // §4.2.2: translated back into IPv6 at once
	HairpinSimple                   // §4.2.1: the IPv4 network returns the packet; not for a CLAT
	HairpinOff
)

// ICMPErrors selects the codes of originated ICMP errors about addresses that
// cannot be mapped.
type ICMPErrors uint8

const (
	// ErrorsRFC7915 sends 3/13 and 1/1: RFC 7915 §4.4, §5.4.
	ErrorsRFC7915 ICMPErrors = iota
	// ErrorsTAYGA sends 3/1 and 1/0 for destinations, 3/10 and 1/5 for sources,
	// rejects packets with non-global addresses, and translates ICMP errors from such
	// addresses with the translator's own address as their source.
	ErrorsTAYGA
)

// TOS is the treatment of the TOS byte or Traffic Class. The zero value copies
// all eight bits: RFC 7915 §4.1, §5.1.
type TOS struct {
	Override bool  // replace instead of copy
	Value    uint8 // the replacement
}

// withDefaults returns c with every zero field replaced by its default, or an
// error that names the first invalid field.
func (c Config) withDefaults() (Config, error) {
	if c.IPv4.IsValid() && !c.IPv4.Is4() {
		return c, fmt.Errorf("translate: IPv4: %s is not an IPv4 address", c.IPv4)
	}
	if c.IPv6.IsValid() && (!c.IPv6.Is6() || c.IPv6.Is4In6() || c.IPv6.Zone() != "") {
		return c, fmt.Errorf("translate: IPv6: %s is not a plain IPv6 address", c.IPv6)
	}
	if c.IPv4.IsValid() && c.IPv4.As4()[0] == 0 {
		c.IPv4 = netip.Addr{}
	}
	if c.IPv4.IsValid() && c.illegal4(make4(c.IPv4.As4())) {
		return c, fmt.Errorf("translate: IPv4: %s is not a unicast address", c.IPv4)
	}
	if c.IPv6.IsValid() && illegal6(make6(c.IPv6.As16())) {
		return c, fmt.Errorf("translate: IPv6: %s is not a unicast address", c.IPv6)
	}
	c.MTU4 = orDefault(c.MTU4, 1500)
	c.MTU6 = orDefault(c.MTU6, 1500)
	if err := checkMTU(c.MTU4, c.MTU6); err != nil {
		return c, err
	}
	c.LowestIPv6MTU = orDefault(c.LowestIPv6MTU, minMTU6)
	if c.LowestIPv6MTU < minMTU6 || c.LowestIPv6MTU > maxLen {
		return c, fmt.Errorf("translate: LowestIPv6MTU: %d is not in 1280 to 65535", c.LowestIPv6MTU)
	}
	if c.MSSClamp != 0 && c.MSSClamp != MSSAuto && (c.MSSClamp < minMSS || c.MSSClamp > maxLen) {
		return c, fmt.Errorf("translate: MSSClamp: %d is not in 536 to 65535", c.MSSClamp)
	}
	if c.UDPZero > UDPZeroForward || c.Hairpin > HairpinOff || c.ICMPErrors > ErrorsTAYGA {
		return c, fmt.Errorf("translate: UDPZero, Hairpin or ICMPErrors out of range")
	}
	c.ErrorRate = orDefault(c.ErrorRate, 100)
	c.ErrorBurst = orDefault(c.ErrorBurst, 50)
	c.MTUErrorRate = orDefault(c.MTUErrorRate, c.ErrorRate)
	c.MTUErrorBurst = orDefault(c.MTUErrorBurst, c.ErrorBurst)
	if c.ErrorRate > UnlimitedErrors || c.ErrorBurst < 1 || c.ErrorBurst > UnlimitedErrors {
		return c, fmt.Errorf("translate: ErrorRate or ErrorBurst out of range")
	}
	if c.MTUErrorRate > UnlimitedErrors || c.MTUErrorBurst < 1 || c.MTUErrorBurst > UnlimitedErrors {
		return c, fmt.Errorf("translate: MTUErrorRate or MTUErrorBurst out of range")
	}
	if err := c.fragmentDefaults(); err != nil {
		return c, err
	}
	for _, pool := range [][]netip.Addr{c.ICMPPool4, c.ICMPPool6} {
		if len(pool) > maxICMPPool {
			return c, fmt.Errorf("translate: ICMP pool of %d addresses, more than %d", len(pool), maxICMPPool)
		}
	}
	for _, a := range c.ICMPPool4 {
		if !a.Is4() || c.illegal4(make4(a.As4())) {
			return c, fmt.Errorf("translate: ICMPPool4: %s is not a unicast IPv4 address", a)
		}
	}
	for _, a := range c.ICMPPool6 {
		if !a.Is6() || a.Zone() != "" || illegal6(make6(a.As16())) {
			return c, fmt.Errorf("translate: ICMPPool6: %s is not a unicast IPv6 address", a)
		}
	}
	return c, nil
}

const maxICMPPool = 256

// fragmentDefaults sets the defaults of what fragments of shared addresses may use.
func (c *Config) fragmentDefaults() error {
	if c.FragmentTimeout == 0 {
		c.FragmentTimeout = minFragmentTimeout
	}
	c.FragmentBytes = orDefault(c.FragmentBytes, 4<<20)
	c.Fragments = orDefault(c.Fragments, 8192)
	switch {
	case c.FragmentTimeout < minFragmentTimeout || c.FragmentTimeout > maxFragmentTimeout:
		return fmt.Errorf("translate: FragmentTimeout: %v is not in 2s to a year", c.FragmentTimeout)
	case c.FragmentBytes < 128<<10 || c.FragmentBytes > 1<<30:
		return fmt.Errorf("translate: FragmentBytes: %d is not in 131072 to 1073741824", c.FragmentBytes)
	case c.Fragments < 64 || c.Fragments > 1<<24:
		return fmt.Errorf("translate: Fragments: %d is not in 64 to 16777216", c.Fragments)
	}
	return nil
}

const (
	minFragmentTimeout = 2 * time.Second // RFC 6146 §4, FRAGMENT_MIN
	maxFragmentTimeout = 365 * 24 * time.Hour
)

func orDefault(v, def int) int {
	if v == 0 {
		return def
	}
	return v
}

func checkMTU(mtu4, mtu6 int) error {
	if mtu4 < minMTU4 || mtu4 > maxLen {
		return fmt.Errorf("translate: MTU4: %d is not in 68 to 65535", mtu4)
	}
	if mtu6 < minMTU6 || mtu6 > maxLen {
		return fmt.Errorf("translate: MTU6: %d is not in 1280 to 65535", mtu6)
	}
	return nil
}
