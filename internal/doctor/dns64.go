package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// RFC 7050 §2.2: a name that has these IPv4 addresses and no IPv6 address, so
// that any IPv6 address of it was made by DNS64.
const dns64Name = "ipv4only.arpa."

var (
	dns64Addrs   = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 0, 170}), netip.AddrFrom4([4]byte{192, 0, 0, 171})}
	prefixLength = []int{96, 64, 56, 48, 40, 32}
)

// resolverTime bounds how long the resolver is waited for.
const resolverTime = 5 * time.Second

// checkDNS64 asks the resolver of this machine which prefix DNS64 uses. Hosts
// behind the gateway may have another resolver; that there is no DNS64 here is
// no more than a note.
func (e *examination) checkDNS64() {
	if len(e.Conf.Prefixes) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolverTime)
	defer cancel()
	addrs, err := e.Machine.Resolve(ctx, dns64Name)
	var dns *net.DNSError
	switch {
	case err != nil && !(errors.As(err, &dns) && dns.IsNotFound):
		e.add(Note, "dns64", "it is not known whether the resolver of this machine uses DNS64")
		return
	case len(addrs) == 0:
		if !e.clat {
			e.add(Note, "dns64", "the resolver of this machine does not use DNS64: IPv6 hosts need a resolver with DNS64")
		}
		return
	}
	found := false
	var others []netip.Prefix
	for _, a := range addrs {
		p, ok := pref64(a)
		switch {
		case !ok:
		case slices.Contains(e.Conf.Prefixes, p):
			found = true
		case !slices.Contains(others, p):
			others = append(others, p)
		}
	}
	for _, p := range others[:min(len(others), maxFindings)] {
		if found {
			e.add(Note, "dns64", "DNS64 also uses prefix %s, which is not in the configuration", p)
			continue
		}
		e.fix(Error, "dns64", e.edit("prefix "+p.String()),
			"DNS64 uses prefix %s, which is not in the configuration; add it and restart tayga, or change the resolver", p)
	}
	if !found && len(others) == 0 {
		e.add(Warning, "dns64", "the resolver of this machine gives ipv4only.arpa addresses that DNS64 does not give")
	}
}

// pref64 finds the prefix in an address of ipv4only.arpa: RFC 7050 §3.
func pref64(a netip.Addr) (netip.Prefix, bool) {
	for _, bits := range prefixLength {
		p, err := a.Prefix(bits)
		if err != nil {
			return netip.Prefix{}, false
		}
		v4, err := translate.Extract(p, a)
		if err == nil && slices.Contains(dns64Addrs, v4) {
			if v6, err := translate.Embed(p, v4); err == nil && v6 == a { // no bits but these
				return p, true
			}
		}
	}
	return netip.Prefix{}, false
}
