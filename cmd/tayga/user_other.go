//go:build !linux

package main

import "errors"

// asUser needs a kernel with permissions for files by thread.
func asUser(identity, func()) error { return errors.ErrUnsupported }
