package tun

import (
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// firewall loads rules into the namespace of the test.
func firewall(t *testing.T, rules string) {
	t.Helper()
	if _, err := exec.LookPath("nft"); err != nil {
		missing(t, err.Error())
	}
	out, err := exec.Command("nft", rules).CombinedOutput()
	require.NoError(t, err, string(out))
}

// TestProbe: what a kernel that mis-segments super-packets does is
// played by firewall rules that see their size.
func TestProbe(t *testing.T) {
	const table = "add table inet t; "
	for _, tt := range []struct {
		name, rules string
		down        bool
		uso         bool
		err         string
	}{
		{name: "works", uso: true},
		{name: "down", down: true, uso: true, err: "tun: USO of nat64 was not tried: the device is down"},
		{
			name:  "firewall-in",
			rules: table + "add chain inet t c { type filter hook input priority 0; policy drop; }",
			uso:   true,
			err:   "tun: USO of nat64 was not tried: a datagram written to the device: nothing arrives",
		},
		{
			name:  "firewall-out",
			rules: table + "add chain inet t c { type filter hook output priority 0; }; add rule inet t c udp dport 9 drop",
			uso:   true,
			err:   "tun: USO of nat64 was not tried: a datagram read from the device: ",
		},
		{
			name:  "lost-in",
			rules: table + "add chain inet t c { type filter hook input priority 0; }; add rule inet t c meta length > 200 drop",
			err:   "tun: USO of nat64 does not work: a super-packet written to the device: nothing arrives",
		},
		{
			name:  "lost-out",
			rules: table + "add chain inet t c { type filter hook output priority 0; }; add rule inet t c udp length > 200 drop",
			err:   "tun: USO of nat64 does not work: a super-packet read from the device: ",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lab(t)
			require.NoError(t, disableIPv6("0"))
			d := open(t, Config{Name: "nat64", Queues: 2})
			needUSO(t, d)
			if !tt.down {
				setUp(t, d)
			}
			if tt.rules != "" {
				firewall(t, tt.rules)
			}
			err := d.Probe()
			if tt.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tt.err)
			}
			require.Equal(t, Features{Checksum: true, TSO: true, USO: tt.uso}, d.Features())
		})
	}
}

// TestProbeKeepsPackets: what others send while Probe reads is there for Read.
func TestProbeKeepsPackets(t *testing.T) {
	lab(t)
	require.NoError(t, disableIPv6("0"))
	d := open(t, Config{Name: "nat64"})
	needUSO(t, d)
	setUp(t, d)
	s := socket(t, 1000)
	for _, text := range []string{"one", "two", "three"} {
		require.NoError(t, unix.Sendto(s, []byte(text), 0, &unix.SockaddrInet4{Port: 2000, Addr: peer.As4()}))
	}
	require.NoError(t, d.Probe())
	var got []string
	for ps := NewPackets(2); len(got) < 3; {
		n, err := d.Queues()[0].Read(ps)
		require.NoError(t, err)
		for _, p := range ps[:n] {
			if b := p.Bytes(); b[0]>>4 == 4 {
				got = append(got, string(b[28:]))
			}
		}
	}
	require.Equal(t, []string{"one", "two", "three"}, got)
}

// TestProbeInAFlood: with the queue full of other packets, Probe kept each of them
// in a buffer of the largest, and took a super-packet for lost by the kernel that
// there had been no room for. It cannot tell that from a kernel that loses it.
func TestProbeInAFlood(t *testing.T) {
	for _, tt := range []struct{ name, rules, err string }{
		{name: "works"},
		{
			name: "lost-out",
			rules: "add table netdev t; add chain netdev t c { type filter hook egress device nat64 priority 0; }; " +
				"add rule netdev t c udp length > 200 drop",
			err: "tun: USO of nat64 was not tried: a super-packet read from the device: packets of others fill the device's queue",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lab(t)
			require.NoError(t, disableIPv6("0"))
			d := open(t, Config{Name: "nat64"})
			needUSO(t, d)
			setUp(t, d)
			if tt.rules != "" {
				firewall(t, tt.rules)
			}
			s := socket(t, 1000)
			var flood sync.WaitGroup
			var over atomic.Bool
			full := make(chan struct{})
			flood.Go(func() {
				for i := 0; !over.Load(); i++ {
					if i == 2000 {
						close(full)
					}
					_ = unix.Sendto(s, make([]byte, 100), 0, &unix.SockaddrInet4{Port: 2000, Addr: peer.As4()})
				}
			})
			defer flood.Wait()
			defer over.Store(true)
			<-full
			err := d.Probe()
			if tt.err != "" {
				require.EqualError(t, err, tt.err)
			} else if err != nil { // the flood may be too much for this machine
				require.ErrorContains(t, err, errCrowded.Error())
			}
			require.True(t, d.Features().USO)

			q := d.Queues()[0]
			require.NotEmpty(t, q.early)
			require.LessOrEqual(t, len(q.early), maxEarly)
			for _, p := range q.early {
				require.Less(t, cap(p.Buf), 1000, "of a packet with %d bytes", p.Len)
			}
			t.Logf("%d packets kept, %d counted as lost", len(q.early), q.Failed())
		})
	}
}

func TestProbeWithoutIPv6(t *testing.T) {
	lab(t)
	d := open(t, Config{Name: "nat64"})
	setUp(t, d)
	f := d.Features()
	if f.USO {
		require.ErrorContains(t, d.Probe(), "tun: USO of nat64 was not tried: the device has no link-local address")
	}
	require.Equal(t, f, d.Features())
}

func TestProbeWithoutUSO(t *testing.T) {
	lab(t)
	d := open(t, Config{Name: "nat64", NoUSO: true})
	require.NoError(t, d.Probe(), "nothing to try")
}
