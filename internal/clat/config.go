package clat

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/steppe-nat64/steppe/internal/hostnet"
	"github.com/steppe-nat64/steppe/internal/pref64"
)

// A Config says how a Controller runs a CLAT. Device, Secret, Apply and Update have to be given.
type Config struct {
	Device string // the TUN device
	Uplink string // the interface towards the NAT64; empty: that of the best IPv6 default route

	Prefix    netip.Prefix // of the NAT64; zero: it is found
	Address   Address
	Resolvers func() []netip.AddrPort // those of the machine, such as resolv.conf has; may be nil
	Servers   []netip.AddrPort        // resolvers that are asked instead of all others

	// Share are networks of IPv4 clients for which this machine is the router: they use the
	// CLAT, too.
	Share []netip.Prefix
	// Guard drops connections from outside.
	Guard bool

	// Secret keeps the addresses of the CLAT from being guessed, and makes them the same
	// after a restart: RFC 7217 §5. It has 16 bytes at least.
	Secret []byte

	// Apply makes the machine's network be as listed: see hostnet.Manager.Apply. It is called
	// with nil at the end.
	Apply func([]hostnet.Change) error
	// Update tells the translator by what it translates.
	Update func(Translation) error

	// Log logs a sentence, unless it is nil. The rate of sentences is limited.
	Log func(Severity, string)
}

// A Severity says how important a sentence of the log is.
type Severity int

const (
	Debug Severity = iota
	Info
	Warning
)

// A Mode says which IPv6 address the IPv4 programs of the machine have.
type Mode int

const (
	Auto   Mode = iota // one of their own where the link gives one, else the machine's
	Own                // one of their own
	Shared             // the machine's, by address translation
	Fixed              // a given one
)

// String returns the word for a mode, as a configuration has it.
func (m Mode) String() string {
	switch m {
	case Auto:
		return "auto"
	case Own:
		return "own"
	case Shared:
		return "shared"
	case Fixed:
		return "fixed"
	}
	return "unknown"
}

// An Address is an IPv6 address for the IPv4 programs of the machine, or how to get one.
type Address struct {
	Mode Mode
	Addr netip.Addr // with Fixed
}

// A Translation is what the translator translates by. The zero value translates nothing.
type Translation struct {
	Prefix       netip.Prefix // of the NAT64; zero: nothing is translated
	Host4, Host6 netip.Addr   // of the IPv4 programs of this machine
	Own4, Own6   netip.Addr   // of the translator; Own6 may be zero
}

const minMTU = 1280 // RFC 8200 §5

var (
	host4 = netip.MustParseAddr("192.0.0.1") // RFC 7335 §4
	own4  = netip.MustParseAddr("192.0.0.2")
	// clatNet is where both are. No other machine has an address of it.
	clatNet = netip.MustParsePrefix("192.0.0.0/29")
)

// check returns what is wrong with a configuration.
func (c *Config) check() error {
	switch {
	case c.Device == "":
		return errors.New("no device")
	case c.Device == c.Uplink:
		return fmt.Errorf("%s can't be the uplink of itself", c.Device)
	case len(c.Secret) < minSecret:
		return fmt.Errorf("a secret of %d bytes is too short", len(c.Secret))
	case c.Apply == nil || c.Update == nil:
		return errors.New("no Apply or no Update")
	case c.Address.Mode < Auto || c.Address.Mode > Fixed:
		return fmt.Errorf("address mode %d", c.Address.Mode)
	}
	if a := c.Address.Addr; c.Address.Mode == Fixed && (!a.IsGlobalUnicast() || !a.Is6() || a.Is4In6() || a.Zone() != "") {
		return fmt.Errorf("address %v: not a unicast IPv6 address", a)
	}
	for _, p := range c.Share {
		if !p.IsValid() || !p.Addr().Is4() || p.Bits() == 0 || p.Overlaps(clatNet) {
			return fmt.Errorf("clients in %v: not an IPv4 network for them", p)
		}
	}
	if !c.Prefix.IsValid() {
		return nil
	}
	if c.Prefix.Contains(c.Address.Addr) {
		return fmt.Errorf("address %s: inside the prefix %s", c.Address.Addr, c.Prefix)
	}
	return pref64.Check(c.Prefix)
}
