package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// A CLAT that sets itself up (--clat, or clat yes in a tayga.conf) makes its device,
// addresses, routes, rules and settings while it runs. Only what it cannot do is missing.

// examineCLAT checks the machine for such a CLAT.
func (e *examination) examineCLAT() {
	e.checkConfigured()
	e.checkTunDriver()
	e.checkIPv6()
	if l, there := e.Machine.link(e.Conf.TunDevice); there && !l.Tun {
		e.add(Error, "device", "%s is no TUN device: name another one in tun-device", l.Name)
	}
	e.checkOtherCLAT()
	up := e.checkUplink()
	e.checkForceForwarding(up)
	e.checkNftables()
	e.checkPrefix()
	e.checkFiltersOfCLAT(up)
	if len(e.Conf.CLAT.Share) > 0 { // packets of this machine are led by a rule
		e.clat = true
		e.checkReversePath()
	}
	e.checkDaemonOfCLAT()
	if e.Report != nil {
		e.checkFastPath()
	}
}

// checkUplink looks for a way to IPv6.
func (e *examination) checkUplink() (up Link) {
	name := e.Conf.CLAT.Uplink
	if name == "" && e.Report != nil && e.Report.CLAT != nil {
		name = e.Report.CLAT.Uplink
	}
	if name == "" {
		name = e.Machine.uplink(true)
	}
	if name == "" || name == e.Conf.TunDevice {
		e.add(Error, "uplink", "there is no default route of IPv6: a CLAT needs an IPv6 network with a NAT64")
		return up
	}
	up, there := e.Machine.link(name)
	switch {
	case !there:
		e.add(Error, "uplink", "there is no interface %s, which clat-uplink names", name)
	case !up.Up:
		e.fix(Error, "uplink", linkUp(name), "%s, the uplink, is down", name)
	case e.Machine.uplink(true) == "":
		e.add(Error, "uplink", "there is no default route of IPv6: a CLAT needs an IPv6 network with a NAT64")
	}
	if v, ok := e.Machine.Setting("ipv6/conf/" + name + "/disable_ipv6"); ok && v != 0 {
		e.fix(Error, "uplink", e.set("ipv6/conf/"+name+"/disable_ipv6", 0), "IPv6 is switched off for %s, the uplink", name)
	}
	return up
}

// clatPool has the addresses that CLATs give a host: NetworkManager has those beyond RFC 7335.
var clatPool = netip.MustParsePrefix("192.0.0.0/28")

// checkOtherCLAT looks for another CLAT, beside which ours does not start.
func (e *examination) checkOtherCLAT() {
	for _, l := range e.Machine.Links {
		own := func(p netip.Prefix) bool { return clatPool.Contains(p.Addr()) }
		// A tunnel of DS-Lite has an address of the same range: RFC 6333 §5.7.
		if l.Name == e.Conf.TunDevice || !l.Up || l.Loopback || l.Kind == "ip6tnl" || l.Kind == "dummy" || !slices.ContainsFunc(l.Addrs, own) {
			continue
		}
		who, c := e.otherCLAT(l)
		e.fix(Error, "other-clat", c, "another CLAT is active on %s: %s; tayga does not run beside it", l.Name, who)
	}
}

// otherCLAT says whose a CLAT is, and how it is ended if it is a service.
func (e *examination) otherCLAT(l Link) (who string, c Change) {
	var programs []string
	if l.Tun && e.Machine.Attached != nil {
		programs = e.Machine.Attached(l.Name)
	}
	stop := func(unit string) Change {
		if e.Machine.Active == nil || !e.Machine.Active(unit) {
			return Change{}
		}
		return Change{words("systemctl", "stop", unit), words("systemctl", "start", unit), false, false, []Touch{{Kind: Unit, Name: unit, Link: l.Name}}}
	}
	switch {
	case !l.Tun:
		return "NetworkManager gives its uplink such an address: switch it off in the connection (ipv4.clat)", Change{}
	case slices.Contains(programs, "systemd-network"): // the kernel has 15 bytes of a name
		return "systemd-networkd has it: switch it off in the .network file of the uplink", Change{}
	case len(programs) == 0 || slices.Contains(programs, "tayga"):
		if c := stop("clatd.service"); c.Do != "" {
			return "clatd has started it", c
		}
		return "a tayga or clatd has started it: end that", Change{}
	}
	return plural(programs) + " started it: end that", Change{}
}

