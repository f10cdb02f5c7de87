package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/steppe-nat64/steppe/internal/report"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// run shows everything and reports whether all of it worked. It leaves nothing
// behind, also when ctx ends before it does.
func run(ctx context.Context, w io.Writer, o options) bool {
	r := &report.Report{W: w}
	if err := show(ctx, r, o); err != nil {
		r.Check("laboratory", func() (string, error) { return "", err })
	}
	return summary(r)
}

// show builds the laboratory, runs the checks and tears it down. An error means
// that it did not come to the checks.
func show(ctx context.Context, r *report.Report, o options) error {
	tayga, err := filepath.Abs(o.tayga)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "steppe-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	lab, err := netlab.Open()
	if err != nil {
		return err
	}
	defer lab.Close()

	x := build(lab)
	if o.pcap != "" {
		x.disableOffloads()
	}
	if err := lab.Err(); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, lab.Close)()

	one := &oneCommand{x: x, tayga: tayga}
	output, ok := one.show(r, o.pcap != "")
	if !ok || ctx.Err() != nil {
		end(ctx, r, output)
		return nil
	}

	g := &gateway{
		x: x, tayga: tayga, dir: dir, text: taygaConf, routes: []string{pool, prefix64, service4},
		is: fmt.Sprintf("pool %s masqueraded, map %s %s", pool, service4, serviceAddr),
	}
	if !r.Check("gateway", g.start) {
		end(ctx, r, output+g.output())
		return nil
	}
	var c *captures
	if o.pcap != "" {
		if c, err = startCaptures(x, o.pcap); err != nil {
			return err
		}
	}
	x.runChecks(r, g, o.pcap != "")
	stopped := r.Check("stop", g.stop)
	output += g.output()
	if ctx.Err() == nil && stopped {
		g = &gateway{
			x: x, tayga: tayga, dir: filepath.Join(dir, "shared"), text: sharedConf, routes: []string{prefix64, shared4},
			is: fmt.Sprintf("2 hosts share %s, of which port %d is forwarded", shared4, forwardPort),
		}
		if r.Check("shared-gateway", g.start) {
			x.runSharedChecks(r, g, o.pcap != "")
			r.Check("shared-stop", g.stop)
		}
		output += g.output()
	}
	if c != nil {
		r.Check("wire", c.finish)
	}
	end(ctx, r, output)
	return nil
}

// end reports an interruption, and what tayga printed if anything failed.
func end(ctx context.Context, r *report.Report, output string) {
	if ctx.Err() != nil {
		r.Check("interrupted", func() (string, error) { return "", context.Cause(ctx) })
	}
	if r.Failed > 0 {
		for line := range strings.Lines(output) {
			r.Note("tayga: " + strings.TrimSpace(line))
		}
	}
}

// captures are those of the two sides of the gateway.
type captures struct {
	dir        string
	ipv6, ipv4 *netlab.Capture
}

func startCaptures(x *lab, dir string) (*captures, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	ipv6, err := x.client.Capture("eth0")
	if err != nil {
		return nil, err
	}
	ipv4, err := x.gateway.Capture("eth1")
	return &captures{dir: dir, ipv6: ipv6, ipv4: ipv4}, err
}

// finish keeps what was captured and checks all of it.
func (c *captures) finish() (string, error) {
	var bad []error
	count := make(map[string]int)
	for name, capture := range map[string]*netlab.Capture{"ipv6": c.ipv6, "ipv4": c.ipv4} {
		packets, err := capture.Stop()
		if err != nil {
			return "", err
		}
		if err := keep(filepath.Join(c.dir, name+".pcap"), packets); err != nil {
			return "", err
		}
		count[name] = len(packets)
		for _, fault := range netlab.Check(packets) {
			bad = append(bad, fmt.Errorf("%s %s", name, fault))
		}
	}
	figures := fmt.Sprintf("%d packets on the IPv6 link and %d on the IPv4 link", count["ipv6"], count["ipv4"])
	switch {
	case len(bad) > 0:
		return "", fmt.Errorf("%s, %d faulty: %w", figures, len(bad), errors.Join(bad[:min(len(bad), 3)]...))
	case count["ipv6"] == 0 || count["ipv4"] == 0:
		return "", errors.New(figures)
	}
	return figures + ", no bad checksum, none malformed", nil
}

func keep(file string, packets []netlab.Packet) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(netlab.WritePcap(f, packets), f.Close())
}

// ms prints a duration in milliseconds.
func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1000) }
