// Package doctor checks a machine and a tayga.conf and reports what is missing for packets
// to be translated, each finding with the command that fixes it. It changes nothing.
//
//	doctor.go         findings, and the order of the checks
//	machine.go        the state of a machine
//	machine_linux.go  how it is read; filter_linux.go for packet filters
//	kernel.go         forwarding and other settings
//	device.go         the device, addresses, the daemon
//	fastpath.go       what keeps the fast path off
//	routes.go         routes, neighbours; policy.go where rules select among tables,
//	                  which route_linux.go reads
//	unmapped.go       routes to the device without a map or a pool
//	filter.go         the effect of a packet filter on a packet; nft.go, iptables.go
//	                  read its rules
//	firewall.go       packets that filters drop; masquerade.go those that they change
//	shared.go         stateful pools: own addresses, masquerading, connection tracking, hosts;
//	                  shareduse.go what is used up
//	autoclat.go       a CLAT that sets itself up; clatfilter.go packet filters in its way
//	dns64.go          the prefix that DNS64 uses: RFC 7050
//	change.go         what commands change, and what undoes that; state_linux.go reads it
//	shell.go          quoting for a shell
//
// Reading the state and checking it are separate, so that the checks can be tested without
// a machine.
package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/steppe-nat64/steppe/internal/plain"
	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// A Severity says how much a finding matters.
type Severity uint8

const (
	Note    Severity = iota // good to know; it may be as it should
	Warning                 // something will not work, or may not
	Error                   // packets are not translated
)

// String returns the severity in lower case.
func (s Severity) String() string { return [...]string{"note", "warning", "error", "error"}[s&3] }

// MarshalText makes a severity a word in JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A Finding is one thing that is missing or strange.
type Finding struct {
	Severity Severity `json:"severity"`
	About    string   `json:"about"`             // what was looked at: a word that does not change
	Text     string   `json:"text"`              // what is wrong
	Command  string   `json:"command,omitempty"` // fixes it when run by sh as root; empty if nothing so simple does
	Undo     string   `json:"undo,omitempty"`    // brings the state before Command back, as that is now; empty if no command does
	Change   Change   `json:"-"`                 // what Command changes
}

// String returns the finding as a line.
func (f Finding) String() string {
	s := fmt.Sprintf("%v: %s: %s", f.Severity, f.About, f.Text)
	if f.Command != "" {
		s += "; run: " + f.Command
	}
	return s
}

// A Case is what is looked at.
type Case struct {
	Conf     *taygaconf.Config
	Problems taygaconf.Problems // of Conf and its map-file
	Maps     []taygaconf.Map    // of the map-file
	// Bindings are the static bindings of the map-file.
	Bindings []taygaconf.Binding
	Program  string // how tayga was called, for commands
	// NoFile: the configuration is that of an option, as --clat, and of no file, or not alone.
	NoFile bool
	// Unterminated: the configuration file does not end in a line feed.
	Unterminated bool
	// Report is what the running daemon tells of itself, nil if none answers.
	Report  *status.Report
	Process Process
	Machine *Machine
}

// Process is what is known of the daemon's process beside its Report.
type Process struct {
	Args []string // that start it, empty if something else has to do that
	UID  int      // that it runs as, 0 if it does not run
	Unit string   // of systemd, that it belongs to or would, empty if none
	// Stale: the configuration file is another than when the process was started.
	Stale bool
}

// examination is a case with what was concluded so far.
type examination struct {
	Case
	findings []Finding
	maps     []taygaconf.Map // all of them
	clat     bool            // our side is the IPv4 one: hosts here have IPv4 and a map
	running  bool            // some daemon has the device
	anywhere bool            // with clat: the IPv6 address of the host is not known, or not its own
}

// Examine returns what is missing, in an order in which the commands can be run.
func Examine(c Case) []Finding {
	e := &examination{Case: c}
	for _, p := range c.Problems {
		s := Error
		if p.Warning {
			s = Warning
			p.Warning = false // is said already
		}
		e.add(s, "configuration", "%v", p)
	}
	switch {
	case !c.Problems.Failed():
	case c.Conf.Starts(c.Problems):
		e.add(Note, "configuration", "tayga skips the lines of %s with errors when it starts, and changes nothing on a reload", c.Conf.MapPath())
	default:
		e.add(Note, "configuration", "nothing else was checked, since the configuration is not valid")
		return e.findings
	}
	e.conclude()
	if e.Conf.CLAT.On {
		e.examineCLAT()
		return e.findings
	}
	e.checkConfigured()
	e.checkTunDriver()
	e.checkAdvertisements()
	e.checkIPv6()
	e.checkForwarding()
	e.checkDevice()
	e.checkOwnAddresses()
	e.checkCLATAddress()
	e.checkRoutes()
	e.checkMaps()
	e.checkUnmapped()
	e.checkReversePath()
	e.checkNeighbours()
	e.checkFirewall()
	e.checkMasquerading()
	e.checkSharedSource()
	e.checkSharedTarget()
	e.checkTracking()
	e.checkDaemon()
	e.checkRedirects()
	e.checkSharedHosts()
	e.checkSharedUse()
	e.checkPrivate()
	e.checkPathMTU()
	e.checkDNS64()
	e.checkOffloads()
	e.checkFastPath()
	return e.findings
}

// conclude works out what kind of translator the configuration makes on this
// machine.
func (e *examination) conclude() {
	e.maps = append(append(e.maps, e.Conf.Maps...), e.Maps...)
	e.clat = slices.ContainsFunc(e.maps, e.onOurSide)
	device, there := e.Machine.link(e.Conf.TunDevice)
	e.running = e.Report != nil || there && device.Running
}

// add takes a finding without a command down.
func (e *examination) add(s Severity, about, format string, args ...any) {
	e.fix(s, about, Change{}, format, args...)
}

// fix takes a finding down. Names of interfaces, tables and files may hold anything,
// and are part of text and command. A command that would have to be cleaned is another
// one, so there is none then.
func (e *examination) fix(s Severity, about string, c Change, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !plain.IsLine(c.Do) {
		c = Change{}
		text += " (the command is not shown: a name in it has control characters)"
	}
	if !plain.IsLine(c.Undo) {
		c.Undo = ""
	}
	e.findings = append(e.findings, Finding{s, about, plain.Line(text), c.Do, c.Undo, c})
}

// promised reports whether the daemon will lead packets for p to the device when
// it is started, or started anew, by tun-up, tun-ip and tun-route.
func (e *examination) promised(p netip.Prefix) bool {
	if e.running && !e.Process.Stale || !e.Conf.TunUp {
		return false
	}
	for _, list := range [][]netip.Prefix{e.Conf.TunRoutes, e.Conf.TunIPs} {
		for _, q := range list {
			if q.Masked().Bits() <= p.Bits() && q.Contains(p.Addr()) {
				return true
			}
		}
	}
	return false
}

// edit adds a line to the configuration file.
func (e *examination) edit(line string) Change {
	if e.Unterminated { // or else the line continues the last one
		return e.edited(fmt.Sprintf("printf '\\n%%s\\n' %s >>%s", quote(line), quote(e.Conf.File)))
	}
	return e.edited(fmt.Sprintf("echo %s >>%s", quote(line), quote(e.Conf.File)))
}
