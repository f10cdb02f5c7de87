package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/steppe-nat64/steppe/internal/doctor"
	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// examine looks at the machine and the configuration and prints what is missing.
// The exit status is 2 if something keeps packets from being translated, 1 if
// something may, else 0.
func examine(o options, stdout, stderr io.Writer) int {
	m, err := doctor.Look()
	if err != nil {
		complain(stderr, err)
		return 2
	}
	c, more, problems := loadAll(o)
	x := doctor.Case{Conf: c, Problems: problems, Maps: more, Program: os.Args[0], Machine: m}
	x.Conf.File, _ = filepath.Abs(c.File) // commands may be run from elsewhere
	if !problems.Failed() {
		x.Report, x.Process = askDaemon(c)
	}
	findings := doctor.Examine(x)

	worst := doctor.Note
	for _, f := range findings {
		worst = max(worst, f.Severity)
	}
	if o.json {
		if findings == nil {
			findings = []doctor.Finding{}
		}
		enc := json.NewEncoder(stdout)
		enc.SetEscapeHTML(false) // commands are to be read
		enc.SetIndent("", "  ")
		err = enc.Encode(findings)
	} else {
		for _, f := range findings {
			fmt.Fprintln(stdout, f)
		}
		if len(findings) == 0 {
			_, err = fmt.Fprintf(stdout, "%s: nothing is missing\n", o.configFile)
		}
	}
	if err != nil {
		complain(stderr, err)
		return 2
	}
	return int(worst)
}

// askDaemon finds the daemon of this network namespace that runs with a
// configuration, and what started it.
func askDaemon(c *taygaconf.Config) (*status.Report, doctor.Process) {
	path := c.StatusSocket
	switch path {
	case taygaconf.NoStatusSocket:
		return nil, doctor.Process{}
	case "":
		path = status.DefaultPath(c.TunDevice)
	}
	r, err := status.Ask(path, status.Summary)
	if err != nil || r.Netns != netnsInode() || r.Device.Name != c.TunDevice {
		return nil, doctor.Process{}
	}
	return r, processOf(r, c)
}

// unit is the systemd service in /proc/PID/cgroup: cgroups(7).
var unit = regexp.MustCompile(`(?m)/([^/\n]+\.service)$`)

// processOf looks up what is known of the daemon's process.
func processOf(r *status.Report, c *taygaconf.Config) (p doctor.Process) {
	if fi, err := os.Stat(c.File); err == nil {
		p.Stale = fi.ModTime().After(r.Started)
	}
	dir := fmt.Sprintf("/proc/%d", r.PID)
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
