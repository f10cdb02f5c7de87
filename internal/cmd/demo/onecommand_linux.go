package main

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/steppe-nat64/steppe/internal/report"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// The first part: tayga --gateway, which reads no file, finds its interfaces and makes all
// settings itself, until it ends.
type oneCommand struct {
	x       *lab
	tayga   string
	process *netlab.Process
	rules   []byte // of nftables, before
}

// Ports of the servers of the first part.
const (
	oneTransferPort = 50001
	oneEchoPort     = 50002
)

// show runs the first part and returns what the program printed. It reports whether the
// laboratory is as before.
func (c *oneCommand) show(r *report.Report, captured bool) (output string, ok bool) {
	size := int64(16 << 20)
	if captured {
		size = 2 << 20
	}
	ok = r.Check("one-command", c.start)
	if ok {
		r.Check("one-command-tcp", func() (string, error) { return c.tcp(size) })
		r.Check("one-command-udp", c.udp)
		ok = r.Check("one-command-stop", c.stop)
	}
	if c.process != nil {
		output = c.process.Output()
	}
	return output, ok
}

// start starts the program and waits until the client reaches the server.
func (c *oneCommand) start() (string, error) {
	_, err1 := c.x.server.ServeTransfers(fmt.Sprintf(":%d", oneTransferPort))
	_, err2 := c.x.server.ServeUDPEcho(fmt.Sprintf(":%d", oneEchoPort))
	rules, err3 := c.nft()
	if err := errors.Join(err1, err2, err3); err != nil {
		return "", err
	}
	c.rules = rules
	begin := time.Now()
	var err error
	if c.process, err = c.x.gateway.Launch(c.tayga, "--gateway"); err != nil {
		return "", err
	}
	for {
		reply, err := c.x.client.Ping(embed(server4), netlab.Echo{Size: 56, Timeout: 100 * time.Millisecond})
		if err == nil {
			return fmt.Sprintf("tayga --gateway, and %v answers %s after its start", reply.From, ms(time.Since(begin))), nil
		}
		select {
		case <-c.process.Done():
			return "", errors.Join(errors.New("tayga --gateway ended at once"), c.process.Wait())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Since(begin) > patience {
			return "", err
		}
	}
}

func (c *oneCommand) tcp(size int64) (string, error) {
	addr := at(embed(server4), oneTransferPort)
	down, err := c.x.client.Download(addr, size, patience)
	if err != nil {
		return "", err
	}
	up, err := c.x.client.Upload(addr, size, patience)
	if err != nil {
		return "", err
	}
	for _, t := range []netlab.Transfer{down, up} {
		if got := t.SeenAs.Addr().String(); got != gateway4 {
			return "", fmt.Errorf("the server saw %s, not the gateway %s", got, gateway4)
		}
	}
	return fmt.Sprintf("down %v, up %v; the server saw %v", down, up, down.SeenAs.Addr()), nil
}

func (c *oneCommand) udp() (string, error) {
	res, err := c.x.client.UDPEcho(at(embed(server4), oneEchoPort), netlab.UDPEcho{Sizes: []int{0, 1, 512, 1400}})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%v, byte for byte", res), nil
}

// stop ends the program by SIGTERM: the machine has to be as before.
func (c *oneCommand) stop() (string, error) {
	begin := time.Now()
	if err := c.process.Stop(5 * time.Second); err != nil {
		return "", err
	}
	took := time.Since(begin)
	if err := c.x.gateway.WaitRunning(device, 0); !errors.Is(err, netlab.ErrNoInterface) {
		return "", fmt.Errorf("%s is still there", device)
	}
	rules, err := c.nft()
	if err != nil {
		return "", err
	}
	if !bytes.Equal(rules, c.rules) {
		return "", fmt.Errorf("rules of nftables are left: %q", rules)
	}
	return fmt.Sprintf("exit status 0, %s after SIGTERM; %s and its rules are gone", ms(took), device), nil
}

// nft returns the rules of nftables on the gateway.
func (c *oneCommand) nft() ([]byte, error) {
	return c.x.gateway.Command("nft", "list", "ruleset").Output()
}
