package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/steppe-nat64/steppe/internal/doctor"
	"github.com/steppe-nat64/steppe/internal/safepath"
	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// examine looks at the machine and the configuration and prints what is missing.
// The exit status is 2 if something keeps packets from being translated, 1 if
// something may, else 0.
func examine(o options, stdout, stderr io.Writer) int {
	findings, _, err := diagnose(o)
	if err != nil {
		printError(stderr, err)
		return 2
	}
	if o.json {
		if findings == nil {
			findings = []doctor.Finding{}
		}
		err = writeJSON(stdout, findings)
	} else {
		err = printFindings(stdout, o, findings)
	}
	if err != nil {
		printError(stderr, err)
		return 2
	}
	return int(worst(findings))
}

// clatConfig is what the unit steppe-clat reads.
const clatConfig = "/etc/steppe-clat.conf"

// ofCLAT returns the options of the CLAT that runs, where no file is named: with --clat, and
// on a machine without a tayga.conf. No other file is taken from what the daemon reports: an
// attacker may have taken it over.
func (o options) ofCLAT() options {
	_, err := os.Stat(defaultConfig)
	if named := o.configFile != ""; named && (o.configFile != defaultConfig || !errors.Is(err, os.ErrNotExist)) {
		return o
	}
	r, err := status.Ask(status.DefaultPath(taygaconf.CLATDevice), status.Summary)
	if err != nil || r.CLAT == nil || r.Netns != netnsInode("self") {
		return o
	}
	o.clat, o.configFile = true, ""
	if r.Config == clatConfig {
		o.configFile = clatConfig
	}
	return o
}

// printFindings prints findings as lines.
func printFindings(w io.Writer, o options, findings []doctor.Finding) (err error) {
	for _, f := range findings {
		err = say(w, "%v", f)
	}
	if worst(findings) == doctor.Note {
		err = say(w, "%s: nothing is missing", o.source())
	}
	return err
}

// source names where the configuration is from.
func (o *options) source() string {
	if o.configFile == "" {
		return "--clat"
	}
	return o.configFile
}

// worst returns the greatest severity of findings.
func worst(findings []doctor.Finding) doctor.Severity {
	severity := doctor.Note
	for _, f := range findings {
		severity = max(severity, f.Severity)
	}
	return severity
}

// diagnose looks at the machine and the configuration and returns what is missing.
func diagnose(o options) ([]doctor.Finding, *doctor.Machine, error) {
	m, err := doctor.Look()
	if err != nil {
		return nil, nil, err
	}
	if o.resolve != nil {
		m.Resolve = o.resolve
	}
	c, more, problems := loadAll(o)
	x := doctor.Case{Conf: c, Problems: problems, Maps: more.Maps, Bindings: more.Bindings, Program: os.Args[0], Machine: m}
	if strings.Contains(x.Program, "/") { // commands may be run from elsewhere
		if path, err := filepath.Abs(x.Program); err == nil {
			x.Program = path
		}
	}
	x.NoFile = o.clat
	if o.configFile != "" { // else --clat stands for it
		x.Conf.File, _ = filepath.Abs(c.File)
		x.Unterminated = unterminated(x.Conf.File)
	}
	if c.Starts(problems) {
		x.Report, x.Process = askDaemon(c)
	}
	return doctor.Examine(x), m, nil
}

// unterminated reports whether a file has text and does not end in a line feed.
func unterminated(path string) bool {
	f, err := safepath.OpenRegular(nil, path)
	if err != nil {
		return false
	}
	defer f.Close()
	last := make([]byte, 1)
	if _, err := f.Seek(-1, io.SeekEnd); err != nil {
		return false
	}
	_, err = f.Read(last)
	return err == nil && last[0] != '\n'
}

// askDaemon finds the daemon of this network namespace that runs with a
// configuration, and what started it.
func askDaemon(c *taygaconf.Config) (*status.Report, doctor.Process) {
	path := c.StatusSocket
	switch path {
	case taygaconf.NoStatusSocket:
		return nil, doctor.Process{Unit: unitOf(c.File)}
	case "":
		path = status.DefaultPath(c.TunDevice)
	}
	r, err := status.Ask(path, status.Summary)
	if err != nil || r.Netns != netnsInode("self") || r.Device.Name != c.TunDevice {
		return nil, doctor.Process{Unit: unitOf(c.File)}
	}
	return r, processOf(r, c)
}

// unitOf returns the systemd service that would run with a configuration file,
// empty if there is none or it would run in another network namespace.
func unitOf(file string) string {
	name := "tayga.service"
	if file == "--clat" || file == "/etc/steppe-clat.conf" {
		name = "steppe-clat.service"
	} else if file != defaultConfig {
		instance, ok := strings.CutSuffix(filepath.Base(file), ".conf")
		if !ok || filepath.Dir(file) != "/etc/tayga" {
			return ""
		}
		name = "tayga@" + instance + ".service"
	}
	if netnsInode("self") != netnsInode("1") {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "systemctl", "show", "--property=ExecStart", name).Output()
	if err != nil || !strings.Contains(string(out), " "+file+" ") {
		return ""
	}
	return name
}

// unit is the systemd service in /proc/PID/cgroup: cgroups(7).
var unit = regexp.MustCompile(`(?m)/([^/\n]+\.service)$`)

// processOf looks up what is known of the daemon's process.
func processOf(r *status.Report, c *taygaconf.Config) (p doctor.Process) {
	if fi, err := os.Stat(c.File); err == nil {
		p.Stale = !fi.ModTime().Equal(r.ConfigModified)
	}
	dir := fmt.Sprintf("/proc/%d", r.PID)
	if fi, err := os.Stat(dir); err == nil {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			p.UID = int(st.Uid)
		}
	}
	// systemd tells a process that it started so, and not that one's children.
	environ, _ := os.ReadFile(dir + "/environ")
	if slices.Contains(strings.Split(string(environ), "\x00"), fmt.Sprintf("SYSTEMD_EXEC_PID=%d", r.PID)) {
		text, _ := os.ReadFile(dir + "/cgroup")
		if m := unit.FindSubmatch(text); m != nil {
			p.Unit = string(m[1])
		}
	}
	text, err := os.ReadFile(dir + "/cmdline")
	if err != nil {
		return p
	}
	args := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	if o, err := parseOptions(args[1:]); err == nil && !o.foreground {
		p.Args = args
	}
	return p
}
