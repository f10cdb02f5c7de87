package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/steppe-nat64/steppe/tun"
)

// How long, and how often, to look for a device that was deleted.
const (
	absence  = time.Minute
	glancing = 200 * time.Millisecond
)

// reattach waits until somebody has made the device again, and attaches to it.
// A process that gave up its privileges may find that it cannot.
func (d *daemon) reattach(signals <-chan os.Signal) error {
	look := time.NewTicker(glancing)
	defer look.Stop()
	late := time.After(absence)
	for {
		if deviceExists(d.conf.TunDevice) {
			dev, queues, link, err := openDevice(d.conf, d.owner)
			if err == nil {
				d.dev, d.queues, d.link, d.foreign = dev, queues, link, foreign{}
				break
			}
			// Who made it may not have let go of it yet, or may have deleted it again.
			if !errors.Is(err, tun.ErrBusy) && deviceExists(d.conf.TunDevice) {
				return err
			}
		}
		select {
		case sig := <-signals:
			if err := d.signal(sig); err != nil {
				return err
			}
		case <-late:
			return fmt.Errorf("tun device %s did not come back", d.conf.TunDevice)
		case <-look.C:
		}
	}
	if err := setUpLink(d.conf, d.log.infof); err != nil {
		d.dev.Close()
		if !deviceExists(d.conf.TunDevice) {
			err = tun.ErrGone
		}
		return err
	}
	d.vitals.attached(d.dev, d.queues, d.link)
	d.introduceDevice()
	return d.setMTU(d.link.MTU)
}
