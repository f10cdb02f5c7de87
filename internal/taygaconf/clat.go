package taygaconf

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A CLAT is what the directives clat and clat-… say: programs of this machine get to IPv4 by
// way of the NAT64 of its network (RFC 6877). Its prefix is the only one of
// Config.Prefixes; without one, the network tells it.
type CLAT struct {
	On        bool
	Uplink    string           // an interface; empty: that of the default route
	Address   CLATAddress      // of the programs, in IPv6
	Resolvers []netip.AddrPort // to ask for the prefix; empty: those of the uplink
	Share     []netip.Prefix   // IPv4 clients of this machine; masked, disjoint
	Inbound   bool             // connections from outside may begin
}

// A CLATAddress says which IPv6 address the IPv4 programs have.
type CLATAddress struct {
	Mode  CLATMode
	Fixed netip.Addr // with CLATFixed
}

// CLATMode is the kind of that address.
type CLATMode uint8

// Kinds of addresses.
const (
	CLATAuto   CLATMode = iota // one of their own where the link gives one, else the machine's
	CLATOwn                    // one of their own
	CLATShared                 // the machine's
	CLATFixed                  // a given one
)

// Limits of the directives.
const (
	maxResolvers = 4  // as many as are asked
	maxShare     = 64 // a packet filter compares the sources with each of them
	portDomain   = 53
)

// clatHosts are the IPv4 addresses of a CLAT and its hosts: RFC 7335. The programs of this
// machine have clatProgram, the translator has clatOwn4.
var (
	clatHosts   = netip.MustParsePrefix("192.0.0.0/29")
	clatProgram = netip.MustParseAddr("192.0.0.1")
	clatOwn4    = netip.MustParseAddr("192.0.0.2")
)

// CLATDevice is the device of a CLAT whose file names none.
const CLATDevice = "clat"

// clatNoFile stands for no file in messages.
const clatNoFile = "--clat"

// LoadCLAT is Load for a daemon that is to be a CLAT: the file has clat yes even without that
// line. An empty path stands for an empty file: everything is as by default.
func LoadCLAT(path string, getenv func(string) (string, bool)) (*Config, Problems) {
	if path == "" {
		return readAs(strings.NewReader(""), clatNoFile, getenv, true)
	}
	return loadAs(path, getenv, true)
}

func (r *reader) clat(words []string) error {
	on, err := boolean(words[0])
	if err == nil && !on && r.c.CLAT.On {
		return errors.New("started with --clat: remove this line")
	}
	r.c.CLAT.On = on || r.c.CLAT.On
	return err
}

func (r *reader) clatUplink(words []string) error {
	if words[0] == "lo" {
		return errors.New("lo is no uplink: name the interface towards the network")
	}
	if err := deviceName(words[0]); err != nil {
		return err
	}
	r.c.CLAT.Uplink = words[0]
	return nil
}

// clatAddress takes a word, or an address.
func (r *reader) clatAddress(words []string) error {
	a := &r.c.CLAT.Address
	if !strings.Contains(words[0], ":") {
		mode, err := choice(words[0], []string{"auto", "own", "shared"}, []CLATMode{CLATAuto, CLATOwn, CLATShared})
		if err != nil {
			return fmt.Errorf("%w, nor an IPv6 address", err)
		}
		a.Mode = mode
		return nil
	}
	fixed, err := addr6(words[0])
	if err != nil {
		return err
	}
	if _, err := checkUnicast(fixed); err != nil {
		return err
	}
	a.Mode, a.Fixed = CLATFixed, fixed
	return nil
}

// clatResolver takes addresses, with or without a port. A link-local one needs no zone, since
// resolvers are asked by the uplink.
func (r *reader) clatResolver(words []string) error {
	for _, w := range words {
		a, err := resolver(w)
		switch {
		case err != nil:
			return err
		case slices.Contains(r.c.CLAT.Resolvers, a):
			return fmt.Errorf("%s is named before: remove one of the two", show(w))
		case len(r.c.CLAT.Resolvers) == maxResolvers:
			return fmt.Errorf("more than %d resolvers", maxResolvers)
		}
		r.c.CLAT.Resolvers = append(r.c.CLAT.Resolvers, a)
	}
	return nil
}

// resolver reads an address with a port, or without one.
func resolver(word string) (netip.AddrPort, error) {
	a, err := netip.ParseAddrPort(word)
	if single, notSingle := netip.ParseAddr(word); notSingle == nil {
		a, err = netip.AddrPortFrom(single, portDomain), nil
	}
	switch ip := a.Addr(); {
	case err != nil || a.Port() == 0:
		return a, fmt.Errorf("%s is not an address such as 2001:db8::53, nor one with a port such as [2001:db8::53]:5353", show(word))
	case ip.Zone() != "":
		return a, fmt.Errorf("%s has a zone: leave it out, since resolvers are asked by the uplink", show(word))
	case ip.IsUnspecified() || ip.IsMulticast() || ip == broadcast4 || ip.Is4In6():
		return a, fmt.Errorf("%s is no resolver's address", ip)
	}
	return a, nil
}

// clatShare takes the IPv4 networks of containers, virtual machines and other clients.
func (r *reader) clatShare(words []string) error {
	for _, w := range words {
		p, err := prefix(w, addr4, whole)
		if err != nil {
			return err
		}
		if p.Overlaps(clatHosts) {
			return fmt.Errorf("%s overlaps %s, the addresses of the CLAT itself (RFC 7335)", p, clatHosts)
		}
		warning, err := checkNetwork4(p.Masked())
		switch {
		case err != nil:
			return err
		case p != p.Masked():
			return hostBits(p)
		case len(r.c.CLAT.Share) == maxShare:
			return fmt.Errorf("more than %d networks", maxShare)
		}
		if i := slices.IndexFunc(r.c.CLAT.Share, p.Overlaps); i >= 0 {
			return fmt.Errorf("%s overlaps %s, named before: remove one of the two", p, r.c.CLAT.Share[i])
		}
		if warning != "" {
			r.warn("%s", warning)
		}
		r.c.CLAT.Share = append(r.c.CLAT.Share, p)
	}
	return nil
}

func (r *reader) clatInbound(words []string) (err error) {
	r.c.CLAT.Inbound, err = boolean(words[0])
	return err
}
