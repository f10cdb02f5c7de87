package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/steppe-nat64/steppe/internal/privsep"
	"github.com/steppe-nat64/steppe/internal/sandbox"
	"github.com/steppe-nat64/steppe/tun"
)

// startHelper starts the process that keeps CAP_NET_ADMIN when this one drops it, if it
// has the capability, and if it could need it later: to attach to the device again, or to
// set it up again.
func (d *daemon) startHelper(id identity) {
	d.free = attachesFreely(d.conf, id)
	drops := d.conf.Sandbox || id.uid > 0
	d.free = d.free && d.networkPolicy() == nil
	d.free = d.free || sandbox.Permitted()&sandbox.NetAdmin == 0 // which no process has
	if !drops || d.free && d.fast.path == nil {
		return
	}
	var err error
	if d.helper, err = privsep.Start(d.conf.TunDevice, d.fast.program()); err != nil {
		d.noHelper(id, err)
	}
}

// configureHelper says what the helper may do. It is to have the offloads that were tried.
func (d *daemon) configureHelper(id identity) {
	if d.helper == nil {
		return
	}
	tc := tunConfig(d.conf)
	tc.Owner = &d.owner
	err := d.helper.Configure(privsep.Config{
		Device: tc, Up: d.conf.TunUp, IPs: d.conf.TunIPs, Routes: d.conf.TunRoutes, Sandbox: d.conf.Sandbox,
		Admin: !d.free, FastPath: d.fast.path != nil, Network: d.networkPolicy(),
	})
	if err != nil {
		d.noHelper(id, err)
	}
}

// awaitHelper waits until the helper works: from now on this process can do without the
// capability.
func (d *daemon) awaitHelper(id identity) {
	if d.helper == nil {
		return
	}
	text, err := d.helper.Ready()
	if err != nil {
		d.noHelper(id, err)
		return
	}
	text, trouble, _ := strings.Cut(text, "\n")
	d.log.infof("Privileged helper: process %d; sandbox: %s", d.helper.PID(), text)
	if trouble != "" {
		d.log.warningf("%s", trouble)
	}
}

// noHelper says what it means that there is none: another user has no capabilities.
func (d *daemon) noHelper(id identity, err error) {
	if d.helper != nil {
		d.helper.Close()
		d.helper = nil
	}
	means := "this process keeps the capability to set up the device again"
	switch {
	case d.free: // it was for the fast path alone
		means = "the fast path ends with the device"
	case id.uid > 0 && !id.held():
		means = "a device that is deleted cannot be set up again"
	}
	d.log.warningf("No privileged helper: %v: %s", err, means)
}

// attachesByHelper reports whether the helper attaches to the device and sets it up, and not
// this process.
func (d *daemon) attachesByHelper() bool { return d.helper != nil && !d.free }

// openAgain is openDevice after the start.
func (d *daemon) openAgain() (device, []queue, tun.Link, error) {
	if !d.attachesByHelper() {
		return openDevice(d.conf, d.owner)
	}
	dev, queues, link, err := attachBy(d.conf, d.helper.Attach)
	if errors.Is(err, privsep.ErrEnded) {
		err = fmt.Errorf("attach to tun device %s: %w", d.conf.TunDevice, err)
	}
	return dev, queues, link, err
}

// changer is by whom the link is changed after the start.
func (d *daemon) changer() linkChanger {
	if !d.attachesByHelper() {
		return kernelLink(d.conf.TunDevice)
	}
	return d.helper
}

// helperEnded is closed when the helper has ended, nil if there is none or its end was
// reported.
func (d *daemon) helperEnded() <-chan struct{} {
	if d.helper == nil || d.lost {
		return nil
	}
	return d.helper.Ended()
}

// helperLost reports whether there was a helper.
func (d *daemon) helperLost() bool { return d.helper != nil && !d.helper.Alive() }

// reportHelper says that the helper has ended. Packets pass as before, which is why the
// daemon goes on.
func (d *daemon) reportHelper() {
	means := "cannot be attached to or set up again"
	if d.free {
		means = "has its fast path until it is deleted"
	}
	d.log.errorf("The privileged helper, process %d, has ended: tun device %s %s: restart tayga", d.helper.PID(), d.conf.TunDevice, means)
	d.lost = true
	d.notifier.send(d.status())
}

// closeHelper ends the helper.
func (d *daemon) closeHelper() {
	if d.helper != nil {
		d.helper.Close()
	}
}
