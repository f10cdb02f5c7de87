package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/steppe-nat64/steppe/tun"
)

// How long, and how often, to poll for a device that was deleted.
const (
	maxAbsence   = time.Minute
	pollInterval = 200 * time.Millisecond
)

// reattach waits until the device exists again, and attaches to it.
// A process that gave up its privileges may find that it cannot.
func (d *daemon) reattach(signals <-chan os.Signal) error {
	look := time.NewTicker(pollInterval)
	defer look.Stop()
	late := time.After(maxAbsence)
	for {
		if deviceExists(d.conf.TunDevice) {
			dev, queues, link, err := d.openAgain()
			if err == nil {
				d.dev, d.queues, d.link, d.foreign = dev, queues, link, foreign{}
				break
			}
			// The program that made it may still be attached, or may have deleted it again.
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
	if err := setUpLink(d.conf, d.changer(), d.log.infof); err != nil {
		d.dev.Close()
		if !deviceExists(d.conf.TunDevice) {
			err = tun.ErrGone
		}
		return err
	}
	d.state.attached(d.dev, d.queues, d.link)
	d.logDevice()
	d.attachFastPath()
	if err := d.setMTU(d.link.MTU); err != nil {
		return err
	}
	d.startFastPath()
	return nil
}
