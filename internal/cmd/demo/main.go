// Demo shows the main job of the tayga binary on real input: a host that has only
// IPv6 talks to hosts that have only IPv4, through a gateway that runs the binary
// given by -tayga with the configuration that guides for IPv6-only machines use.
// It begins with the one command that needs no configuration, tayga --gateway. In a last
// part two such hosts share one IPv4 address.
// All of it, hosts and links too, lives in network namespaces that the program
// makes and gives up again.
//
//	demo -tayga PATH [-pcap DIR]
//
// Each check prints "ok", its name and its figures, or "FAIL", its name and the
// reason. The exit status is 0 if none failed, 1 if one did, and 2 after a wrong
// command line. With -pcap the packets of the client's link and of the gateway's
// IPv4 link are kept as DIR/ipv6.pcap and DIR/ipv4.pcap and checked for faults;
// the links then do without offloads, and transfers are small.
//
// It needs Linux, root, /dev/net/tun and nft.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/steppe-nat64/steppe/internal/report"
)

// options is what the command line says.
type options struct {
	tayga string // path of the binary
	pcap  string // directory for captures; "" means none
}

func main() {
	var o options
	flag.StringVar(&o.tayga, "tayga", "", "`path` of the tayga binary to show")
	flag.StringVar(&o.pcap, "pcap", "", "keep captures in this `directory`")
	flag.Parse()
	if o.tayga == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: demo -tayga PATH [-pcap DIR]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if !run(ctx, os.Stdout, o) {
		stop()
		os.Exit(1)
	}
}

// summary prints the last line and reports whether everything passed.
func summary(r *report.Report) bool {
	fmt.Fprintf(r.W, "demo: %d checks passed, %d failed\n", r.Passed, r.Failed)
	return r.Failed == 0
}
