//go:build !linux

package main

import (
	"errors"
	"fmt"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// restoreLink does nothing: nothing was set up.
func restoreLink(*taygaconf.Config, func(format string, args ...any)) error { return nil }

// setUpLink does what tun-up, tun-ip and tun-route ask for, where we can.
func setUpLink(c *taygaconf.Config, said func(format string, args ...any)) error {
	if !c.TunUp && len(c.TunIPs) == 0 && len(c.TunRoutes) == 0 {
		return nil
	}
	return fmt.Errorf("tun-up, tun-ip and tun-route: %w here: set up the device with ifconfig and route", errors.ErrUnsupported)
}
