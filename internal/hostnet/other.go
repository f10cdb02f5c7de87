//go:build !linux

package hostnet

import "errors"

type operations interface{}

// A Manager changes the machine for one device. Its methods may be called from any
// goroutine.
type Manager struct{}

// Open returns errors.ErrUnsupported.
func Open(string, Policy) (*Manager, error) { return nil, errors.ErrUnsupported }

// Apply returns errors.ErrUnsupported.
func (*Manager) Apply([]Change) error { return errors.ErrUnsupported }

// Undo returns errors.ErrUnsupported.
func (*Manager) Undo() error { return errors.ErrUnsupported }

// Close returns errors.ErrUnsupported.
func (*Manager) Close() error { return errors.ErrUnsupported }

// Commands returns errors.ErrUnsupported.
func Commands([]Change) ([]string, error) { return nil, errors.ErrUnsupported }
