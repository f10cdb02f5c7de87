package taygaconf

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A CLAT needs no file, and a file needs no clat yes for one.
func TestLoadCLAT(t *testing.T) {
	c, problems := LoadCLAT("", nil)
	require.Empty(t, problems)
	assert.Equal(t, CLAT{On: true}, c.CLAT)
	assert.Equal(t, "clat", c.TunDevice)
	assert.Equal(t, netip.MustParseAddr("192.0.0.2"), c.IPv4)
	assert.Empty(t, c.Prefixes)
	assert.Equal(t, "--clat", c.File)

	file := filepath.Join(t.TempDir(), "tayga.conf")
	require.NoError(t, os.WriteFile(file, []byte("prefix 2001:db8:64::/48\nclat-uplink wlan0\nclat-address shared\nclat-resolver 2001:db8::53 [2001:db8::54]:5353\n"+
		"clat-share 172.17.0.0/16\nclat-share 192.168.122.0/24\nclat-inbound yes\ntun-device nat46\nipv4-addr 192.0.0.6\nfast-path off\n"), 0o600))
	c, problems = LoadCLAT(file, nil)
	require.Empty(t, problems)
	assert.Equal(t, CLAT{
		On: true, Uplink: "wlan0", Address: CLATAddress{Mode: CLATShared}, Inbound: true,
		Resolvers: []netip.AddrPort{netip.MustParseAddrPort("[2001:db8::53]:53"), netip.MustParseAddrPort("[2001:db8::54]:5353")},
		Share:     []netip.Prefix{netip.MustParsePrefix("172.17.0.0/16"), netip.MustParsePrefix("192.168.122.0/24")},
	}, c.CLAT)
	assert.Equal(t, "nat46", c.TunDevice)
	assert.Equal(t, netip.MustParseAddr("192.0.0.6"), c.IPv4)
	assert.Equal(t, []netip.Prefix{netip.MustParsePrefix("2001:db8:64::/48")}, c.Prefixes)
	assert.False(t, c.FastPath)

	_, problems = LoadCLAT(filepath.Join(t.TempDir(), "none"), nil)
	assert.True(t, problems.Failed())
}

// What contradicts a CLAT is an error on its line, and so is nonsense.
func TestCLATProblems(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"clat yes\nmap 192.0.2.1 2001:db8::1", `f:2: map: not with clat yes: a CLAT has one map, which it makes itself`},
		{"map-file m\nclat yes", `f:1: map-file: not with clat yes: a CLAT has one map, which it makes itself`},
		{"clat yes\ndynamic-pool 192.0.2.0/24", `f:2: dynamic-pool: not with clat yes: a CLAT leases no addresses`},
		{"clat yes\nstateful-pool 192.0.2.1", `f:2: stateful-pool: not with clat yes: a CLAT shares no addresses by port: for other clients there is clat-share`},
		{"clat yes\ntun-up yes", `f:2: tun-up: not with clat yes: a CLAT sets up its device itself`},
		{"clat yes\ntun-ip 192.0.0.1", `f:2: tun-ip: not with clat yes: a CLAT sets up its device itself`},
		{"clat yes\ntun-route 2001:db8::464", `f:2: tun-route: not with clat yes: a CLAT sets up its device itself`},
		{"clat yes\nipv6-addr 2001:db8::1", `f:2: ipv6-addr: not with clat yes: a CLAT has no other address than that of its programs: see clat-address`},
		{"clat yes\nprefix 64:ff9b::/96\nprefix 2001:db8::/96", `f:3: prefix: a CLAT has one prefix, and 64:ff9b::/96 is one already: remove one of the two`},
		{"clat yes\nhairpin simple", `f:2: hairpin: simple hides the host of a CLAT (RFC 7757 §4.2.1): take another`},
		{"clat yes\nclat no", `f:2: clat: given before, on line 1: remove one of the two`},
		{"clat perhaps", `f:1: clat: "perhaps" is neither yes nor no`},
		{"clat yes\nclat-uplink clat", `f:2: clat-uplink: clat is the device of the CLAT itself`},
		{"clat yes\nclat-uplink a/b", `f:2: clat-uplink: "a/b" is no name for a device`},
		{"clat yes\nclat-address 192.0.0.1", `f:2: clat-address: "192.0.0.1" is neither auto, own nor shared, nor an IPv6 address`},
		{"clat yes\nclat-address fe80::1", `f:2: clat-address: fe80::1 is not an address that other networks can reach`},
		{"clat yes\nclat-address 64:ff9b::1\nprefix 64:ff9b::/96", `f:3: clat-address: 64:ff9b::1 lies inside prefix 64:ff9b::/96, where the IPv4 hosts are`},
		{"clat yes\nclat-resolver dns", `f:2: clat-resolver: "dns" is not an address such as 2001:db8::53, or [2001:db8::53]:5353 with a port`},
		{"clat yes\nclat-resolver ::", `f:2: clat-resolver: :: is not the address of a resolver`},
		{"clat yes\nclat-resolver ::1 ::2 ::3 ::4 ::5", `f:2: clat-resolver: 5 resolvers: more than 4`},
		{"clat yes\nclat-share 2001:db8::/64", `f:2: clat-share: "2001:db8::/64" is not an IPv4 network such as 172.17.0.0/16`},
		{"clat yes\nclat-share 192.0.0.0/24", `f:2: clat-share: 192.0.0.0/24 contains 192.0.0.0/29, which is the CLAT's`},
		{"clat yes\nclat-share 0.0.0.0/0", `f:2: clat-share: 0.0.0.0/0 contains 192.0.0.0/29, which is the CLAT's`},
	} {
		_, problems := Read(strings.NewReader(test.text+"\n"), "f", nil)
		assert.True(t, problems.Failed(), test.text)
		var lines []string
		for _, p := range problems {
			lines = append(lines, fmt.Sprint(&p))
		}
		assert.Contains(t, lines, test.want, test.text)
	}
	_, problems := readAs(strings.NewReader("clat no\n"), "f", nil, true)
	assert.True(t, problems.Failed())

	c, problems := Read(strings.NewReader("tun-device nat64\nipv4-addr 192.0.2.1\nprefix 2001:db8::/96\nclat-uplink eth0\nclat no\n"), "f", nil)
	require.Len(t, problems, 1)
	assert.Equal(t, "f:4: clat-uplink: warning: has no effect without clat yes", fmt.Sprint(&problems[0]))
	assert.False(t, c.CLAT.On)
}
