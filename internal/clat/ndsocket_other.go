//go:build !linux

package clat

import (
	"errors"
	"net/netip"
)

type ndSocket struct{}

func openND() (*ndSocket, error) { return nil, errors.ErrUnsupported }

func (*ndSocket) close() error { return nil }

func (*ndSocket) wake() {}

func (*ndSocket) receive(func(int, mac, []byte)) {}

func (*ndSocket) drain(func(int, mac, []byte)) {}

func (*ndSocket) watch(func()) {}

func (*ndSocket) facts(int) (linkFacts, error) { return linkFacts{}, errors.ErrUnsupported }

func (*ndSocket) assigned(netip.Addr) (bool, error) { return false, errors.ErrUnsupported }

func (*ndSocket) join(int, netip.Addr) error { return errors.ErrUnsupported }

func (*ndSocket) leave(int, netip.Addr) {}

func (*ndSocket) send(int, []byte, []byte) error { return errors.ErrUnsupported }
