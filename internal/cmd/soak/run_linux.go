package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/steppe-nat64/steppe/internal/report"
	"github.com/steppe-nat64/steppe/internal/test/testbed"
)

// A half is how the binary runs for half of the time.
type half struct {
	name  string
	lines []string // of tayga.conf
	fast  bool     // has the fast path on
}

// With a packet log the fast path is off.
var halves = []half{
	{"offload=yes", []string{"offload yes", "log drop reject icmp self dyn"}, false},
	{"offload=no", []string{"offload no", "log dyn"}, true},
}

// run runs both halves and reports whether all was well. It leaves nothing
// behind, also when ctx ends before it does.
func run(ctx context.Context, w io.Writer, o options) bool {
	r := &report.Report{W: w}
	var total tally
	still := testbed.WatchStandstill(ctx)
	for _, h := range halves {
		r.Check(h.name, func() (string, error) {
			s := &soak{tally: &total}
			figures, err := s.half(ctx, o, h)
			if ctx.Err() != nil {
				err = errors.Join(context.Cause(ctx), err)
			}
			return figures, err
		})
		if ctx.Err() != nil {
			break
		}
	}
	passed, failed := r.Passed, r.Failed
	if ctx.Err() == nil && o.sessions > 0 {
		r.Check("sessions", func() (string, error) {
			s := &soak{tally: &total}
			figures, err := s.sessions(ctx, o)
			if ctx.Err() != nil {
				err = errors.Join(context.Cause(ctx), err)
			}
			return figures, err
		})
	}
	if still.Noteworthy() {
		r.Note(fmt.Sprintf("the machine stood still for %v meanwhile, which breaks connections", still.Longest()))
	}
	fmt.Fprintf(w, "soak: %v, %d halves well, %d failed; %v\n", o.time, passed, failed, &total)
	return r.Failed == 0
}

// A tally is what was done in all.
type tally struct {
	bytes, transfers       atomic.Int64 // of TCP that arrived whole
	echoes, pings          atomic.Int64 // small ones, that came back
	lost                   atomic.Int64 // of these
	large                  atomic.Int64 // datagrams that are cut on the way, and came back
	poured                 atomic.Int64 // packets to be refused, and fragments
	guests, seen, changed  atomic.Int64 // hosts that came once; looks at leases in use; other addresses than before
	reloads, mtus, counted atomic.Int64 // SIGHUP, changes of the MTU, SIGUSR1
	packets                atomic.Int64
}

func (t *tally) String() string {
	return fmt.Sprintf("TCP %d MiB whole in %d transfers; echoes %d, pings %d, lost: %d; large datagrams %d; refused packets and fragments sent %d; leases %d, looked at %d times, changed: %d; reloads %d, MTUs %d; packets counted %d, not accounted for: 0",
		t.bytes.Load()>>20, t.transfers.Load(), t.echoes.Load(), t.pings.Load(), t.lost.Load(), t.large.Load(), t.poured.Load(),
		t.guests.Load(), t.seen.Load(), t.changed.Load(), t.reloads.Load(), t.mtus.Load(), t.packets.Load())
}

// A soak is one half: a life of the binary.
type soak struct {
	*testbed.Bed
	*tally

	ctx   context.Context // until the traffic stops
	tasks sync.WaitGroup
	mu    sync.Mutex
	errs  []error
}

// half soaks for half of the time.
func (s *soak) half(ctx context.Context, o options, h half) (figures string, err error) {
	s.Bed, err = testbed.Open(o.tayga, "203.0.113.0/24", append(h.lines, "map-file DIR/maps", "workers 2",
		"dynamic-pool-hold 20s", "dynamic-pool-forget 5m")...)
	if err != nil {
		return "", err
	}
	defer s.Close()
	s.Through = []string{"env", collectOften}
	defer context.AfterFunc(ctx, s.Lab.Close)()
	if err := errors.Join(s.writeMaps(0), s.Start(), s.Settle()); err != nil {
		return "", err
	}
	s.prepare()
	if err := errors.Join(s.Err(), s.Check()); err != nil {
		return "", err
	}

	var stop context.CancelFunc
	s.ctx, stop = context.WithTimeout(ctx, o.time/2)
	defer stop()
	traffic := s.StartTraffic(1 << 20)
	s.startTraffic()
	s.startChanges()
	usage := s.watchUsage(o.time / 2)
	s.tasks.Wait()
	s.fail(traffic.Stop())
	s.bytes.Add(traffic.Bytes.Load())
	s.transfers.Add(traffic.Transfers.Load())

	s.fail(s.Alive())
	c, err := s.AddUp()
	s.packets.Add(int64(c.Sum()))
	s.fail(err)
	if h.fast {
		s.fail(c.Fast.Carried(traffic.Bytes.Load()))
	} else {
		s.fail(c.Fast.Asleep(0))
	}
	s.fail(s.Check())
	s.fail(s.Stop())
	_, err = s.Saved()
	s.fail(err)
	leaks, err := usage.leaks()
	s.fail(err)
	return fmt.Sprintf("%d packets counted = %d forwarded + %d replied + %d cut + %d dropped, as the kernel counts; %d of them, %.1f %% of bytes, translated by the fast path; %s",
		c.Sum(), c.Sum("forward"), c.Sum("reply"), c.Sum("split"), c.Sum("drop"), c.ByKernel, 100*c.Fast.Share(), leaks), errors.Join(s.errs...)
}

// fail keeps an error. What goes on goes on, but nothing more is begun.
func (s *soak) fail(err error) {
	const most = 10
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && len(s.errs) < most {
		s.errs = append(s.errs, err)
	}
}

// every runs f again and again, that often at most, until the time is over or
// something has failed.
func (s *soak) every(d time.Duration, f func(i int) error) {
	s.tasks.Go(func() {
		tick := time.NewTicker(d)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-s.ctx.Done():
				return
			case <-tick.C:
			}
			if err := f(i); err != nil {
				s.fail(err)
				return
			}
		}
	})
}
