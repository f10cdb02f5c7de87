//go:build !linux

package pref64

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

type sockets struct{}

func openSockets(bool) (*sockets, error) { return nil, errors.ErrUnsupported }

func (*sockets) use(string) error { return errors.ErrUnsupported }

func (*sockets) rest() error { return errors.ErrUnsupported }

func (*sockets) close() error { return nil }

func (*sockets) wake() {}

func (*sockets) solicit() error { return errors.ErrUnsupported }

func (*sockets) receive(context.Context, chan<- Advertisement) error { return errors.ErrUnsupported }

// BoundDialer returns a Dialer that opens nothing.
func BoundDialer(string) Dialer {
	return func(context.Context, string, netip.AddrPort) (net.Conn, error) { return nil, errors.ErrUnsupported }
}
