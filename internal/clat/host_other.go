//go:build !linux

package clat

import "errors"

func openKernel(string) (host, error) { return nil, errors.ErrUnsupported }

func tunOwners(string) []string { return nil }
