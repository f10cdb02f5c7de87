package pref64

import (
	"context"
	"sync"
)

// queries runs one query at a time in a goroutine of its own.
type queries struct {
	ctx     context.Context
	results chan result
	cancel  context.CancelFunc // of the one that runs
	running sync.WaitGroup
}

type result struct {
	answer Answer
	err    error
}

func newQueries(ctx context.Context) *queries {
	return &queries{ctx: ctx, results: make(chan result), cancel: func() {}}
}

// begin runs a query, whose result comes to results unless end is called first.
func (q *queries) begin(ask func(context.Context) (Answer, error)) {
	q.end()
	ctx, cancel := context.WithCancel(q.ctx)
	q.cancel = cancel
	q.running.Go(func() {
		a, err := ask(ctx)
		select {
		case q.results <- result{a, err}:
		case <-ctx.Done():
		}
	})
}

// end ends the query that runs, if one does, and waits for that.
func (q *queries) end() {
	q.cancel()
	q.running.Wait()
}
