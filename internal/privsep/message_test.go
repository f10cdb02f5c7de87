package privsep

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/hostnet"
	"github.com/steppe-nat64/steppe/tun"
)

var (
	ip4   = netip.MustParsePrefix("192.0.2.1/24")
	ip6   = netip.MustParsePrefix("2001:db8::1/64")
	route = netip.MustParsePrefix("64:ff9b::/96")
)

// sample is a configuration with something in every field.
func sample() *Config {
	return &Config{
		Device: tun.Config{Name: "nat64", Queues: 2, Owner: &tun.Owner{UID: 1, GID: -1}},
		Up:     true,
		IPs:    []netip.Prefix{ip4, ip6},
		Routes: []netip.Prefix{route},

		Sandbox: true, Admin: true, FastPath: true,
		Network: &hostnet.Policy{Device: "nat64"},
	}
}

var requests = []request{
	{op: opAttach}, {op: opUp}, {op: opAddIP, prefix: ip4}, {op: opAddIP, prefix: ip6}, {op: opAddRoute, prefix: route}, {op: opFastPath},
	{op: opNetwork, list: "[]"}, {op: opResolvers},
}

var malformedRequests = map[string][]byte{
	"no-operation":        {0},
	"unknown-operation":   {byte(opResolvers) + 1},
	"resolvers-of":        {byte(opResolvers), 0},
	"attach-and-argument": {byte(opAttach), 0},
	"up-and-argument":     {byte(opUp), 24, 192, 0, 2, 1},
	"address-missing":     {byte(opAddIP)},
	"length-alone":        {byte(opAddIP), 24},
	"address-cut":         {byte(opAddIP), 24, 192, 0, 2},
	"address-too-long":    {byte(opAddIP), 24, 192, 0, 2, 1, 0},
	"length-too-long":     {byte(opAddIP), 33, 192, 0, 2, 1},
	"ipv6-cut":            append([]byte{byte(opAddRoute), 96}, make([]byte, 15)...),
	"ipv6-too-long":       append([]byte{byte(opAddRoute), 96}, make([]byte, 17)...),
	"ipv6-length":         append([]byte{byte(opAddRoute), 129}, make([]byte, 16)...),
}

var malformedReplies = map[string][]byte{
	"empty":        {},
	"code-alone":   {0},
	"unknown-code": {byte(codes), 0},
	"features":     {0, 8},
	"not-utf8":     {1, 0, 0xff},
	"too-long":     append([]byte{1, 0}, strings.Repeat("x", maxReply)...),
}

var malformedConfigs = map[string]string{
	"empty":             "",
	"cut":               `{"Device":{"Name":"nat64"`,
	"no-owner":          `{"Device":{"Name":"nat64"}}`,
	"unknown-field":     `{"Device":{"Name":"nat64","Owner":{"UID":0,"GID":0}},"Run":"/bin/sh"}`,
	"unknown-in-device": `{"Device":{"Name":"nat64","Owner":{"UID":0,"GID":0},"Persist":true}}`,
	"two":               `{"Device":{"Owner":{}}}{"Device":{"Owner":{}}}`,
	"bad-prefix":        `{"Device":{"Owner":{}},"Routes":["192.0.2.0/33"]}`,
	"empty-prefix":      `{"Device":{"Owner":{}},"IPs":[""]}`,
	"list":              `[]`,
}

func TestRequest(t *testing.T) {
	for _, r := range requests {
		got, err := decodeRequest(r.encode())
		assert.NoError(t, err)
		assert.Equal(t, r, got)
		assert.LessOrEqual(t, len(r.encode()), maxRequest)
	}
	_, err := decodeRequest(nil)
	assert.Error(t, err)
	for name, b := range malformedRequests {
		_, err := decodeRequest(b)
		assert.Error(t, err, name)
	}
}

