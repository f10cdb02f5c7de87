package taygaconf

import (
	"maps"
	"slices"
	"strings"

	"github.com/steppe-nat64/steppe/translate"
)

// Why a CLAT has no use for a directive.
const (
	ownMap    = "a CLAT makes its only map itself, of 192.0.0.1 and the address of clat-address"
	ownDevice = "a CLAT sets up its device itself"
	ownRules  = "the prefix of a CLAT has rules of its own"
	noShared  = "a CLAT assigns no addresses to other hosts; for IPv4 clients of this machine there is clat-share"
)

// notInCLAT are directives that cannot be given with clat yes. All whose names begin with
// dynamic-pool or stateful- come in addition.
var notInCLAT = map[string]string{
	"map":             ownMap,
	"map-file":        ownMap,
	"ipv6-addr":       "the addresses of a CLAT are those of its network; clat-address fixes that of the programs",
	"tun-up":          ownDevice,
	"tun-ip":          ownDevice,
	"tun-route":       ownDevice,
	"embedded-source": ownRules,
	"loop-check":      ownRules,
}

// checkCLAT is check for a CLAT: no prefix, no address and no device has to be named.
func (r *reader) checkCLAT(getenv func(string) (string, bool)) {
	r.checkStateDirectory(getenv)
	for _, name := range slices.Sorted(maps.Keys(r.at)) {
		why := notInCLAT[name]
		if strings.HasPrefix(name, "dynamic-pool") || strings.HasPrefix(name, "stateful-") {
			why = noShared
		}
		if why != "" {
			r.errorf(r.at[name], name, "cannot be given with clat: %s", why)
		}
	}
	if r.c.Hairpin == translate.HairpinSimple {
		r.errorf(r.at["hairpin"], "hairpin", "simple cannot be given with clat: it hides the host of a CLAT (RFC 7757 §4.2.1)")
	}
	r.checkCLATPrefix()
	if _, given := r.at["tun-device"]; !given {
		r.c.TunDevice = CLATDevice
	}
	if _, given := r.at["ipv4-addr"]; !given {
		r.c.IPv4 = clatOwn4
	}
	if _, given := r.at["udp-cksum-mode"]; !given {
		r.c.UDPZero = translate.UDPZeroCompute // programs of this machine may send without a checksum
	}
	r.checkTable()
	switch a := r.c.IPv4; {
	case a == clatProgram:
		r.errorf(r.at["ipv4-addr"], "ipv4-addr", "%s is the address of the programs: leave the line out, or take %s", a, clatOwn4)
	case a == clatHosts.Addr():
		r.errorf(r.at["ipv4-addr"], "ipv4-addr", "%s is the first address of %s, which no host has: leave the line out, or take %s", a, clatHosts, clatOwn4)
	}
	if u := r.c.CLAT.Uplink; u != "" && u == r.c.TunDevice {
		r.errorf(r.later("clat-uplink", "tun-device"), "clat-uplink", "%s is the device of the CLAT itself: name the interface towards the network", u)
	}
}

// checkCLATPrefix checks the prefix, if the file names it: there is one, and the address of the
// programs lies outside.
func (r *reader) checkCLATPrefix() {
	if len(r.c.Prefixes) == 0 || r.at["map"] > 0 { // which may be a prefix, and is an error anyway
		return
	}
	p := r.c.Prefixes[0]
	for _, line := range r.prefixLines[1:] {
		r.errorf(line, "prefix", "a CLAT has one prefix, which is %s, line %d: remove one of the two", p, r.prefixLines[0])
	}
	if isOdd(p) {
		r.errorf(r.prefixLines[0], "prefix", "bits 64 to 71 of %s must be zero with clat (RFC 6052 §2.2)", p)
	}
	if a := r.c.CLAT.Address.Fixed; p.Contains(a) {
		r.errorf(r.later("clat-address", "prefix"), "clat-address", "%s lies inside prefix %s, line %d, where IPv4 hosts are: take an address of the uplink's network", a, p, r.prefixLines[0])
	}
}

// checkNoCLAT warns of directives about a CLAT where there is none.
func (r *reader) checkNoCLAT() {
	for _, name := range slices.Sorted(maps.Keys(r.at)) {
		if strings.HasPrefix(name, "clat-") {
			r.warnf(r.at[name], name, "has no effect without a line \"clat yes\"")
		}
	}
}
