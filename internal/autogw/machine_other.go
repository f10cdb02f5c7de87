//go:build !linux

package autogw

import "errors"

// Look finds out nothing: a gateway needs Linux.
func Look() (*Machine, error) { return nil, errors.ErrUnsupported }