// What callers look for in an error, and what it says, comes through.
func TestReply(t *testing.T) {
	for _, sentinel := range []error{tun.ErrBusy, tun.ErrGone, syscall.ENETDOWN, syscall.ENODEV, syscall.EPERM} {
		err := fmt.Errorf("attach nat64: %w (stop it)", sentinel)
		r, decodeErr := decodeReply(replyTo(err).encode())
		require.NoError(t, decodeErr)
		assert.ErrorIs(t, r.err(), sentinel)
		assert.EqualError(t, r.err(), err.Error())
	}
	other := replyTo(errors.New("something else")).err()
	assert.EqualError(t, other, "something else")
	assert.Nil(t, errors.Unwrap(other))
	assert.ErrorIs(t, reply{code: codeRefused, text: "no"}.err(), ErrRefused)

	long, err := decodeReply(replyTo(errors.New(strings.Repeat("ä", maxReply) + "\xff")).encode())
	require.NoError(t, err)
	assert.Equal(t, strings.Repeat("ä", (maxReply-2)/2), long.text)
	for name, b := range malformedReplies {
		_, err := decodeReply(b)
		assert.Error(t, err, name)
	}
}

func TestConfig(t *testing.T) {
	b, err := sample().encode()
	require.NoError(t, err)
	got, err := decodeConfig(b)
	require.NoError(t, err)
	assert.Equal(t, sample(), got)
	for name, text := range malformedConfigs {
		_, err := decodeConfig([]byte(text))
		assert.Error(t, err, name)
	}
	c := sample()
	for range 300_000 {
		c.Routes = append(c.Routes, route)
	}
	_, err = c.encode()
	assert.ErrorContains(t, err, "more than 4194304")
}

// What the configuration does not have is refused: another address, the same with another
// prefix length, an address as a route.
func TestAllows(t *testing.T) {
	c := sample()
	for _, r := range requests {
		assert.NoError(t, c.allows(r), r)
	}
	for _, r := range []request{
		{op: opAddIP, prefix: route}, {op: opAddRoute, prefix: ip4}, {op: opAddRoute, prefix: ip6},
		{op: opAddIP, prefix: netip.MustParsePrefix("192.0.2.1/25")}, {op: opAddIP, prefix: netip.MustParsePrefix("192.0.2.2/24")},
		{op: opAddIP, prefix: netip.MustParsePrefix("::ffff:192.0.2.1/120")},
		{op: opAddRoute, prefix: netip.MustParsePrefix("64:ff9b::/97")}, {op: opAddRoute, prefix: netip.MustParsePrefix("0.0.0.0/0")},
		{op: 0}, {op: 77},
	} {
		assert.ErrorIs(t, c.allows(r), errNotConfigured, r)
	}
	c.Up = false
	assert.ErrorIs(t, c.allows(request{op: opUp}), errNotConfigured)
	c.FastPath = false
	assert.ErrorIs(t, c.allows(request{op: opFastPath}), errNotConfigured)
	c.Network = nil
	assert.ErrorIs(t, c.allows(request{op: opNetwork, list: "[]"}), errNotConfigured)
	assert.ErrorIs(t, c.allows(request{op: opResolvers}), errNotConfigured)
}

// A list of changes is that, and nothing else; so is one of resolvers.
func TestLists(t *testing.T) {
	changes := []hostnet.Change{
		{Link: &hostnet.Link{Device: "clat", MTU: 1500}},
		{Route: &hostnet.Route{Device: "clat", Dst: netip.MustParsePrefix("0.0.0.0/0"), Metric: 2048}},
	}
	b, err := encodeChanges(changes)
	require.NoError(t, err)
	got, err := decodeChanges(b)
	assert.NoError(t, err)
	assert.Equal(t, changes, got)
	for _, text := range []string{"", "{}", "[", "[]]", `[{"Run":"/bin/sh"}]`, `[{"Link":{"Device":7}}]`} {
		_, err := decodeChanges([]byte(text))
		assert.ErrorIs(t, err, errMalformed, text)
	}
	_, err = encodeChanges(make([]hostnet.Change, maxRequest))
	assert.ErrorContains(t, err, "more than 32768")

	addrs := []netip.Addr{netip.MustParseAddr("fe80::1%eth0"), ip4.Addr()}
	again, err := decodeAddrs(encodeAddrs(addrs))
	assert.NoError(t, err)
	assert.Equal(t, addrs, again)
	for _, text := range []string{"x", "192.0.2.1,", strings.Repeat("::1 ", maxAddrs+1)} {
		_, err := decodeAddrs(text)
		assert.ErrorIs(t, err, errMalformed, text)
	}
}
