package clat

import (
	"context"
	"errors"
	"fmt"
)

// A Controller runs a CLAT: it follows the network of the machine, and has the machine's
// settings and the translator changed accordingly.
type Controller struct {
	cfg Config
}

// Open opens all sockets of a Controller, in the network namespace of the calling thread. It
// needs CAP_NET_RAW; what is done later does not.
func Open(cfg Config) (*Controller, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("clat: %w", err)
	}
	return nil, fmt.Errorf("clat: %w", errors.ErrUnsupported)
}

// Run runs the CLAT until ctx is done. Then all changes are undone. It is called once.
func (c *Controller) Run(ctx context.Context) error { return ctx.Err() }

// Close closes the sockets. It is called after Run has returned, or instead of Run.
func (c *Controller) Close() error { return nil }

// Resumed says that the machine was suspended, or that its resolvers have changed: what was
// found is looked for anew. It may be called from any goroutine.
func (c *Controller) Resumed() {}

// Report returns what the Controller has found. It may be called from any goroutine.
func (c *Controller) Report() Report { return Report{} }
