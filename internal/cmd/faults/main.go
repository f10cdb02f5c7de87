// Faults treats the tayga binary badly, in a laboratory of network namespaces:
// it is killed, its disk is full, its files are damaged, its device goes away,
// it is flooded and its packets run in circles. Meanwhile, or at least
// afterwards, it has to do its job, and no lease that it had saved may be lost.
//
//	faults -tayga PATH [-short] [-only REGEXP]
//
// Each fault prints "ok", its name and its figures, or "FAIL", its name and the
// reason; the last line sums up. The exit status is 0 if all were survived, 1 if
// one was not, and 2 after a wrong command line. -short takes less of everything.
//
// What is demanded does not depend on how fast the machine is, or on what else
// it does: rates are compared with rates of the same run.
//
//	main.go               the command line
//	run_linux.go          the list of faults, the sum
//	life_linux.go         killed, signals, a log that no program reads
//	storage_linux.go      data-dir and dynamic.map
//	sessionfile_linux.go  sessions.bin
//	sessionclock_linux.go sessions.bin, after a clock was stepped
//	device_linux.go       the TUN device, and the process that sets it up
//	flood_linux.go        packets by the hundred thousand
//	sessions_linux.go     hosts that share addresses
//	loop_linux.go         routes in circles
//
// It needs Linux, root and /dev/net/tun.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
)

// options is what the command line says.
type options struct {
	tayga string         // path of the binary
	short bool           // less of everything
	only  *regexp.Regexp // names of faults; nil means all
}

func main() {
	var o options
	var only string
	flag.StringVar(&o.tayga, "tayga", "", "`path` of the tayga binary")
	flag.BoolVar(&o.short, "short", false, "less of everything")
	flag.StringVar(&only, "only", "", "only the faults whose name matches this `regexp`")
	flag.Parse()
	var err error
	o.only, err = regexp.Compile(only)
	if err != nil || o.tayga == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: faults -tayga PATH [-short] [-only REGEXP]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	survived := run(ctx, os.Stdout, o)
	stop()
	if !survived {
		os.Exit(1)
	}
}
