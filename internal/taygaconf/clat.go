package taygaconf

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/steppe-nat64/steppe/translate"
)

// A CLAT is what the directives clat-… say: the IPv4 programs of this machine get to IPv4 by
// way of the NAT64 of its network (RFC 6877).
type CLAT struct {
	On        bool
	Uplink    string           // an interface; empty: that of the default route
	Address   CLATAddress      // of the programs, in IPv6
	Resolvers []netip.AddrPort // that tell the prefix; empty: those of the uplink
	Share     []netip.Prefix   // IPv4 clients of this machine
	Inbound   bool             // connections from outside may begin
}

// A CLATAddress says which IPv6 address the IPv4 programs have.
type CLATAddress struct {
	Mode  CLATMode
	Fixed netip.Addr // with CLATFixed
}

// CLATMode is the kind of that address.
type CLATMode uint8

const (
	CLATAuto   CLATMode = iota // one of their own where the link gives one, else the machine's
	CLATOwn                    // one of their own
	CLATShared                 // the machine's
	CLATFixed                  // a given one
)

// What a CLAT has where its file names none.
const (
	clatDevice = "clat"
	noFile     = "--clat"
)

var clatOwn4 = netip.MustParseAddr("192.0.0.2") // RFC 7335: of 192.0.0.0/29, programs have the first

// LoadCLAT reads the file at path for a CLAT: clat yes need not stand there. Without a path
// there is no file, and all is as the defaults are.
func LoadCLAT(path string, getenv func(string) (string, bool)) (*Config, Problems) {
	if path == "" {
		return readAs(strings.NewReader(""), noFile, getenv, true)
	}
	return load(path, getenv, true)
}

func (r *reader) clat(words []string) (err error) {
	on, err := boolean(words[0])
	if err == nil && !on && r.isCLAT {
		err = errors.New("--clat says yes")
	}
	r.c.CLAT.On = on
	return err
}

func (r *reader) clatUplink(words []string) error {
	if err := deviceName(words[0]); err != nil {
		return err
	}
	r.c.CLAT.Uplink = words[0]
	return nil
}

// clatAddress takes a word, or an address.
func (r *reader) clatAddress(words []string) error {
	a := &r.c.CLAT.Address
	switch words[0] {
	case "auto":
		a.Mode = CLATAuto
	case "own":
		a.Mode = CLATOwn
	case "shared":
		a.Mode = CLATShared
	default:
		addr, err := netip.ParseAddr(words[0])
		if err != nil || !addr.Is6() || addr.Is4In6() || addr.Zone() != "" {
			return fmt.Errorf("%s is neither auto, own nor shared, nor an IPv6 address", show(words[0]))
		}
		if !addr.IsGlobalUnicast() {
			return fmt.Errorf("%s is not an address that other networks can reach", addr)
		}
		a.Mode, a.Fixed = CLATFixed, addr
	}
	return nil
}

// clatResolver takes addresses, with or without a port.
func (r *reader) clatResolver(words []string) error {
	for _, w := range words {
		a, err := netip.ParseAddrPort(w)
		if addr, single := netip.ParseAddr(w); single == nil {
			a, err = netip.AddrPortFrom(addr, portDomain), nil
		}
		if err != nil || a.Port() == 0 {
			return fmt.Errorf("%s is not an address such as 2001:db8::53, or [2001:db8::53]:5353 with a port", show(w))
		}
		if a.Addr().IsMulticast() || a.Addr().IsUnspecified() {
			return fmt.Errorf("%s is not the address of a resolver", a.Addr())
		}
		r.c.CLAT.Resolvers = append(r.c.CLAT.Resolvers, a)
	}
	if n := len(r.c.CLAT.Resolvers); n > maxResolvers {
		return fmt.Errorf("%d resolvers: more than %d", n, maxResolvers)
	}
	return nil
}

const (
	portDomain   = 53
	maxResolvers = 4  // as many as are asked
	maxShare     = 64 // as many as a table of the packet filter is given
)

