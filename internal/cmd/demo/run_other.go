//go:build !linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/steppe-nat64/steppe/internal/report"
)

// run fails: network namespaces are a thing of Linux.
func run(_ context.Context, w io.Writer, _ options) bool {
	r := &report.Report{W: w}
	r.Check("laboratory", func() (string, error) {
		return "", fmt.Errorf("demo: needs Linux: %w", errors.ErrUnsupported)
	})
	return summary(r)
}
