package main

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

// Every directive about packets arrives at the translator.
func TestTranslatorConfig(t *testing.T) {
	c := confOf(t, `tun-device nat64
ipv4-addr 192.0.2.1
ipv6-addr 2001:db8::1
prefix 64:ff9b::/96
wkpf-strict no
udp-cksum-mode fwd
offlink-mtu 1400
hairpin off
icmp-errors rfc7915
icmp-pool 192.0.2.8 2001:db8::8
icmp-node-address yes
tos 184
traffic-class 0
flow-labels yes
tcp-mss-clamp auto
`)
	assert.Equal(t, translate.Config{
		IPv4:          netip.MustParseAddr("192.0.2.1"),
		IPv6:          netip.MustParseAddr("2001:db8::1"),
		MTU4:          1480,
		MTU6:          1480,
		LowestIPv6MTU: 1400,
		UDPZero:       translate.UDPZeroForward,
		Hairpin:       translate.HairpinOff,
		ICMPErrors:    translate.ErrorsRFC7915,
		AllowPrivate:  true,
		AllowClassE:   true,
		ICMPPool4:     []netip.Addr{netip.MustParseAddr("192.0.2.8")},
		ICMPPool6:     []netip.Addr{netip.MustParseAddr("2001:db8::8")},
		NodeAddress:   true,
		TOS6to4:       translate.TOS{Override: true, Value: 184},
		TOS4to6:       translate.TOS{Override: true},
		FlowLabels:    true,
		MSSClamp:      translate.MSSAuto,
	}, c.Translator(1480))

	// The rate of errors, and that of path MTU errors, which is left alone.
	for added, want := range map[string]translate.Config{
		"icmp-rate 10 20":                  {ErrorRate: 10, ErrorBurst: 20, MTUErrorRate: 100, MTUErrorBurst: 50},
		"icmp-rate 10":                     {ErrorRate: 10, MTUErrorRate: 100},
		"icmp-rate off":                    {ErrorRate: -1, MTUErrorRate: 100},
		"icmp-mtu-rate 30 5":               {MTUErrorRate: 30, MTUErrorBurst: 5},
		"icmp-rate unlimited":              {ErrorRate: translate.UnlimitedErrors, MTUErrorRate: 100},
		"icmp-rate off\nicmp-mtu-rate off": {ErrorRate: -1, MTUErrorRate: -1},
	} {
		got := confOf(t, poolConf+added+"\n").Translator(1500)
		assert.Equal(t, want, translate.Config{
			ErrorRate: got.ErrorRate, ErrorBurst: got.ErrorBurst, MTUErrorRate: got.MTUErrorRate, MTUErrorBurst: got.MTUErrorBurst,
		}, added)
	}

	// What TAYGA does unless told otherwise.
	c = confOf(t, poolConf)
	assert.Equal(t, translate.Config{
		IPv4:          netip.MustParseAddr("172.16.2.1"),
		IPv6:          netip.MustParseAddr("2001:db8:64::ac10:201"),
		MTU4:          1500,
		MTU6:          1500,
		LowestIPv6MTU: 1280,
		ICMPErrors:    translate.ErrorsTAYGA,
		AllowClassE:   true,
	}, c.Translator(1500))
}

// A /96 whose bits 64 to 71 are set is no prefix of RFC 6052, but TAYGA
// translates with it.
func TestOddPrefix(t *testing.T) {
	c := confOf(t, "tun-device nat64\nipv4-addr 192.0.2.1\nprefix 2001:db8:0:0:100::/96\n")
	assert.Equal(t, "2001:db8::100:0:c000:201", c.IPv6.String())
	tab := c.Table(nil, nil)
	assert.Empty(t, tab.Prefixes)
	require.Len(t, tab.Maps, 1)
	assert.Equal(t, "0.0.0.0/0 2001:db8:0:0:100::/96", tab.Maps[0].String())
	_, err := translate.NewTable(tab)
	assert.NoError(t, err)
}

// Addresses that are the translator's or have a map are not leased.
func TestReservedAddresses(t *testing.T) {
	c := confOf(t, `tun-device nat64
ipv4-addr 172.16.2.1
ipv6-addr 2001:db8::1
prefix 64:ff9b::/96
dynamic-pool 172.16.2.0/29
map 172.16.2.5 2001:db8:5::5
icmp-pool 172.16.2.6
`)
	assert.Equal(t, 4, installed(t, c, time.Now()).Stats().Leases.Size) // .2, .3, .4, .7
}

// TestReservedAmongOthers: maps and pools that hold addresses that no host can have were
// refused as a whole, where TAYGA takes them. The others among them are translated and
// leased, these are dropped and are not.
func TestReservedAmongOthers(t *testing.T) {
	d, dev, _ := inMemory(t, "tun-device nat64\nipv4-addr 192.168.255.1\nipv6-addr 2001:db8:f::1\nprefix 2001:db8:64::/96\n"+
		"map 0.0.0.0/1 2001:db8:7::/97\n")
	signals, ended := d.inBackground()
	from := netip.MustParseAddr("2001:db8:7::10.1.2.3")
	for _, to := range []string{"127.0.0.1", "0.1.2.3", "11.1.2.3"} {
		dev.give(t, packettest.IP(packettest.Header{Src: from, Dst: netip.MustParseAddr("2001:db8:64::" + to)}, packettest.UDP(1, 2, nil)))
	}
	assert.Equal(t, netip.MustParseAddr("2001:db8:7::11.1.2.3").AsSlice(), dev.next(t)[24:40], "only the last one comes out, hairpinned")
	signals <- syscall.SIGTERM
	require.NoError(t, <-ended)

	c := confOf(t, settingsConf+"dynamic-pool 126.0.0.0/7\n")
	p, err := pool.New(pool.Config{Prefixes: c.PoolPrefixes()[1:], Reserved: c.Pool(c.Pools[0], nil).Reserved}, time.Now())
	require.NoError(t, err)
	assert.Equal(t, 1<<24-1, p.Stats().Size, "126.0.0.0/8 without its lowest address")
}

// The directives about who may lease, how much and how long arrive at the pool.
func TestPoolDirectives(t *testing.T) {
	c := confOf(t, poolConf+`dynamic-pool 172.16.3.0/24
dynamic-pool-clients 2001:db8:a::/48 2001:db8:b::/48
dynamic-pool-max-per-prefix 64 2
dynamic-pool-hold 60
dynamic-pool-forget 1h
`)
	now := time.Now()
	p := installed(t, c, now).Pools()[0]
	assert.Equal(t, 253+255, p.Stats().Size)
	lease := func(h string) bool {
		_, ok := p.Assign(host(h))
		return ok
	}
	assert.False(t, lease("2001:db8:c::1"), "not a client")
	assert.True(t, lease("2001:db8:a::1"))
	assert.True(t, lease("2001:db8:a::2"))
	assert.False(t, lease("2001:db8:a::3"), "third host of a /64")
	assert.True(t, lease("2001:db8:a:1::3"))
	dormant, forgotten := p.Expire(now.Add(61 * time.Second))
	assert.Equal(t, []int{3, 0}, []int{dormant, forgotten})
	dormant, forgotten = p.Expire(now.Add(3601 * time.Second))
	assert.Equal(t, []int{0, 3}, []int{dormant, forgotten})
}
