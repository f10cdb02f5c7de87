package doctor

import (
	"strings"

	"github.com/steppe-nat64/steppe/fastpath"
)

// checkFastPath looks for what has all packets go to the daemon: of the machine and of the
// configuration, where no daemon tells.
func (e *examination) checkFastPath() {
	if !e.Conf.FastPath {
		return
	}
	const text = "tayga translates all packets, and the kernel none: %s"
	device, _ := e.Machine.link(e.Conf.TunDevice)
	switch err := e.noFastPath(); {
	case err != nil:
		e.add(Note, "fast-path", "", text, strings.TrimPrefix(err.Error(), "fastpath: "))
	case device.Qdisc != "":
		e.add(Note, "fast-path", words("tc", "qdisc", "del", "dev", device.Name, "root"),
			text, "they would not pass the queueing discipline "+device.Qdisc+" of "+device.Name)
	}
}

// noFastPath returns what of the kernel or of the configuration keeps the fast path off.
func (e *examination) noFastPath() error {
	if err := e.Machine.NoFastPath; err != nil {
		return err
	}
	_, err := fastpath.NewRules(e.Conf.Translator(0), e.Conf.Table(e.Maps, nil))
	return err
}
