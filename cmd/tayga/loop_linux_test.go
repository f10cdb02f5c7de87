package main

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// translations asks the daemon how many packets it has forwarded.
func (b *bench) translations() (n uint64) {
	b.Helper()
	out, errs, code := b.tayga("--status", "--json", "-c", b.conf)
	require.Equal(b, 0, code, errs)
	var r status.Report
	require.NoError(b, json.Unmarshal([]byte(out), &r))
	for _, c := range r.Packets {
		if c.Verdict == "forward" {
			n += c.Packets
		}
	}
	return n
}

// TestUnmappedOfRoutedBlock: a provider routes a block to the gateway, and not all of
// its addresses have a map. A packet to one of the others went round between the
// translator and the kernel until its hop limit ran out: 100 packets became 12,700
// translations. It is answered at once now: with 64:ff9b::/96 by default, with another
// prefix if the file says so.
func TestUnmappedOfRoutedBlock(t *testing.T) {
	const own = "2001:db8:64::/96"
	for _, c := range []struct {
		name, conf string
		loops      bool
	}{
		{"well-known-prefix", villageConf, false},
		{"own-prefix-checked", strings.ReplaceAll(villageConf, "64:ff9b::/96", own) + "loop-check yes\n", false},
		{"own-prefix", strings.ReplaceAll(villageConf, "64:ff9b::/96", own), true},
		{"checked-elsewhere", strings.ReplaceAll(villageConf, "64:ff9b::/96", own) + "prefix 2001:db8:65::/96\nloop-check yes 2001:db8:65::/96\n", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newVillage(t, c.conf+"status-socket DIR/socket\n")
			p := v.launch()
			before := v.translations()
			_, err := v.server.Ping(netip.MustParseAddr("198.51.99.99"), netlab.Echo{Size: 56, Timeout: 5 * time.Second})
			var told *netlab.ICMPError
			require.True(t, errors.As(err, &told), "%v", err)
			if c.loops {
				assert.Equal(t, 11, told.Type, "time exceeded: the packet went round")
				assert.Greater(t, v.translations()-before, uint64(20))
			} else {
				assert.Equal(t, [2]int{3, 1}, [2]int{told.Type, told.Code}, "host unreachable")
				assert.Zero(t, v.translations()-before)
			}
			require.NoError(t, p.Stop(patience))
		})
	}

	// Mapped addresses of the block answer, and so do the own ones.
	v := newVillage(t, villageConf)
	p := v.launch()
	for _, a := range []string{client4, "198.51.99.1"} {
		_, err := v.server.Ping(netip.MustParseAddr(a), netlab.Echo{Size: 56})
		assert.NoError(t, err, a)
	}
	out, _, _ := v.tayga("--doctor", "-c", v.conf)
	assert.Contains(t, out, "note: unmapped: 198.51.99.0, to which the route 198.51.99.0/24 leads to nat64, has neither a map nor a pool")
	for _, a := range []string{serverIn6, "64:ff9b::198.51.99.1", "2001:db8:1::64"} {
		_, err := v.client.Ping(netip.MustParseAddr(a), netlab.Echo{Size: 56})
		assert.NoError(t, err, a)
	}
	require.NoError(t, p.Stop(patience))
}
