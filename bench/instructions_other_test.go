//go:build !linux

package bench

import "errors"

// A counter counts instructions, on Linux only.
type counter struct{}

func openInstructions() (*counter, error) { return nil, errors.ErrUnsupported }

func (*counter) read() (uint64, error) { return 0, errors.ErrUnsupported }

func (*counter) close() {}
