package clat

import (
	"net/netip"
	"time"

	"github.com/steppe-nat64/steppe/internal/pref64"
)

// A State says how far a CLAT has come. It is a word for a report.
type State string

const (
	Off       State = "off"              // it can't work: see LastError
	Searching State = "searching"        // for an uplink and a prefix
	Checking  State = "checking-address" // whether another node has the address
	On        State = "on"
)

// A Carrier says what carries IPv4. It is a word for a report.
type Carrier string

const (
	ByCLAT   Carrier = "clat"
	ByNative Carrier = "native"
	ByNone   Carrier = "none"
)

// Sources of a prefix. They are words for a report.
const (
	SourceAdvertisement = "router-advertisement"
	SourceDNS           = "dns"
	SourceConfiguration = "configuration"
)

// A Report says what a Controller has found and done. What is not known is zero.
type Report struct {
	State State
	Since time.Time // when State began

	Carrier      Carrier
	NativeDevice string // of the IPv4 default route, if there is a native one

	Uplink string
	Prefix netip.Prefix
	Source string     // of the prefix
	Router netip.Addr // that advertised it

	Host4, Host6 netip.Addr // of the IPv4 programs, and what that becomes
	Mode         Mode       // Own, Shared or Fixed, with Host6
	Why          string     // Mode is so, in a sentence
	MTU          int        // for IPv4, in bytes

	LastError string // of what was tried last; it may be over
	ErrorTime time.Time

	PrefixChanges   uint64 // one that was in use was replaced or withdrawn
	Conflicts       uint64 // another node had an address of the CLAT
	RefusedPrefixes uint64 // they can't be those of a NAT64
}

// sourceWord returns the word for a source.
func sourceWord(s pref64.Source) string {
	switch s {
	case pref64.FromAdvertisement:
		return SourceAdvertisement
	case pref64.FromDNS:
		return SourceDNS
	}
	return ""
}
