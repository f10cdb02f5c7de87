package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// device is the name of the TUN device.
const device = "nat64"

// gateway is the translator on the gateway: what a guide for IPv6-only machines
// tells to do, step by step.
type gateway struct {
	x       *lab
	tayga   string // path of the binary
	dir     string // for its files
	text    string // of tayga.conf, with the place of data-dir left open
	routes  []string
	is      string // what it is, for the report
	config  string // path of tayga.conf
	process *netlab.Process
}

// taygaConf is the configuration: that of the guides, and a static map. A socket in
// /run/tayga would be in the way of a daemon of the machine itself.
const taygaConf = `tun-device ` + device + `
ipv4-addr 192.168.255.1
ipv6-addr ` + taygaAddr + `
prefix ` + prefix64 + `
dynamic-pool ` + pool + `
map ` + service4 + ` ` + serviceAddr + `
data-dir %s
status-socket no
`

// start makes the device, starts the program and sets the routes.
func (g *gateway) start() (string, error) {
	data := filepath.Join(g.dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return "", err
	}
	g.config = filepath.Join(g.dir, "tayga.conf")
	if err := os.WriteFile(g.config, fmt.Appendf(nil, g.text, data), 0o644); err != nil {
		return "", err
	}
	if err := g.runTayga("--mktun"); err != nil {
		return "", err
	}
	gw := g.x.gateway
	gw.MTU(device, jumboMTU)
	gw.Up(device)
	if err := g.x.Err(); err != nil {
		return "", err
	}
	begin := time.Now()
	var err error
	if g.process, err = gw.Launch(g.tayga, "-c", g.config, "-d"); err != nil {
		return "", err
	}
	if err := g.waitAttached(); err != nil {
		return "", err
	}
	took := time.Since(begin)
	for _, dst := range g.routes {
		gw.Route(dst, "", device)
	}
	fast, err := g.awaitFastPath()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("tayga attached to %s after %s: %s, %s; fast path %s", device, ms(took), prefix64, g.is, fast), g.x.Err()
}

// waitAttached waits until the device has a carrier, or the program has ended.
func (g *gateway) waitAttached() error {
	for end := time.Now().Add(10 * time.Second); ; {
		err := g.x.gateway.WaitRunning(device, 20*time.Millisecond)
		if err == nil {
			return nil
		}
		select {
		case <-g.process.Done():
			return errors.Join(errors.New("tayga ended at once"), g.process.Wait())
		default:
		}
		if time.Now().After(end) {
			return err
		}
	}
}

func (g *gateway) runTayga(option string) error {
	out, err := g.x.gateway.Command(g.tayga, "-c", g.config, option).CombinedOutput()
	if err != nil {
		return fmt.Errorf("tayga %s: %w: %q", option, err, out)
	}
	return nil
}

// stop ends the program by SIGTERM and removes the device.
func (g *gateway) stop() (string, error) {
	begin := time.Now()
	if err := g.process.Stop(5 * time.Second); err != nil {
		return "", err
	}
	took := time.Since(begin)
	if err := g.runTayga("--rmtun"); err != nil {
		return "", err
	}
	if err := g.x.gateway.WaitRunning(device, 0); !errors.Is(err, netlab.ErrNoInterface) {
		return "", fmt.Errorf("%s is still there after --rmtun", device)
	}
	return fmt.Sprintf("exit status 0, %s after SIGTERM; %s removed", ms(took), device), nil
}

// output returns the last lines that the program printed.
func (g *gateway) output() string {
	if g.process == nil {
		return ""
	}
	lines := strings.SplitAfter(g.process.Output(), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "")
}
