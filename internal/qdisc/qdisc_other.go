//go:build !linux

package qdisc

import "errors"

// Bypassed returns errors.ErrUnsupported.
func Bypassed(int) (string, error) { return "", errors.ErrUnsupported }
