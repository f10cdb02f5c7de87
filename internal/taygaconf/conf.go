// Package taygaconf parses tayga.conf: it returns a Config and a list of all errors and
// warnings. It starts nothing and changes nothing, so that a configuration can be checked,
// tested and fuzzed anywhere.
//
// The language is that of the TAYGA daemon, of all versions since 0.9.2 together, with a
// few directives of our own:
//
//	words.go       files to lines to words, and their limits
//	directives.go  the table of directives, one function each
//	prefixrules.go rules for addresses inside a prefix
//	values.go      addresses, prefixes, numbers, switches, times
//	meant.go       the directive that a misspelt one is meant for
//	taken.go       who has which address
//	check.go       checks that need all lines
//	mapfile.go     the separate file of maps that a running daemon reads again
//	problem.go     errors and warnings with file and line
//	pools.go       the dynamic pools
//	stateful.go    hosts that share IPv4 addresses
//	statefulcheck.go
//	               checks of these that need all lines
//	clat.go        a CLAT for the programs of this machine
//	clatcheck.go   checks of it that need all lines
//	wire.go        builds the tables of translate, the translator and the pools
package taygaconf

import (
	"net/netip"
	"time"

	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

// NoStatusSocket is the StatusSocket of a daemon that is to have none.
const NoStatusSocket = "no"

// MaxWorkers is the largest number of workers that can be asked for.
const MaxWorkers = 64

// A Config is what a tayga.conf says. Read fills in the defaults; every value
// has been checked by itself and against the others.
type Config struct {
	File string // name of the file, for messages

	TunDevice string
	IPv4      netip.Addr // own IPv4 address
	IPv6      netip.Addr // own IPv6 address; IPv4 in the first prefix if the file names none; none for a CLAT

	Prefixes []netip.Prefix // RFC 6052 prefixes, masked
	Maps     []Map          // explicit maps, masked
	Pools    []Pool         // dynamic pools, in the order of the first line of each
	MapFile  string         // path of a file of further maps, or empty

	DataDir string // absolute, or empty: nothing is kept

	WKPFStrict bool // refuse private addresses in 64:ff9b::/96
	UDPZero    translate.UDPZero
	OfflinkMTU int // lowest MTU of the IPv6 network, 1280 to 65535
	Log        Log
	Workers    int // 0 to MaxWorkers; -1 if the file leaves the number to us

	TunUp     bool
	TunIPs    []netip.Prefix // addresses with their length, not masked
	TunRoutes []netip.Prefix // masked

	// The rest are directives of our own.

	ICMPErrors translate.ICMPErrors
	Hairpin    translate.Hairpin
	TOS4to6    translate.TOS // directive traffic-class
	TOS6to4    translate.TOS // directive tos
	FlowLabels bool
	MSSClamp   int // 536 to 65535, translate.MSSAuto, or 0 for off
	// EmbeddedSource: IPv6 packets with a source inside a prefix are dropped.
	EmbeddedSource []PrefixSwitch
	// LoopCheck: packets that would come back are answered instead.
	LoopCheck   []PrefixSwitch
	ICMPPool4   []netip.Addr
	ICMPPool6   []netip.Addr
	NodeAddress bool
	ICMPRate    ErrorRate      // originated ICMP errors but for path MTU errors
	ICMPMTURate ErrorRate      // path MTU errors
	Offload     Offload        // what to ask the device for
	FastPath    bool           // plain packets are left to the kernel if it has tcx (Linux 6.6); false: none are
	Sandbox     bool           // give up what is not needed once all is open
	PoolClients []netip.Prefix // who may lease; empty: all hosts
	PoolQuota   PoolQuota      // the zero value is no limit
	PoolRefresh pool.Refresh   // which packets use a lease
	LeaseTime   time.Duration  // a lease is held this long after the last packet, 1 s to 10 years
	Retention   time.Duration  // and remembered this long after it, Hold to 10 years

	Stateful Stateful // hosts that share IPv4 addresses

	CLAT CLAT // programs of this machine

	StatusSocket  string         // absolute path, NoStatusSocket, or empty: where it usually is
	MetricsListen netip.AddrPort // the zero value is no metrics

	taken taken // what maps of other files may not take
}

// A Pool is all dynamic pools that are bound to one prefix, or to none: their addresses
// are leased together.
type Pool struct {
	Pref64   netip.Prefix   // one of Config.Prefixes; the zero value: none
	Prefixes []netip.Prefix // IPv4, at least one, disjoint from all others
	Lines    []int          // of Prefixes, where each was written
}

// A Map is an explicit address mapping and where it was written.
type Map struct {
	translate.Map
	File string
	Line int
}

// Offload is what the kernel may leave to others to do: to compute checksums, to
// cut TCP into segments, to cut UDP into datagrams.
type Offload struct{ Checksum, TSO, USO bool }

// An ErrorRate limits the ICMP errors that a worker originates. Zero stands for what
// is usual: 100 a second, 50 at once.
type ErrorRate struct {
	PerSecond int // -1: none at all; translate.UnlimitedErrors: no limit
	Burst     int // how many at once
}

// A PoolQuota bounds how many leases the hosts of one client prefix may hold.
type PoolQuota struct {
	Bits   int // length of the client prefix, 1 to 128
	Leases int // at least 1
}

// Log is the set of event kinds that the directive log switches on.
type Log uint8

// Kinds of events.
const (
	LogDrop Log = 1 << iota
	LogReject
	LogICMP
	LogSelf
	LogDyn
)
