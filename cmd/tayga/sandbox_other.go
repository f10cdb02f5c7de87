//go:build !linux

package main

import (
	"github.com/steppe-nat64/steppe/internal/sandbox"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// capabilities are known to Linux only.
func (d *daemon) capabilities() sandbox.Capabilities { return 0 }

// attachesFreely is true where no process could do more.
func attachesFreely(*taygaconf.Config, identity) bool { return true }
