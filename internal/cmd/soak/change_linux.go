package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/testbed"
)

// A host that has a map in every version of the map-file.
var (
	fileHost4 = netip.MustParseAddr("192.0.2.81")
	fileHost6 = netip.MustParseAddr("2001:db8:c::81")
)

// startChanges starts what changes while traffic passes.
func (s *soak) startChanges() {
	s.every(time.Second, s.reload)
	s.every(3*time.Second, s.changeMTU)
	s.every(2*time.Second, s.count())
}

// writeMaps writes the n-th version of the map-file, in one piece.
func (s *soak) writeMaps(n int) error {
	const lines = 100
	var b strings.Builder
	for i := range lines {
		if i == n%lines {
			fmt.Fprintf(&b, "map %v %v\n", fileHost4, fileHost6)
		}
		fmt.Fprintf(&b, "map 192.168.%d.%d 2001:db8:ffff:%x::%x\n", n%50, i, n, i)
	}
	if err := os.WriteFile(s.Path("maps~"), []byte(b.String()), 0o644); err != nil {
		return err
	}
	return os.Rename(s.Path("maps~"), s.Path("maps"))
}

// reload changes the map-file and has the binary read it, which also saves the
// leases. The file of these is whole whenever it is looked at.
func (s *soak) reload(n int) error {
	from := s.Said()
	if err := errors.Join(s.writeMaps(n+1), s.Signal(syscall.SIGHUP), s.Await(from, "Reloaded ")); err != nil {
		return err
	}
	s.reloads.Add(1)
	_, err := s.Saved()
	return err
}

// changeMTU gives the device another MTU.
func (s *soak) changeMTU(n int) error {
	mtu := []int{1400, 1280, 9000, 1500}[n%4]
	from := s.Said()
	s.Gateway.MTU(testbed.Device, mtu)
	if err := errors.Join(s.Err(), s.Await(from, fmt.Sprintf("has an MTU of %d now", mtu))); err != nil {
		return err
	}
	s.mtus.Add(1)
	return nil
}

// count asks for the counters, none of which ever goes back.
func (s *soak) count() func(int) error {
	var last testbed.Counts
	return func(int) error {
		c, err := s.Counts()
		if err != nil {
			return err
		}
		s.counted.Add(1)
		for key, n := range last.By {
			if c.By[key] < n {
				return fmt.Errorf("soak: %s went back from %d to %d", key, n, c.By[key])
			}
		}
		last = c
		return nil
	}
}
