//go:build !linux

package privsep

import (
	"errors"
	"net/netip"

	"github.com/steppe-nat64/steppe/internal/hostnet"
	"github.com/steppe-nat64/steppe/tun"
)

// ErrEnded: there is no helper any more.
var ErrEnded = errors.New("the privileged helper has ended")

// A Helper is never there where there is no Linux.
type Helper struct{}

// Marked reports whether this process was started to be the helper.
func Marked() bool { return false }

// Start returns errors.ErrUnsupported.
func Start(string, int) (*Helper, error) { return nil, errors.ErrUnsupported }

// The methods are those of Linux; none is ever called.
func (*Helper) Configure(Config) error        { return errors.ErrUnsupported }
func (*Helper) Ready() (string, error)        { return "", errors.ErrUnsupported }
func (*Helper) PID() int                      { return 0 }
func (*Helper) Ended() <-chan struct{}        { return nil }
func (*Helper) Alive() bool                   { return false }
func (*Helper) Close()                        {}
func (*Helper) Attach() (tun.Attached, error) { return tun.Attached{}, errors.ErrUnsupported }
func (*Helper) Up() error                     { return errors.ErrUnsupported }
func (*Helper) AddIP(netip.Prefix) error      { return errors.ErrUnsupported }
func (*Helper) AddRoute(netip.Prefix) error   { return errors.ErrUnsupported }
func (*Helper) FastPath() (int, error)        { return -1, errors.ErrUnsupported }

// Network and Resolvers are the same.
func (*Helper) Network([]hostnet.Change) error   { return errors.ErrUnsupported }
func (*Helper) Resolvers() ([]netip.Addr, error) { return nil, errors.ErrUnsupported }
