//go:build !linux

package main

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// restoreLink does nothing: nothing was set up.
func restoreLink(*taygaconf.Config, linkChanger, func(format string, args ...any)) error { return nil }

// setUpLink does what tun-up, tun-ip and tun-route ask for, where we can.
func setUpLink(c *taygaconf.Config, _ linkChanger, said func(format string, args ...any)) error {
	if !c.TunUp && len(c.TunIPs) == 0 && len(c.TunRoutes) == 0 {
		return nil
	}
	return fmt.Errorf("tun-up, tun-ip and tun-route: %w here: set up the device with ifconfig and route", errors.ErrUnsupported)
}

// A kernelLink changes nothing here.
type kernelLink string

// Up returns errors.ErrUnsupported.
func (kernelLink) Up() error { return errors.ErrUnsupported }

// AddIP returns errors.ErrUnsupported.
func (kernelLink) AddIP(netip.Prefix) error { return errors.ErrUnsupported }

// AddRoute returns errors.ErrUnsupported.
func (kernelLink) AddRoute(netip.Prefix) error { return errors.ErrUnsupported }
