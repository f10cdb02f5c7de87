package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/steppe-nat64/steppe/internal/clat"
	"github.com/steppe-nat64/steppe/internal/gateway"
	"github.com/steppe-nat64/steppe/internal/hostnet"
	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// prepareCLAT opens the sockets of a CLAT, which takes CAP_NET_RAW.
func (d *daemon) prepareCLAT() error {
	if err := mayChangeNetwork(); err != nil {
		return err
	}
	c := &d.conf.CLAT
	config := clat.Config{
		Device: d.conf.TunDevice, Uplink: c.Uplink, Address: clat.Address{Mode: modes[c.Address.Mode], Addr: c.Address.Fixed},
		Servers: c.Resolvers, Share: c.Share, Guard: !c.Inbound, Secret: secret(),
		Resolvers: d.resolvers, Apply: d.changeNetwork, Update: d.translateFor, Log: d.logCLAT,
	}
	if len(d.conf.Prefixes) > 0 {
		config.Prefix = d.conf.Prefixes[0]
	}
	control, err := clat.Open(config)
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: a CLAT takes CAP_NET_RAW: start it as root", err)
	case err != nil:
		return err
	}
	d.network = &network{
		policy: hostnet.Policy{Device: d.conf.TunDevice},
		clat:   control,
		run: func(ctx context.Context) {
			if err := control.Run(ctx); err != nil && ctx.Err() == nil {
				d.log.errorf("%v", err)
			}
		},
		close: func() { control.Close() },
	}
	return nil
}

// modes are those of addresses, by those of tayga.conf.
var modes = map[taygaconf.CLATMode]clat.Mode{
	taygaconf.CLATAuto: clat.Auto, taygaconf.CLATOwn: clat.Own, taygaconf.CLATShared: clat.Shared, taygaconf.CLATFixed: clat.Fixed,
}

// secret is what the stable addresses of this machine depend on: RFC 7217 §5. A machine
// without machine-id(5) gets other addresses with each start.
func secret() []byte {
	text, err := os.ReadFile("/etc/machine-id")
	if id := strings.TrimSpace(string(text)); err == nil && len(id) >= 32 {
		sum := sha256.Sum256([]byte("steppe CLAT address\x00" + id))
		return sum[:]
	}
	key := make([]byte, sha256.Size)
	rand.Read(key)
	return key
}

// translateFor has the translator use a prefix for the programs of this machine.
func (d *daemon) translateFor(t clat.Translation) error {
	_, err := d.gateway.Update(gateway.Changes{
		CLAT: &gateway.CLAT{Prefix: t.Prefix, Host4: t.Host4, Host6: t.Host6, IPv4: t.Own4, IPv6: t.Own6},
		Now:  time.Since(started),
	})
	return err
}

// logCLAT logs what happens to the CLAT.
func (d *daemon) logCLAT(s clat.Severity, text string) {
	switch s {
	case clat.Warning:
		d.log.warningf("%s", text)
	case clat.Info:
		d.log.noticef("%s", text)
	default:
		d.log.debugf("%s", text)
	}
	d.log.flush()
}

// resolvers returns the resolvers of the machine.
func (d *daemon) resolvers() []netip.AddrPort {
	const domain = 53
	var all []netip.AddrPort
	for _, a := range d.machineResolvers() {
		all = append(all, netip.AddrPortFrom(a, domain))
	}
	return all
}

// machineResolvers asks the helper, if there is one: this process opens no such files.
func (d *daemon) machineResolvers() []netip.Addr {
	if d.helper == nil {
		return readResolvConf()
	}
	addrs, err := d.helper.Resolvers()
	if err != nil {
		return nil
	}
	return addrs
}

// watchCLAT looks, once a second, for what no event tells of: other resolvers, and that the
// machine was suspended.
func (d *daemon) watchCLAT() {
	if d.network == nil || d.network.clat == nil {
		return
	}
	n := d.network
	addrs, asleep := d.machineResolvers(), suspended()
	if n.seen && (!slices.Equal(addrs, n.resolvers) || asleep > n.asleep+time.Second) {
		n.clat.Resumed()
	}
	n.seen, n.resolvers, n.asleep = true, addrs, asleep
}

// suspended returns for how long the machine has been suspended since it was booted.
func suspended() time.Duration {
	up, _ := uptime()
	return up - monotonicNow()
}

// clatReport returns the part of a report about the CLAT, nil without one.
func (d *daemon) clatReport() *status.CLAT {
	if d.network == nil || d.network.clat == nil {
		return nil
	}
	r := d.network.clat.Report()
	s := &status.CLAT{
		State: string(r.State), Since: r.Since, Carrier: string(r.Carrier), NativeDevice: r.NativeDevice,
		Uplink: r.Uplink, Source: r.Source, MTU: r.MTU, Why: r.Why,
		LastError: r.LastError, ErrorTime: r.ErrorTime,
		PrefixChanges: r.PrefixChanges, Conflicts: r.Conflicts, RefusedPrefixes: r.RefusedPrefixes,
	}
	if r.Prefix.IsValid() {
		s.Prefix = r.Prefix.String()
	}
	if r.Router.IsValid() {
		s.Router = r.Router.String()
	}
	if r.Host6.IsValid() {
		s.IPv4, s.IPv6, s.Address = r.Host4.String(), r.Host6.String(), r.Mode.String()
	}
	return s
}
