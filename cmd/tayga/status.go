package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/steppe-nat64/steppe/internal/autogw"
	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// askStatus prints the status of the running daemon.
func askStatus(o options, stdout, stderr io.Writer) int {
	what, err := status.ParseWhat(o.statusOf)
	if err != nil {
		printError(stderr, err)
		return 1
	}
	query, err := status.ParseQuery(o.selection)
	if err != nil {
		printError(stderr, err)
		return 1
	}
	path, err := statusPath(o)
	if err != nil {
		printError(stderr, err)
		return 1
	}
	if what == status.Sessions {
		err = listSessions(path, query, o.json, stdout, stderr)
	} else {
		err = showReport(path, what, o.json, stdout, stderr)
	}
	if err != nil {
		printError(stderr, err)
		return 1
	}
	return 0
}

// showReport prints a report.
func showReport(path string, what status.What, asJSON bool, stdout, stderr io.Writer) error {
	r, err := status.Ask(path, what)
	if err != nil {
		return err
	}
	note(r, path, stderr)
	if asJSON {
		return writeJSON(stdout, r)
	}
	return r.WriteTable(stdout)
}

// note adds to a report that it may be about another network namespace.
func note(r *status.Report, path string, stderr io.Writer) {
	if r.Note = whose(path, netnsInode("self"), r.Netns); r.Note != "" {
		printError(stderr, errors.New(r.Note))
	}
}

// whose says that the figures are not those of the network namespace own, or may not
// be: the socket is found by the name of the device, which others have as well. It
// goes with the figures, wherever these go.
func whose(path string, own, daemon uint64) string {
	switch {
	case own == 0 || daemon == 0:
		return fmt.Sprintf("it is not known whether the daemon that listens on %s runs in this network namespace", path)
	case own != daemon:
		return fmt.Sprintf("the daemon that listens on %s runs in another network namespace", path)
	}
	return ""
}

// statusPath finds the socket of the daemon with this configuration. A file that
// has got errors since the daemon started will do as far as it goes.
func statusPath(o options) (string, error) {
	if o.gateway {
		return status.DefaultPath(autogw.Device), nil
	}
	if path := withoutFile(o); path != "" {
		return path, nil
	}
	c, problems := o.load()
	switch {
	case c.StatusSocket == taygaconf.NoStatusSocket:
		return "", fmt.Errorf("%s: status-socket no: there is no socket to ask on", o.configFile)
	case c.StatusSocket != "":
		return c.StatusSocket, nil
	case c.TunDevice != "":
		return status.DefaultPath(c.TunDevice), nil
	}
	i := slices.IndexFunc(problems, func(p taygaconf.Problem) bool { return !p.Warning })
	if i < 0 {
		return "", fmt.Errorf("%s: no tun-device", o.configFile)
	}
	return "", problems[i]
}

// withoutFile finds the socket of a daemon that was started by --clat or --gateway, where no
// file says what else to ask.
func withoutFile(o options) string {
	if _, err := os.Stat(defaultConfig); o.configFile != defaultConfig || !errors.Is(err, os.ErrNotExist) {
		return ""
	}
	for _, device := range []string{taygaconf.CLATDevice, autogw.Device} {
		if path := status.DefaultPath(device); exists(path) {
			return path
		}
	}
	return ""
}
