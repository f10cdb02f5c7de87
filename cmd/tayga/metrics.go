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
	err := metrics.Serve(d.metrics, func() *status.Report { return d.report(status.Request{What: status.Summary}) })
	if err != nil {
		d.log.warningf("metrics-listen: %v: no more metrics", err)
	}
}
