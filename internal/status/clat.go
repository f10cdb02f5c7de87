package status

import (
	"fmt"
	"time"
)

// A CLAT says how IPv4 of the programs on this machine is carried, by a daemon that runs with
// --clat or the directive clat.
type CLAT struct {
	State string    `json:"state"` // one of CLATStates
	Since time.Time `json:"since"` // when State began

	// Carrier is what carries IPv4 now, one of CLATCarriers, and NativeDevice the interface
	// of native IPv4, if there is one.
	Carrier      string `json:"ipv4_carrier"`
	NativeDevice string `json:"native_ipv4_device,omitempty"`

	Uplink string `json:"uplink,omitempty"` // interface towards IPv6; empty: there is none

	Prefix string `json:"prefix,omitempty"`        // of the NAT64; empty: not known
	Source string `json:"prefix_source,omitempty"` // what Prefix is known by, one of CLATSources
	Router string `json:"prefix_from,omitempty"`   // which router or resolver has told it

	IPv4    string `json:"ipv4_address,omitempty"` // of the programs
	IPv6    string `json:"ipv6_address,omitempty"` // what IPv4 becomes
	Address string `json:"address_mode,omitempty"` // where IPv6 is from, one of CLATModes
	Why     string `json:"address_reason,omitempty"`
	MTU     int    `json:"mtu,omitempty"` // for IPv4, in bytes

	LastError string    `json:"last_error,omitempty"` // in one line; it may be over
	ErrorTime time.Time `json:"last_error_time,omitzero"`

	PrefixChanges   uint64 `json:"prefix_changes"`
	Conflicts       uint64 `json:"address_conflicts"` // another host had the address
	RefusedPrefixes uint64 `json:"prefixes_refused"`  // that no NAT64 can have
}

// What the words of a CLAT can be.
var (
	CLATStates   = []string{"searching", "checking-address", "on", "off"}
	CLATCarriers = []string{"clat", "native", "none"}
	CLATSources  = []string{"router-advertisement", "dns", "configuration"}
	CLATModes    = []string{"own", "shared", "fixed"}
)

// clat writes how IPv4 is carried.
func (t *table) clat(c *CLAT) {
	t.line("CLAT: %s since %s, IPv4 is carried by: %s", clean(c.State), c.Since.Local().Format(time.DateTime), c.carrier())
	t.line("uplink: %s, prefix: %s", orNone(c.Uplink), c.prefix())
	if c.IPv6 != "" {
		t.line("programs: %s as %s, %s, MTU %d", orNone(c.IPv4), clean(c.IPv6), c.address(), c.MTU)
	}
	t.line("prefix changes: %d, address conflicts: %d, prefixes refused: %d", c.PrefixChanges, c.Conflicts, c.RefusedPrefixes)
	if c.LastError != "" {
		t.line("last error of the CLAT, at %s: %s", c.ErrorTime.Local().Format(time.DateTime), clean(c.LastError))
	}
}

func (c *CLAT) carrier() string {
	if c.NativeDevice == "" {
		return clean(c.Carrier)
	}
	return fmt.Sprintf("%s (%s has native IPv4)", clean(c.Carrier), clean(c.NativeDevice))
}

func (c *CLAT) prefix() string {
	if c.Prefix == "" {
		return "none yet"
	}
	words := fmt.Sprintf("%s by %s", clean(c.Prefix), clean(c.Source))
	if c.Router != "" {
		words += " of " + clean(c.Router)
	}
	return words
}

func (c *CLAT) address() string {
	words := "address " + clean(c.Address)
	if c.Why != "" {
		words += " (" + clean(c.Why) + ")"
	}
	return words
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return clean(s)
}
