package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/steppe-nat64/steppe/internal/clat"
	"github.com/steppe-nat64/steppe/internal/hostnet"
	"github.com/steppe-nat64/steppe/internal/sandbox"
	"github.com/steppe-nat64/steppe/internal/status"
)

// A network is the daemon's side of what follows the machine's network and changes it, for
// as long as the daemon runs: a CLAT, or a gateway without a file.
type network struct {
	policy  hostnet.Policy            // what may be changed
	manager *hostnet.Manager          // nil: the helper has it
	begin   func()                    // makes the first changes; may be nil
	run     func(ctx context.Context) // follows the network until ctx ends
	close   func()                    // what run needs; after run

	clat      *clat.Controller // nil: it is none
	seen      bool             // what follows is known
	resolvers []netip.Addr     // of the machine
	asleep    time.Duration    // how long the machine has been suspended

	end  context.CancelFunc // nil: run has not begun
	over sync.WaitGroup
	open bool // it can be changed
	left bool // all is undone
}

// mayChangeNetwork returns an error if the process has not what that takes.
func mayChangeNetwork() error {
	if sandbox.Permitted()&sandbox.NetAdmin == 0 {
		return errors.New("to change the network of this machine takes CAP_NET_ADMIN, and for a CLAT also CAP_NET_RAW: start tayga as root")
	}
	return nil
}

// networkPolicy says what the helper may change of the machine's network; nil is nothing.
func (d *daemon) networkPolicy() *hostnet.Policy {
	if d.network == nil {
		return nil
	}
	return &d.network.policy
}

// raiseDevice sets the device up before its offloads are tried, which takes that.
func (d *daemon) raiseDevice() error {
	if d.network == nil {
		return nil
	}
	if err := kernelLink(d.conf.TunDevice).Up(); err != nil {
		return fmt.Errorf("set device %s up: %w", d.conf.TunDevice, err)
	}
	return nil
}

// openNetwork has this process change the machine's network where no helper does, and undoes
// what a daemon that was killed has left.
func (d *daemon) openNetwork() (err error) {
	n := d.network
	if n == nil {
		return nil
	}
	if d.helper != nil { // which has done that
		n.open = true
		return nil
	}
	n.manager, err = hostnet.Open(status.Dir, n.policy)
	if n.manager == nil {
		return err
	}
	n.open = true
	if err != nil { // not all of that is undone
		d.log.warningf("%v", err)
	}
	return nil
}

// changeNetwork makes the machine's network be as listed.
func (d *daemon) changeNetwork(list []hostnet.Change) error {
	if m := d.network.manager; m != nil {
		return m.Apply(list)
	}
	return d.helper.Network(list)
}

// followNetwork begins to follow the network. It ends with leaveNetwork.
func (d *daemon) followNetwork() {
	n := d.network
	if n == nil {
		return
	}
	if n.begin != nil {
		n.begin()
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.end = cancel
	n.over.Go(func() { n.run(ctx) })
}

// leaveNetwork makes the machine's network as it was before. It may be called again.
func (d *daemon) leaveNetwork() {
	n := d.network
	if n == nil || n.left {
		return
	}
	n.left = true
	if n.end != nil {
		n.end()
		n.over.Wait()
	}
	n.close()
	if !n.open {
		return // the start has failed before
	}
	if err := d.changeNetwork(nil); err != nil {
		d.log.warningf("%v", err)
	}
	if n.manager != nil {
		n.manager.Close()
	}
}
