package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/steppe-nat64/steppe/internal/report"
	"github.com/steppe-nat64/steppe/internal/test/testbed"
)

// faults are all of them. Each has a laboratory of its own.
var faults = []struct {
	name string
	run  func(*trial) (string, error)
}{
	{"killed", (*trial).killed},
	{"disk-full", (*trial).diskFull},
	{"disk-read-only", (*trial).diskReadOnly},
	{"data-dir-removed", (*trial).dataDirRemoved},
	{"data-dir-of-another", (*trial).dataDirOfAnother},
	{"file-unreadable", (*trial).fileUnreadable},
	{"file-damaged", (*trial).fileDamaged},
	{"file-huge", (*trial).fileHuge},
	{"sessions-clock", (*trial).sessionsClock},
	{"sessions-killed", (*trial).sessionsKilled},
	{"sessions-disk-full", (*trial).sessionsDiskFull},
	{"sessions-damaged", (*trial).sessionsDamaged},
	{"clock-stepped", (*trial).clockStepped},
	{"signal-storm", (*trial).signalStorm},
	{"log-stuck", (*trial).logStuck},
	{"slow-reader", (*trial).slowReader},
	{"device-deleted", (*trial).deviceDeleted},
	{"device-down", (*trial).deviceDown},
	{"device-mtu", (*trial).deviceMTU},
	{"device-mtu-storm", (*trial).deviceMTUStorm},
	{"helper-killed", (*trial).helperKilled},
	{"spoofed-sources", (*trial).spoofed},
	{"error-flood", (*trial).errorFlood},
	{"fragment-flood", (*trial).fragmentFlood},
	{"sessions-syns", (*trial).sessionSYNs},
	{"sessions-ports", (*trial).sessionPorts},
	{"sessions-expiry", (*trial).sessionExpiry},
	{"noise", (*trial).noise},
	{"loop", (*trial).loop},
}

// A trial is one run of the program. Faults run one after the other.
type trial struct {
	ctx   context.Context
	tayga string
	short bool

	inputs int64 // packets, signals and files that the binary was given to bear
	leases int64 // that were looked for after a fault
	lost   int64 // of these
	bytes  int64 // of TCP that arrived whole during faults
}

// run runs the faults and reports whether all were survived. It leaves nothing
// behind, also when ctx ends before it does.
func run(ctx context.Context, w io.Writer, o options) bool {
	r := &report.Report{W: w}
	x := &trial{ctx: ctx, tayga: o.tayga, short: o.short}
	begin := time.Now()
	still := testbed.WatchStandstill(ctx)
	for _, f := range faults {
		if o.only != nil && !o.only.MatchString(f.name) {
			continue
		}
		r.Check(f.name, func() (string, error) {
			start := time.Now()
			figures, err := f.run(x)
			if ctx.Err() != nil {
				err = errors.Join(context.Cause(ctx), err)
			}
			return fmt.Sprintf("%s (%.1f s)", figures, time.Since(start).Seconds()), err
		})
		if ctx.Err() != nil {
			break
		}
	}
	if still.Noteworthy() {
		r.Note(fmt.Sprintf("the machine stood still for %v meanwhile, which breaks connections", still.Longest()))
	}
	fmt.Fprintf(w, "faults: %d survived, %d failed; inputs %s; leases looked for %s, lost: %d; TCP whole %s MiB; %.0f s\n",
		r.Passed, r.Failed, thousands(x.inputs), thousands(x.leases), x.lost, thousands(x.bytes>>20), time.Since(begin).Seconds())
	return r.Failed == 0
}

// n is how much of something there is to be: full, or short in a short run.
func (x *trial) n(full, short int) int {
	if x.short {
		return short
	}
	return full
}

// open makes a laboratory. It is closed when the program is interrupted, too.
func (x *trial) open(pool string, more ...string) (*testbed.Bed, func(), error) {
	if err := x.ctx.Err(); err != nil {
		return nil, nil, err
	}
	b, err := testbed.Open(x.tayga, pool, more...)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(x.ctx, b.Lab.Close)
	return b, func() { stop(); b.Close() }, nil
}

// living makes a laboratory in which the binary runs and hosts hold leases of
// smallPool.
func (x *trial) living(hosts int, more ...string) (b *testbed.Bed, leases testbed.Leases, done func(), err error) {
	b, done, err = x.open(smallPool, more...)
	if err != nil {
		return nil, nil, nil, err
	}
	if err = b.Start(); err == nil {
		leases, err = lease(b, 0, hosts)
	}
	if err != nil {
		done()
	}
	return b, leases, done, err
}

const smallPool = "203.0.113.0/24"

// keep compares leases before and after a fault.
func (x *trial) keep(before, now testbed.Leases) error {
	lost := before.Lost(now)
	x.leases += int64(len(before))
	x.lost += int64(lost)
	if lost > 0 {
		return fmt.Errorf("faults: %d of %d leases lost", lost, len(before))
	}
	return nil
}

// seen asks the server how it sees hosts, which has to be by their leases.
func (x *trial) seen(b *testbed.Bed, leases testbed.Leases) error {
	now := make(testbed.Leases)
	for host := range leases {
		addr, err := b.SeenAs(host)
		if err != nil {
			return err
		}
		now[host] = addr
	}
	return x.keep(leases, now)
}

// lease has hosts first to first+n-1 take leases and returns those.
func lease(b *testbed.Bed, first uint32, n int) (testbed.Leases, error) {
	leases := make(testbed.Leases)
	for i := range uint32(n) {
		host := testbed.Host(first + i)
		addr, err := b.SeenAs(host)
		if err != nil {
			return nil, err
		}
		leases[host] = addr
	}
	return leases, nil
}

// thousands writes a number with commas.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
