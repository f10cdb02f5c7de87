package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/steppe-nat64/steppe/internal/autogw"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// gatewayOptions returns what the command line says about a gateway.
func (o *options) gatewayOptions() (g autogw.Options, err error) {
	g = autogw.Options{LAN: o.lan, WAN: o.wan}
	if o.pool == "" {
		return g, nil
	}
	if g.Pool, err = netip.ParsePrefix(o.pool); err != nil {
		return g, fmt.Errorf("--pool: %s is no prefix such as 192.0.2.0/28", o.pool)
	}
	return g, nil
}

// printGateway prints what --gateway would do.
func printGateway(o options, stdout, stderr io.Writer) int {
	g, err := o.gatewayOptions()
	if err != nil {
		printError(stderr, err)
		return 1
	}
	m, err := autogw.Look()
	var p *autogw.Plan
	if err == nil {
		p, err = autogw.New(m, g)
	}
	if err != nil {
		printError(stderr, err)
		return 1
	}
	var commands []string
	for _, c := range p.Changes {
		commands = append(commands, c.Command())
	}
	io.WriteString(stdout, p.Script(commands))
	return 0
}

// planGateway makes the configuration of a gateway for this machine, when there is IPv4.
func (d *daemon) planGateway() error {
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
	for _, line := range append(p.Found(), p.Notes...) {
		d.log.noticef("%s", line)
	}
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
	d.network = &network{policy: autogw.Policy(), run: follower.Run, close: func() { events.Close() }}
	d.logNeeds(p)
	return nil
}

// awaitPlan waits until a gateway can be planned, or a signal ends the daemon.
func (d *daemon) awaitPlan(g autogw.Options, changed <-chan struct{}) (*autogw.Plan, error) {
	ctx, cancel := context.WithCancel(context.Background())
	var p *autogw.Plan
	planned := make(chan error)
	go func() {
		var err error
		p, err = autogw.Await(ctx, g, autogw.Look, changed, func(text string) { d.log.noticef("%s", text); d.log.flush() })
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

// logNeeds says what clients need besides.
func (d *daemon) logNeeds(p *autogw.Plan) {
	for _, n := range p.Needs() {
		d.log.noticef("Clients need %s: tayga --gateway --print has the lines", n.What)
	}
}
