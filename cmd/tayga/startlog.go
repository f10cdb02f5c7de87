package main

import (
	"fmt"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// logStartup logs the lines that tell what this daemon does. Scripts look for
// some of them.
func (d *daemon) logStartup(more taygaconf.MapFile) {
	c := d.conf
	d.logDevice()
	d.log.infof("TAYGA's IPv4 address: %s", c.IPv4)
	if c.IPv6.IsValid() { // a CLAT has none
		d.log.infof("TAYGA's IPv6 address: %s", c.IPv6)
	}
	for _, p := range c.Prefixes {
		d.log.infof("NAT64 prefix: %s", p)
		if p == wellKnownPrefix && c.WKPFStrict {
			d.log.noticef("Note: %s is for public IPv4 addresses only: private ones will not pass. To change that, add wkpf-strict no or use another prefix", p)
		}
	}
	for _, l := range c.PoolLines() {
		if l.Pref64.IsValid() {
			d.log.infof("Dynamic pool: %s via %s", l.Prefix, l.Pref64)
			continue
		}
		d.log.infof("Dynamic pool: %s", l.Prefix)
	}
	if len(c.Pools) > 0 && c.DataDir == "" {
		d.log.noticef("Note: without a data-dir, leases of the dynamic pool are forgotten when tayga ends")
	}
	d.logShared(more)
	d.logMSS()
	if n := len(c.Maps) + len(more.Maps); n > 0 {
		d.log.debugf("Static maps: %d in %s, %d in the map-file", len(c.Maps), c.File, len(more.Maps))
	}
}

// logMSS logs what the MSS of TCP connections is lowered to, if it is.
func (d *daemon) logMSS() {
	if n := d.gateway.LargestMSS(); n > 0 {
		d.log.infof("tcp-mss-clamp: %d bytes", n)
	}
}

// logShared logs which addresses hosts share.
func (d *daemon) logShared(more taygaconf.MapFile) {
	c := &d.conf.Stateful
	for _, p := range c.Pools {
		via := ""
		if p.Pref64.IsValid() {
			via = fmt.Sprintf(" via %s", p.Pref64)
		}
		d.log.infof("Shared addresses: %s, ports %d-%d%s", p.Prefix, p.Low, p.High, via)
	}
	if len(c.Pools) > 0 && d.conf.DataDir == "" {
		d.log.noticef("Note: without a data-dir, sessions end when tayga ends")
	}
	if n := len(c.Bindings) + len(more.Bindings); n > 0 {
		d.log.debugf("Static bindings: %d in %s, %d in the map-file", len(c.Bindings), d.conf.File, len(more.Bindings))
	}
}

func (d *daemon) logDevice() {
	d.log.infof("Using tun device %s with MTU %d", d.dev.Name(), d.link.MTU)
	d.reportOwner()
}

// logWarnings logs what in the tables is allowed and probably not meant.
func (d *daemon) logWarnings() {
	const most = 20
	lines := d.gateway.Warnings()
	for _, line := range lines[:min(len(lines), most)] {
		d.log.warningf("%s", line)
	}
	if n := len(lines) - most; n > 0 {
		d.log.warningf("%d more warnings like these", n)
	}
}