// clatShare takes IPv4 networks.
func (r *reader) clatShare(words []string) error {
	for _, w := range words {
		p, err := netip.ParsePrefix(w)
		if err != nil || !p.Addr().Is4() {
			return fmt.Errorf("%s is not an IPv4 network such as 172.17.0.0/16", show(w))
		}
		if p.Masked() != p {
			r.warn("%s has bits after its length: taken as %s", p, p.Masked())
		}
		if p.Bits() == 0 || p.Overlaps(clat4) {
			return fmt.Errorf("%s contains %s, which is the CLAT's", p, clat4)
		}
		r.c.CLAT.Share = append(r.c.CLAT.Share, p.Masked())
	}
	if n := len(r.c.CLAT.Share); n > maxShare {
		return fmt.Errorf("%d networks: more than %d", n, maxShare)
	}
	return nil
}

var clat4 = netip.MustParsePrefix("192.0.0.0/29")

func (r *reader) clatInbound(words []string) (err error) {
	r.c.CLAT.Inbound, err = boolean(words[0])
	return err
}

// Directives that a CLAT has no use for, and why.
var notWithCLAT = []struct{ directive, why string }{
	{"map", "a CLAT has one map, which it makes itself"},
	{"map-file", "a CLAT has one map, which it makes itself"},
	{"dynamic-pool", "a CLAT leases no addresses"},
	{"stateful-pool", "a CLAT shares no addresses by port: for other clients there is clat-share"},
	{"stateful-map", "a CLAT shares no addresses by port"},
	{"ipv6-addr", "a CLAT has no other address than that of its programs: see clat-address"},
	{"tun-up", "a CLAT sets up its device itself"},
	{"tun-ip", "a CLAT sets up its device itself"},
	{"tun-route", "a CLAT sets up its device itself"},
	{"icmp-node-address", "a CLAT has no other address than that of its programs"},
	{"icmp-pool", "a CLAT has no other address than that of its programs"},
}

// checkCLAT is check for a CLAT.
func (r *reader) checkCLAT(getenv func(string) (string, bool)) {
	r.checkStateDirectory(getenv)
	for _, d := range notWithCLAT {
		if line, given := r.at[d.directive]; given {
			r.errorf(line, d.directive, "not with clat yes: %s", d.why)
		}
	}
	if line := r.at["hairpin"]; line > 0 && r.c.Hairpin == translate.HairpinSimple {
		r.errorf(line, "hairpin", "simple hides the host of a CLAT (RFC 7757 §4.2.1): take another")
	}
	if len(r.c.Prefixes) > 1 {
		r.errorf(r.prefixLines[1], "prefix", "a CLAT has one prefix, and %s is one already: remove one of the two", r.c.Prefixes[0])
	}
	if len(r.c.Prefixes) > 0 && isOdd(r.c.Prefixes[0]) {
		r.errorf(r.prefixLines[0], "prefix", "bits 64 to 71 must be zero for a CLAT (RFC 6052 §2.2)")
	}
	if r.c.TunDevice == "" && r.at["tun-device"] == 0 {
		r.c.TunDevice = clatDevice
	}
	if !r.c.IPv4.IsValid() && r.at["ipv4-addr"] == 0 {
		r.c.IPv4 = clatOwn4
	}
	r.checkTable()
	if u := r.c.CLAT.Uplink; u != "" && u == r.c.TunDevice {
		r.errorf(r.later("clat-uplink", "tun-device"), "clat-uplink", "%s is the device of the CLAT itself", u)
	}
	if p := r.c.Prefixes; len(p) > 0 && p[0].Contains(r.c.CLAT.Address.Fixed) {
		r.errorf(r.later("clat-address", "prefix"), "clat-address", "%s lies inside prefix %s, where the IPv4 hosts are", r.c.CLAT.Address.Fixed, p[0])
	}
	r.checkPool()
	r.checkStateful()
	r.checkSwitches("embedded-source", r.c.EmbeddedSource)
	r.checkSwitches("loop-check", r.c.LoopCheck)
}

// checkNoCLAT warns of directives about a CLAT where there is none.
func (r *reader) checkNoCLAT() {
	for _, d := range []string{"clat-uplink", "clat-address", "clat-resolver", "clat-share", "clat-inbound"} {
		if line, given := r.at[d]; given {
			r.warnf(line, d, "has no effect without clat yes")
		}
	}
}
