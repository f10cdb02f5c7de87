// Command tayga translates packets between IPv6 and IPv4 networks on a TUN
// device: NAT64, SIIT, CLAT. It replaces the TAYGA daemon, with the same command line,
// tayga.conf, files and log lines.
//
//	main.go       the command line and the exit status
//	options.go    getopt_long
//	daemon.go     the life of the daemon: start.go, then packets until it ends
//	start.go      the steps before the first packet, in TAYGA's order
//	startlog.go   the log lines of a start
//	signals.go    handlers of signals; reload.go SIGHUP
//	reattach.go   a device that was deleted; linkchange.go one that has changed
//	detach.go     into the background
//	device.go     the TUN device; link_linux.go its addresses and routes
//	pump.go       the packet loop of a worker
//	workers.go    the number of queues and workers
//	privileges.go user, group and root directory
//	helper.go     the process that keeps CAP_NET_ADMIN; helper_linux.go what it does
//	network.go    what follows and changes the machine's network; clat.go a CLAT; autogw.go --gateway;
//	              resolvers.go which resolvers it has
//	datadir.go    owner and lock of data-dir; pidfile.go, lock.go
//	sandbox.go    privileges that are dropped, and those that are kept
//	leases.go     the dynamic pool and its dynamic.map
//	mapfile.go    maps that are read again on SIGHUP
//	log.go        log sinks; syslog.go, journal.go
//	packetlog.go  lines about packets; stats.go counters
//	notify.go     systemd
//	state.go      device, refused packets, reloads; report.go the report made of it,
//	              sharedreport.go its part about shared addresses
//	statussocket.go serves the report; metrics.go serves it to Prometheus
//	status.go     --status: queries a running daemon; sessionlist.go --status=sessions
//	doctor.go     --doctor: what is missing on the machine; fix.go runs its commands,
//	              undo.go undoes them, consent.go asks before that
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime/debug"

	"github.com/steppe-nat64/steppe/internal/plain"
	"github.com/steppe-nat64/steppe/internal/privsep"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// release is the version of a release, set by the linker.
var release string

// version returns the version of this program, and whose it is.
func version() string {
	v := release
	if v == "" {
		v = "devel"
		if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
			v = info.Main.Version
		}
	}
	return v + " (steppe)"
}

var wellKnownPrefix = netip.MustParsePrefix("64:ff9b::/96")

func main() {
	if privsep.Marked() {
		os.Exit(help())
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without its globals.
func run(args []string, stdout, stderr io.Writer) int {
	stdout, stderr = plain.Writer{W: stdout}, plain.Writer{W: stderr}
	o, err := parseOptions(args)
	if err != nil {
		printError(stderr, err)
		fmt.Fprintln(stderr, "Try 'tayga --help' for more information.")
		return 1
	}
	if o.doctor || o.fix {
		o = o.ofCLAT()
	}
	switch {
	case o.help:
		io.WriteString(stderr, usageText)
		return 0
	case o.version:
		fmt.Fprintf(stdout, "tayga %s\n", version())
		return 0
	case o.check:
		return check(o, stdout)
	case o.print:
		return printGateway(o, stdout, stderr)
	case o.fix:
		return fix(o, stdout, stderr)
	case o.undo:
		return undo(o, stdout, stderr)
	case o.doctor:
		return examine(o, stdout, stderr)
	case o.statusOf != "":
		return askStatus(o, stdout, stderr)
	case o.mktun || o.rmtun:
		return manageDevice(o, stdout, stderr)
	}
	p := findParent()
	if !o.foreground && p == nil {
		return detach(args, stderr)
	}
	return serve(o, p, stderr)
}

func printError(w io.Writer, err error) { say(w, "tayga: %v", err) }

// say prints one line, whatever comes with the arguments.
func say(w io.Writer, format string, args ...any) error {
	_, err := io.WriteString(w, plain.Line(fmt.Sprintf(format, args...))+"\n")
	return err
}

// writeJSON prints a value, indented, without control characters.
func writeJSON(w io.Writer, value any) error {
	b, err := encodeJSON(value, "")
	if err == nil {
		_, err = w.Write(b)
	}
	return err
}

// encodeJSON encodes a value for writeJSON. Its lines begin with prefix, but for the first.
func encodeJSON(value any, prefix string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // commands are to be read
	enc.SetIndent(prefix, "  ")
	err := enc.Encode(value)
	return plain.JSON(b.Bytes()), err
}

// load reads the configuration, and what is wrong with it. A CLAT needs no file.
func (o *options) load() (*taygaconf.Config, taygaconf.Problems) {
	if o.clat {
		return taygaconf.LoadCLAT(o.configFile, os.LookupEnv)
	}
	return taygaconf.Load(o.configFile, os.LookupEnv)
}

// loadAll reads the configuration and its map-file, and what is wrong with them.
func loadAll(o options) (c *taygaconf.Config, maps taygaconf.MapFile, problems taygaconf.Problems) {
	c, problems = o.load()
	if problems.Failed() || c.MapFile == "" {
		return c, maps, problems
	}
	maps, more, err := c.LoadMaps(c.MapPath())
	if err != nil {
		more = append(more, taygaconf.Problem{File: c.File, Directive: "map-file", Text: err.Error()})
	}
	return c, maps, append(problems, more...)
}

// check reads the configuration and says what is wrong with it.
func check(o options, w io.Writer) int {
	c, maps, problems := loadAll(o)
	if !problems.Failed() && c.Sandbox {
		problems = append(problems, warnings(c.File, wideReaches(c, o))...)
	}
	for _, p := range problems {
		say(w, "%v", p)
	}
	if problems.Failed() {
		return 1
	}
	for _, line := range c.Advice(maps.Maps) {
		say(w, "%v", line)
	}
	if warning := checkOwner(c); warning != "" {
		say(w, "%s: warning: %s", c.File, warning)
	}
	say(w, "%s: OK", c.File)
	return 0
}

// manageDevice makes the device persistent or removes it. It needs a complete
// tayga.conf, although all it takes from there is the name.
func manageDevice(o options, stdout, stderr io.Writer) int {
	c, problems := o.load()
	for _, p := range problems {
		say(stdout, "%v", p)
	}
	if problems.Failed() {
		return 1
	}
	if o.user != "" || o.group != "" || o.chroot {
		fmt.Fprintln(stderr, "tayga: --user, --group and --chroot make no sense with --mktun and --rmtun")
		return 1
	}
	act, done := makeDevice, "Created"
	if o.rmtun {
		act, done = removeDevice, "Removed"
	}
	if err := act(c); err != nil {
		say(stdout, "%v", err)
		return 1
	}
	say(stdout, "%s persistent tun device %s", done, c.TunDevice)
	return 0
}
