package pref64

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// An Advertisement is what a router advertisement, or a part of one, says about prefixes
// and resolvers. Options that are malformed, unknown or too many are left out.
type Advertisement struct {
	Index     int        // of the interface that it came in by
	Router    netip.Addr // its source, without zone; not valid if the kernel did not say
	Options   []Option   // in the order of the message
	Resolvers []Resolvers
}

const (
	routerSolicitation   = 133
	routerAdvertisement  = 134
	advertisementHeader  = 16 // bytes before the options: RFC 4861 §4.2
	advertisementHops    = 255
	familyIPv6           = 10 // AF_INET6 of Linux
	userOptionHeader     = 16 // bytes of struct nduseroptmsg, <linux/rtnetlink.h>
	userOptionSource     = 1  // NDUSEROPT_SRCADDR
	netlinkHeader        = 16 // bytes of struct nlmsghdr
	messageNewUserOption = 68 // RTM_NEWNDUSEROPT
)

var errOption = errors.New("pref64: advertisement: an option has no length, or ends after the message")

// ParseAdvertisement reads a router advertisement, from the type of its ICMPv6 header on,
// whose checksum was verified by the kernel. router is its source, hops its hop limit, index
// the interface. The error says why a host has to discard it: RFC 4861 §6.1.2. A malformed
// PREF64 option alone is no error. It keeps nothing of b.
func ParseAdvertisement(index int, router netip.Addr, hops int, b []byte) (Advertisement, error) {
	router = router.WithZone("")
	switch {
	case len(b) < advertisementHeader || b[0] != routerAdvertisement || b[1] != 0:
		return Advertisement{}, errors.New("pref64: advertisement: not a router advertisement")
	case hops != advertisementHops:
		return Advertisement{}, fmt.Errorf("pref64: advertisement from %s: hop limit %d: not from this link", router, hops)
	case !router.Is6() || !router.IsLinkLocalUnicast():
		return Advertisement{}, fmt.Errorf("pref64: advertisement from %s: not a link-local address", router)
	}
	a := Advertisement{Index: index, Router: router}
	if !a.options(b[advertisementHeader:]) {
		return Advertisement{}, errOption
	}
	return a, nil
}

// options reads options. It reports false if they do not end where b does, or if one has no
// length; a then has those before.
func (a *Advertisement) options(b []byte) bool {
	for len(b) >= 2 {
		n := int(b[1]) * 8
		if n == 0 || n > len(b) {
			return false
		}
		if o, ok := ParseOption(b[:n]); ok && len(a.Options) < maxOptions {
			a.Options = append(a.Options, o)
		}
		if r, ok := parseRDNSS(b[:n]); ok && len(a.Resolvers) < maxOptions {
			a.Resolvers = append(a.Resolvers, r)
		}
		b = b[n:]
	}
	return len(b) == 0
}

// ParseUserOptions reads what one read from a netlink socket of group RTNLGRP_ND_USEROPT
// returns: messages of the kernel, each with an option of a router advertisement that it has
// accepted. Other messages are left out, and the rest after a malformed one. It keeps nothing
// of b.
func ParseUserOptions(b []byte) []Advertisement {
	var all []Advertisement
	for len(b) >= netlinkHeader {
		n := int64(binary.NativeEndian.Uint32(b)) // which may have any value
		if n < netlinkHeader || n > int64(len(b)) {
			break
		}
		if binary.NativeEndian.Uint16(b[4:]) == messageNewUserOption {
			if a, ok := parseUserOption(b[netlinkHeader:n]); ok {
				all = append(all, a)
			}
		}
		b = b[min(align4(int(n)), len(b)):]
	}
	return all
}

// parseUserOption reads the body of an RTM_NEWNDUSEROPT message: struct nduseroptmsg,
// options, attributes.
func parseUserOption(b []byte) (Advertisement, bool) {
	if len(b) < userOptionHeader || b[0] != familyIPv6 || b[8] != routerAdvertisement || b[9] != 0 {
		return Advertisement{}, false
	}
	n := int(binary.NativeEndian.Uint16(b[2:]))
	a := Advertisement{Index: int(int32(binary.NativeEndian.Uint32(b[4:])))}
	b = b[userOptionHeader:]
	if n > len(b) || !a.options(b[:n]) {
		return Advertisement{}, false
	}
	a.Router = sourceAttribute(b[min(align4(n), len(b)):])
	return a, true
}

// sourceAttribute returns the address in the NDUSEROPT_SRCADDR of netlink attributes.
func sourceAttribute(b []byte) netip.Addr {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			break
		}
		if binary.NativeEndian.Uint16(b[2:]) == userOptionSource && n == 4+16 {
			return netip.AddrFrom16([16]byte(b[4:n]))
		}
		b = b[min(align4(n), len(b)):]
	}
	return netip.Addr{}
}

func align4(n int) int { return (n + 3) &^ 3 }
