package main

import (
	"context"
	"fmt"
	"net"

	"github.com/steppe-nat64/steppe/internal/metrics"
	"github.com/steppe-nat64/steppe/internal/status"
)

// openMetrics opens the address on which metrics are served, if the
// configuration has one.
func (d *daemon) openMetrics() (err error) {
	if !d.conf.MetricsListen.IsValid() {
		return nil
	}
	// Landlock sees what becomes of plain TCP, and not of MPTCP, which is Go's choice.
	var plain net.ListenConfig
	plain.SetMultipathTCP(false)
	d.metrics, err = plain.Listen(context.Background(), "tcp", d.conf.MetricsListen.String())
	if err != nil {
		return fmt.Errorf("metrics-listen: %w", err)
	}
	return nil
}

// serveMetrics serves metrics until the process ends.
func (d *daemon) serveMetrics() {
	err := metrics.Serve(d.metrics, d.scrape)
	if err != nil {
		d.log.warningf("metrics-listen: %v: no more metrics", err)
	}
}

// scrape makes the report for metrics: with all shared addresses in their order, so that an
// address has the same series each time, and without the fullest subscribers.
func (d *daemon) scrape() *status.Report {
	r := d.figures()
	if t := d.gateway.Sessions(); t != nil {
		r.Shared.Addresses = addressesOf(t.Addresses())
	}
	return r
}