// plural lists programs as the subject of a sentence.
func plural(programs []string) string { return names(programs) + " has" }

// checkForceForwarding says what a kernel without forwarding of single interfaces means.
func (e *examination) checkForceForwarding(up Link) {
	if up.Name == "" {
		return
	}
	_, single := e.Machine.Setting("ipv6/conf/" + up.Name + "/force_forwarding")
	all, _ := e.Machine.Setting("ipv6/conf/all/forwarding")
	if !single && (all == 0 || e.running) {
		e.add(Note, "forwarding", "this kernel cannot forward IPv6 between two interfaces alone (force_forwarding is there since 6.17): while tayga runs, all interfaces forward, and those with accept_ra 1 have 2; both are restored at its end. If another interface is not to be forwarded, a packet filter has to drop its packets")
	}
}

// checkNftables looks for nftables, by which connections from outside are dropped.
func (e *examination) checkNftables() {
	if e.Machine.NoNftables == nil {
		return
	}
	lost := "an address that is shared with the machine, as on links that give only one, and clat-share do not work"
	if !e.Conf.CLAT.Inbound {
		lost = "connections from outside to the programs' IPv6 address are not dropped, and " + lost
	}
	e.fix(Warning, "nftables", module("nf_tables"), "the kernel has no nftables (%v): %s", e.Machine.NoNftables, lost)
}

// checkPrefix asks the resolver for the prefix of the network, if the daemon does not
// know it. A router may still announce it.
func (e *examination) checkPrefix() {
	known := len(e.Conf.Prefixes) > 0 || e.Report != nil && e.Report.CLAT != nil && e.Report.CLAT.Prefix != ""
	if known || len(e.Conf.CLAT.Resolvers) > 0 {
		return // those are asked by tayga
	}
	const remedy = "unless a router announces a prefix (RFC 8781), set clat-resolver to one with DNS64, or name the prefix by a line such as prefix 64:ff9b::/96"
	ctx, cancel := context.WithTimeout(context.Background(), resolverTime)
	defer cancel()
	addrs, err := e.Machine.Resolve(ctx, dns64Name)
	var dns *net.DNSError
	switch {
	case err != nil && !(errors.As(err, &dns) && dns.IsNotFound):
		e.add(Note, "dns64", "it is not known whether the resolver of this machine uses DNS64")
	case len(addrs) == 0:
		e.add(Warning, "dns64", "the resolver of this machine does not use DNS64, and no prefix is found by it: %s", remedy)
	case !slices.ContainsFunc(addrs, func(a netip.Addr) bool { _, ok := pref64(a); return ok }):
		e.add(Warning, "dns64", "the resolver of this machine gives ipv4only.arpa addresses that hold no prefix: %s", remedy)
	}
}

// checkDaemonOfCLAT looks whether the CLAT runs, and what it says of itself.
func (e *examination) checkDaemonOfCLAT() {
	tun := e.Conf.TunDevice
	switch {
	case e.running:
	case e.Process.Unit != "" || !e.NoFile && filepath.IsAbs(e.Conf.File):
		e.fix(Error, "daemon", e.start(), "tayga does not run on %s", tun)
	default:
		e.add(Error, "daemon", "tayga does not run on %s: run %q, which ends with its terminal, or start the unit steppe-clat", tun, words(e.Program, "--clat"))
	}
	if e.Report == nil {
		return
	}
	e.checkHelper()
	r := e.Report.CLAT
	if r == nil {
		e.add(Error, "daemon", "the tayga that runs on %s is no CLAT: end it, or name another tun-device", tun)
		return
	}
	last := ""
	if r.LastError != "" {
		last = fmt.Sprintf(" (its last error: %s)", strings.TrimSuffix(r.LastError, "."))
	}
	switch r.State {
	case "on":
		if last != "" {
			e.add(Note, "clat", "the CLAT is on, and had an error: %s", r.LastError)
		}
	case "searching":
		e.add(Error, "clat", "tayga has found no prefix of a NAT64 yet%s", last)
	case "checking-address":
		e.add(Note, "clat", "tayga checks whether another host has its IPv6 address%s", last)
	default:
		e.add(Error, "clat", "the CLAT is off%s", last)
	}
}
