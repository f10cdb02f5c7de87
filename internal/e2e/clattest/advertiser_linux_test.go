package clattest

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/ipv6"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

var allNodes = netip.MustParseAddr("ff02::1")

// An advertiser is a router on a link. Its advertisements are made by another program's
// encoder: mdlayher/ndp.
type advertiser struct {
	t    *testing.T
	conn *ndp.Conn

	mu     sync.Mutex
	advert ndp.RouterAdvertisement
	on     bool        // whether it advertises at all
	sent   []time.Time // when it has advertised
}

// advertise makes the router one that advertises on the interface, from an address of its
// link; of the zero address it uses that of the kernel. It begins with the first call of say.
func advertise(t *testing.T, router *netlab.Host, ifname string, from ndp.Addr) *advertiser {
	t.Helper()
	a := &advertiser{t: t}
	if from == "" {
		from = ndp.LinkLocal
	}
	require.NoError(t, router.Do(func() error {
		ifi, err := net.InterfaceByName(ifname)
		if err != nil {
			return err
		}
		if a.conn, _, err = ndp.Listen(ifi, from); err != nil {
			return err
		}
		if err := a.conn.SetControlMessage(ipv6.FlagHopLimit, true); err != nil {
			return err
		}
		return a.conn.JoinGroup(netip.MustParseAddr("ff02::2"))
	}))
	done := make(chan struct{})
	t.Cleanup(func() {
		a.conn.Close()
		<-done
	})
	go func() {
		defer close(done)
		a.answer()
	}()
	return a
}

// answer answers solicitations, until the socket is closed.
func (a *advertiser) answer() {
	for {
		m, cm, _, err := a.conn.ReadFrom()
		if err != nil {
			return
		}
		if _, ok := m.(*ndp.RouterSolicitation); !ok || cm.HopLimit != ndp.HopLimit {
			continue
		}
		a.mu.Lock()
		if a.on {
			a.send()
		}
		a.mu.Unlock()
	}
}

// send advertises to all hosts. a.mu is locked.
func (a *advertiser) send() {
	if a.conn.WriteTo(&a.advert, nil, allNodes) == nil {
		a.sent = append(a.sent, time.Now())
	}
}

// say advertises the options, now and whenever it is asked, and returns the time.
func (a *advertiser) say(options ...ndp.Option) time.Time {
	a.t.Helper()
	return a.sayFor(1800*time.Second, options...)
}

// sayFor is say with the lifetime of the router; with 0 it is none for the default route.
func (a *advertiser) sayFor(life time.Duration, options ...ndp.Option) time.Time {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.advert = ndp.RouterAdvertisement{CurrentHopLimit: 64, RouterLifetime: life, Options: options}
	a.on = true
	n := len(a.sent)
	a.send()
	require.Greater(a.t, len(a.sent), n, "the advertisement could not be sent")
	return a.sent[n]
}

// silence stops advertising.
func (a *advertiser) silence() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.on = false
}

// since returns when the first advertisement was sent after a time, and waits for it.
func (a *advertiser) since(begin time.Time) (at time.Time) {
	a.t.Helper()
	require.True(a.t, eventually(a.t, nil, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		i := slices.IndexFunc(a.sent, func(at time.Time) bool { return !at.Before(begin) })
		if i >= 0 {
			at = a.sent[i]
		}
		return i >= 0
	}), "no host has asked for an advertisement")
	return at
}

// slaac is the option that hosts make addresses of.
func slaac(prefix string) ndp.Option {
	return slaacFor(prefix, time.Hour, 2*time.Hour)
}

// slaacFor is slaac with lifetimes.
func slaacFor(prefix string, preferred, valid time.Duration) ndp.Option {
	p := netip.MustParsePrefix(prefix)
	return &ndp.PrefixInformation{
		PrefixLength: uint8(p.Bits()), OnLink: true, AutonomousAddressConfiguration: true,
		PreferredLifetime: preferred, ValidLifetime: valid, Prefix: p.Addr(),
	}
}

// pref64 is the option of RFC 8781, for half an hour.
func pref64(prefix string) ndp.Option { return pref64For(prefix, 1800*time.Second) }

func pref64For(prefix string, life time.Duration) ndp.Option {
	return &ndp.PREF64{Prefix: netip.MustParsePrefix(prefix), Lifetime: life}
}

// rdnss is the option with a resolver: RFC 8106.
func rdnss(addr string) ndp.Option {
	return &ndp.RecursiveDNSServer{Lifetime: time.Hour, Servers: []netip.Addr{netip.MustParseAddr(addr)}}
}
