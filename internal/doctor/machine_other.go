//go:build !linux

package doctor

import (
	"errors"
	"fmt"
)

// Look returns errors.ErrUnsupported.
func Look() (*Machine, error) {
	return nil, fmt.Errorf("doctor: look at this machine: %w", errors.ErrUnsupported)
}
