//go:build !linux

package sandbox

import "errors"

// Enter gives up nothing where there is no Linux.
func Enter(Config) *Report {
	err := errors.ErrUnsupported
	return &Report{err, err, err, err, 0}
}

// Unprivileged calls f.
func Unprivileged(f func()) error {
	f()
	return nil
}

// DropBounding does nothing.
func DropBounding() {}

// Permitted returns none.
func Permitted() Capabilities { return 0 }

// MayLoad returns nil: there is nothing that would end the process.
func MayLoad() error { return nil }

// MayAsk reports whether faccessat2 may be called.
func MayAsk() bool { return true }
