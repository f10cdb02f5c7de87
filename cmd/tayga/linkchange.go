package main

import (
	"strings"
	"time"

	"github.com/steppe-nat64/steppe/internal/gateway"
	"github.com/steppe-nat64/steppe/translate"
	"github.com/steppe-nat64/steppe/tun"
)

// linkChanged takes note of a change of the device's link.
func (d *daemon) linkChanged(l tun.Link) {
	name := d.dev.Name()
	switch {
	case d.link.Up && !l.Up:
		d.log.noticef("Tun device %s is down: nothing arrives until it is up again", name)
	case !d.link.Up && l.Up:
		d.log.infof("Tun device %s is up", name)
	}
	if l.MTU != d.link.MTU {
		if err := d.setMTU(l.MTU); err != nil {
			d.log.warningf("Tun device %s has an MTU of %d now, less than the %d that IPv6 needs: going on with the one before", name, l.MTU, lowestMTU)
		} else {
			d.log.infof("Tun device %s has an MTU of %d now", name, l.MTU)
			if d.conf.MSSClamp == translate.MSSAuto {
				d.logMSS()
			}
		}
	}
	d.link = l
	if l.Up {
		d.restore()
	}
	d.reportForeign(time.Now())
	d.watchFastPath()
}

// setMTU tells the translator the MTU of the device.
func (d *daemon) setMTU(mtu int) error {
	_, err := d.gateway.Update(gateway.Changes{MTU: mtu})
	return err
}

// restore brings back what tun-ip and tun-route had added. An error is logged once, and
// does not end the daemon.
func (d *daemon) restore() {
	text := ""
	if err := restoreLink(d.conf, d.changer(), d.log.infof); err != nil {
		text = err.Error()
	}
	if text != "" && text != d.obstacle {
		for line := range strings.Lines(text) {
			d.log.errorf("%s: not there since the device was down", strings.TrimSuffix(line, "\n"))
		}
	}
	d.obstacle = text
}
