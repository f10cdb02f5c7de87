package autogw

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/steppe-nat64/steppe/internal/hostnet"
)

// How long a Follower waits: after a change of the machine for more of them; and until it has
// the settings restored that other programs have changed.
const (
	settle  = 300 * time.Millisecond
	restore = 10 * time.Second
)

// The pauses after which an Await looks again, when no change shows that it should.
const (
	firstPause = time.Second
	mostPause  = time.Minute
)

// A Follower keeps a gateway as the machine changes.
type Follower struct {
	Options Options
	Plan    *Plan // that is in effect
	Look    func() (*Machine, error)
	Changed <-chan struct{} // tells of changes of the machine; may be nil

	Apply func([]hostnet.Change) error // makes the machine's network so
	Log   func(warning bool, text string)

	said     string // the error that was logged last
	confined bool   // no packet leaves with an address of the pool
}

// Await plans a gateway, and waits for IPv4 if there is none yet. log is told about that, once
// for each reason.
func Await(ctx context.Context, o Options, look func() (*Machine, error), changed <-chan struct{}, log func(string)) (*Plan, error) {
	said := ""
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		m, err := look()
		if err != nil {
			return nil, err
		}
		p, err := New(m, o)
		if !errors.Is(err, ErrNotYet) {
			return p, err
		}
		if text := err.Error(); text != said {
			log(text + ": waiting for it")
			said = text
		}
		wait, cancel := context.WithTimeout(ctx, pause)
		select {
		case <-wait.Done():
		case <-changed:
			pause = firstPause
			sleep(wait, settle)
		}
		cancel()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// Begin makes the changes of the plan.
func (f *Follower) Begin() { f.apply() }

// Run follows the machine until the context ends. It has nothing undone.
func (f *Follower) Run(ctx context.Context) {
	tick := time.NewTicker(restore)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.apply()
		case <-f.Changed:
			sleep(ctx, settle)
			if ctx.Err() == nil {
				f.again()
			}
		}
	}
}

// again plans anew, with the addresses that are in use.
func (f *Follower) again() {
	m, err := f.Look()
	var p *Plan
	if err == nil {
		o := f.Options
		o.Keep = f.Plan
		p, err = New(m, o)
	}
	switch {
	case err != nil:
		f.report(err.Error() + ": the gateway stays as it is")
		return
	case p.Config != f.Plan.Config:
		f.report("this machine has come to use " + join(f.Plan.Pool) + ", which clients are translated to: start the gateway anew, so that it takes others")
		return
	}
	for _, line := range p.Found() {
		if !slices.Contains(f.Plan.Found(), line) {
			f.Log(false, line)
		}
	}
	f.Plan = p
	f.apply()
}

// apply makes the changes. The first are those without which addresses of the pool would be seen
// outside: where these fail, there are no routes.
func (f *Follower) apply() {
	if !f.confined {
		if err := f.Apply(masquerading(f.Plan.Changes)); err != nil {
			f.report(err.Error() + ": clients get no translation, since their addresses can't be masqueraded")
			return
		}
		f.confined = true
	}
	if err := f.Apply(f.Plan.Changes); err != nil {
		f.report(err.Error())
		return
	}
	f.said = ""
}

// masquerading returns the changes that are about that.
func masquerading(all []hostnet.Change) (list []hostnet.Change) {
	for _, c := range all {
		if c.NAT != nil {
			list = append(list, c)
		}
	}
	return list
}

// report logs a warning once.
func (f *Follower) report(text string) {
	if text != f.said {
		f.Log(true, text)
	}
	f.said = text
}
