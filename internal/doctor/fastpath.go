package doctor

import (
	"errors"
	"fmt"
	"strings"

	"github.com/steppe-nat64/steppe/fastpath"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// checkFastPath says why the daemon translates all packets, if it does and is not asked to.
func (e *examination) checkFastPath() {
	if !e.Conf.FastPath {
		return
	}
	err := e.noFastPath()
	if err == nil {
		return
	}
	text, c := strings.TrimPrefix(err.Error(), "fastpath: "), Change{}
	switch device, _ := e.Machine.link(e.Conf.TunDevice); {
	case device.Bypassed == "clsact":
		c = unqueued(device.Name, "filter", "del", "dev", device.Name, "egress")
	case device.Bypassed != "":
		c = unqueued(device.Name, "qdisc", "del", "dev", device.Name, "root")
	case strings.Contains(text, "operation not permitted"), strings.Contains(text, "permission denied"):
		text += " (to load it takes CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and the system call bpf)"
	}
	e.fix(Note, "fast-path", c, "the kernel translates nothing by itself, and tayga all packets: %s", text)
}

// unqueued takes something from the way out of a device. No command is known that brings
// it back, with what it was told.
func unqueued(link string, args ...string) Change {
	return Change{Do: words(append([]string{"tc"}, args...)...), Touches: []Touch{{Kind: Queueing, Link: link}}}
}

// noFastPath returns what keeps the fast path off: what the daemon says, or without one what
// it would find in the configuration and on the machine.
func (e *examination) noFastPath() error {
	if e.Report != nil {
		f := e.Report.FastPath
		switch {
		case f == nil: // a daemon before it
			return nil
		case !f.On:
			return errors.New(f.Off)
		}
		return e.bypassed() // the daemon looks every ten seconds
	}
	if e.Conf.Log&^taygaconf.LogDyn != 0 {
		return errors.New("a packet log (log drop, reject, icmp or self) is to see each packet")
	}
	if err := e.Machine.NoFastPath; err != nil {
		return err
	}
	if err := e.bypassed(); err != nil {
		return err
	}
	_, err := fastpath.NewRules(e.Conf.Translator(0), e.Conf.Table(e.Maps, nil))
	return err
}

// bypassed returns what packets of the fast path would not pass at the device.
func (e *examination) bypassed() error {
	if device, _ := e.Machine.link(e.Conf.TunDevice); device.Bypassed != "" {
		return fmt.Errorf("%s has the queueing discipline %s, which it would bypass", device.Name, device.Bypassed)
	}
	return nil
}
