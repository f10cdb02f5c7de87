package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/steppe-nat64/steppe/internal/autogw"
	"github.com/steppe-nat64/steppe/internal/hostnet"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// gatewayOptions returns what the command line says about a gateway.
func (o *options) gatewayOptions() (g autogw.Options, err error) {
	g = autogw.Options{LAN: o.lan, WAN: o.wan}
	if o.pool == "" {
		return g, nil
	}
	text := o.pool
	if !strings.Contains(text, "/") {
		text += "/32"
	}
	if g.Pool, err = netip.ParsePrefix(text); err != nil {
		return g, fmt.Errorf("--pool %s: this is no IPv4 address or prefix", o.pool)
	}
	return g, nil
}

// printGateway prints what --gateway would do.
func printGateway(o options, stdout, stderr io.Writer) int {
	script, err := o.gatewayScript()
	if err == nil {
		_, err = io.WriteString(stdout, script)
	}
	if err != nil {
		printError(stderr, err)
		return 1
	}
	return 0
}

// gatewayScript plans a gateway, which may run already, and returns the plan as a script.
func (o *options) gatewayScript() (string, error) {
	g, err := o.gatewayOptions()
	if err != nil {
		return "", err
	}
	g.Printed = true
	m, err := autogw.Look()
	if err != nil {
		return "", err
	}
	p, err := autogw.New(m, g)
	if err != nil {
		return "", err
	}
	commands, err := hostnet.Commands(p.Changes)
	return p.Script(commands), err
}

// planGateway makes the configuration of a gateway for this machine, when there is IPv4.
func (d *daemon) planGateway() error {
	if err := mayChangeNetwork(); err != nil {
		return err
	}
	g, err := d.o.gatewayOptions()
	if err != nil {
		return err
	}
	events, err := autogw.Watch()
	if err != nil {
		return err
	}
	p, err := d.awaitPlan(g, events.C)
	if err != nil {
		events.Close()
		return err
	}
	c, problems := taygaconf.Read(strings.NewReader(p.Config), "--gateway", os.LookupEnv)
	d.logProblems(problems)
	if problems.Failed() {
		events.Close()
		return errConfig
	}
	d.conf = c
	follower := &autogw.Follower{
		Options: g, Plan: p, Look: autogw.Look, Changed: events.C, Apply: d.changeNetwork,
		Log: func(warning bool, text string) {
			if warning {
				d.log.warningf("%s", text)
				return
			}
			d.log.noticef("%s", text)
		},
	}
	d.network = &network{policy: autogw.Policy(), begin: follower.Begin, run: follower.Run, close: func() { events.Close() }}
	return d.logPlan(p)
}

// awaitPlan waits until a gateway can be planned, or a signal ends the daemon.
func (d *daemon) awaitPlan(g autogw.Options, changed <-chan struct{}) (*autogw.Plan, error) {
	ctx, cancel := context.WithCancel(context.Background())
	var p *autogw.Plan
	planned := make(chan error)
	go func() {
		var err error
		p, err = autogw.Await(ctx, g, autogw.Look, changed, func(text string) { d.log.warningf("%s", text); d.log.flush() })
		planned <- err
	}()
	for {
		select {
		case err := <-planned:
			cancel()
			return p, err
		case sig := <-d.signals:
			if !ends(sig) {
				continue
			}
			cancel()
			<-planned
			return nil, errStopped
		}
	}
}

// dnsPatience is how long a resolver on this machine may take to answer.
const dnsPatience = 700 * time.Millisecond

// logPlan logs what was found, what will be changed, and what clients need besides.
func (d *daemon) logPlan(p *autogw.Plan) error {
	for _, line := range p.Found() {
		d.log.noticef("%s", line)
	}
	for _, line := range p.Notes {
		d.log.warningf("%s", line)
	}
	commands, err := hostnet.Commands(p.Changes)
	if err != nil {
		return err
	}
	for _, c := range commands {
		d.log.infof("To be set: %s", c)
	}
	ctx, cancel := context.WithTimeout(context.Background(), dnsPatience)
	defer cancel()
	if !p.Resolves(ctx) {
		d.log.warningf("Clients need a resolver with DNS64, and none answers on this machine: tayga --gateway --print has lines for BIND 9 and unbound")
	}
	d.log.noticef("Clients need a route to %v: tayga --gateway --print has lines for radvd", autogw.Prefix)
	return nil
}
