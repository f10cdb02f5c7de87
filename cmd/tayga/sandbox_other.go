//go:build !linux

package main

import "github.com/steppe-nat64/steppe/internal/sandbox"

// capabilities are known to Linux only.
func (d *daemon) capabilities() sandbox.Capabilities { return 0 }
