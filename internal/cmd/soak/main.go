// Soak puts mixed traffic through the tayga binary for a while, in a laboratory
// of network namespaces, and changes all that can be changed meanwhile: maps,
// leases, the MTU. It looks whether anything leaks, is lost that should not be, or
// does not add up.
//
//	soak -tayga PATH [-time 10m] [-sessions 1000000]
//
// Half of the time the binary runs with offload and a packet log, so that it sees every
// packet, and half of it without, when what it writes can be counted from outside to the
// packet, and with the fast path on, which has to translate nearly all of TCP. After that, sessions of hosts
// that share addresses begin and end, by the million. Each part prints "ok"
// and its figures, or "FAIL" and the reasons; the last line sums up. The exit
// status is 0 if nothing failed, 1 if something did, and 2 after a wrong command
// line. What is demanded does not depend on how fast the machine is.
//
//	main.go           the command line
//	run_linux.go      a half, from start to sum
//	traffic_linux.go  what passes, and what has to arrive
//	change_linux.go   what changes meanwhile
//	leak_linux.go     what the process takes
//	sessions_linux.go hosts that share addresses
//
// It needs Linux, root and /dev/net/tun.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options is what the command line says.
type options struct {
	tayga    string // path of the binary
	time     time.Duration
	sessions int // of hosts that share addresses
}

func main() {
	var o options
	flag.StringVar(&o.tayga, "tayga", "", "`path` of the tayga binary")
	flag.DurationVar(&o.time, "time", 10*time.Minute, "how long")
	flag.IntVar(&o.sessions, "sessions", 1_000_000, "how many sessions of shared addresses begin and end, after that")
	flag.Parse()
	if o.tayga == "" || o.time <= 0 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: soak -tayga PATH [-time 10m] [-sessions 1000000]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	well := run(ctx, os.Stdout, o)
	stop()
	if !well {
		os.Exit(1)
	}
}
