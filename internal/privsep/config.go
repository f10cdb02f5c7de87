package privsep

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/steppe-nat64/steppe/internal/hostnet"
	"github.com/steppe-nat64/steppe/tun"
)

// A Config is all that the helper may do: to attach to this device, to add these addresses
// and routes to it, to attach a program to it that it was started with, and to change the
// network of the machine within a policy.
type Config struct {
	Device  tun.Config
	Up      bool
	IPs     []netip.Prefix
	Routes  []netip.Prefix
	Sandbox bool // the helper confines itself
	// Admin: the helper keeps CAP_NET_ADMIN, which all takes but to attach the program.
	Admin bool
	// FastPath: it may attach the program.
	FastPath bool
	// Network is which settings of the machine's network it may change, nil for none.
	Network *hostnet.Policy
}

// maxConfig is the size of the largest configuration that is sent: a hundred thousand
// routes.
const maxConfig = 4 << 20

// encode is for decodeConfig.
func (c *Config) encode() ([]byte, error) {
	b, err := json.Marshal(c)
	if err == nil && len(b) > maxConfig {
		err = fmt.Errorf("the configuration has %d bytes: more than %d", len(b), maxConfig)
	}
	return b, err
}

// decodeConfig reads one configuration and nothing else.
func decodeConfig(b []byte) (*Config, error) {
	c := new(Config)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the configuration")
	}
	if c.Device.Owner == nil {
		return nil, errors.New("no owner") // the helper's would be another
	}
	for _, p := range slices.Concat(c.IPs, c.Routes) {
		if !p.IsValid() {
			return nil, errors.New("no prefix")
		}
	}
	return c, nil
}

// errNotConfigured is why a well-formed request is denied.
var errNotConfigured = errors.New("the configuration does not ask for it")

// allows returns nil if a request is covered by the configuration.
func (c *Config) allows(r request) error {
	ok := false
	switch r.op {
	case opAttach:
		ok = true
	case opUp:
		ok = c.Up
	case opAddIP:
		ok = slices.Contains(c.IPs, r.prefix)
	case opAddRoute:
		ok = slices.Contains(c.Routes, r.prefix)
	case opFastPath:
		ok = c.FastPath
	case opNetwork, opResolvers:
		ok = c.Network != nil
	}
	if !ok {
		return errNotConfigured
	}
	return nil
}
