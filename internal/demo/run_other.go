//go:build !linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// run fails: network namespaces are a thing of Linux.
func run(_ context.Context, w io.Writer, _ options) bool {
	r := &report{w: w}
	r.check("laboratory", func() (string, error) {
		return "", fmt.Errorf("demo: needs Linux: %w", errors.ErrUnsupported)
	})
	return r.summary()
}
