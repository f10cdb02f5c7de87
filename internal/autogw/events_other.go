//go:build !linux

package autogw

import "errors"

// Events tells of changes of links, addresses and routes.
type Events struct{ C <-chan struct{} }

// Watch tells of nothing.
func Watch() (*Events, error) { return nil, errors.ErrUnsupported }

// Close ends it.
func (e *Events) Close() {}
