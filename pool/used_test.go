package pool_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/pool"
)

// TestUsed: a lease that the pool is not asked about stays held for as long as Used knows of
// packets, and ends its time after the last that counts.
func TestUsed(t *testing.T) {
	host := idleHost.As16()
	for _, c := range []struct {
		name     string
		refresh  pool.Refresh
		from, to time.Duration
		kept     bool
	}{
		{"both, from the host", pool.RefreshBoth, 59 * time.Second, -1, true},
		{"both, to the host", pool.RefreshBoth, -1, 0, true},
		{"both, to the host later", pool.RefreshBoth, time.Hour, time.Second, true},
		{"both, from the host later", pool.RefreshBoth, time.Second, time.Hour, true},
		{"both, too long ago", pool.RefreshBoth, 60 * time.Second, 61 * time.Second, false},
		{"both, none", pool.RefreshBoth, -1, -1, false},
		{"both, before there was time", pool.RefreshBoth, 1 << 62, -1, false},
		{"outbound, from the host", pool.RefreshOutbound, 0, -1, true},
		{"outbound, to the host", pool.RefreshOutbound, -1, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := idleConfig
			cfg.Refresh = c.refresh
			var asked [4]byte
			cfg.Used = func(h [16]byte, addr [4]byte) (from, to time.Duration) {
				require.Equal(t, host, h)
				asked = addr
				return c.from, c.to
			}
			now := time.Now()
			p, err := pool.New(cfg, now)
			require.NoError(t, err)
			addr, ok := p.Assign(host)
			require.True(t, ok)
			p.Expire(now.Add(20 * time.Second))
			require.Zero(t, asked, "it was used a moment ago")
			dormant, _ := p.Expire(now.Add(61 * time.Second))
			require.Equal(t, addr, asked)
			require.Equal(t, c.kept, dormant == 0)
			for l := range p.All() {
				require.Equal(t, c.kept, l.Held)
				if c.kept {
					ago := c.from
					if ago < 0 || c.refresh == pool.RefreshBoth && 0 <= c.to && c.to < ago {
						ago = c.to
					}
					require.WithinDuration(t, now.Add(61*time.Second-ago), l.Used, 2*time.Second)
				}
			}
		})
	}
}

// TestUsedShortLease: a lease time below half a minute ended leases that were in use, since
// Used was not asked about them.
func TestUsedShortLease(t *testing.T) {
	for _, time4 := range []time.Duration{time.Second, 10 * time.Second, 30 * time.Second, 31 * time.Second} {
		cfg := idleConfig
		cfg.LeaseTime = time4
		cfg.Used = func([16]byte, [4]byte) (from, to time.Duration) { return 0, -1 }
		now := time.Now()
		p, err := pool.New(cfg, now)
		require.NoError(t, err)
		_, ok := p.Assign(idleHost.As16())
		require.True(t, ok)
		for range 5 {
			now = now.Add(time4 + time.Second)
			dormant, _ := p.Expire(now)
			require.Zero(t, dormant, time4)
		}
	}
}

// TestAsk: a list and a file have the last use of a lease, also if Expire has not asked for it.
func TestAsk(t *testing.T) {
	cfg := idleConfig
	used := time.Duration(-1)
	cfg.Used = func([16]byte, [4]byte) (from, to time.Duration) { return used, -1 }
	now := time.Now()
	p, err := pool.New(cfg, now)
	require.NoError(t, err)
	lease := func() pool.Lease {
		for l := range p.All() {
			return l
		}
		return pool.Lease{}
	}
	_, ok := p.Assign(idleHost.As16())
	require.True(t, ok)
	now = now.Add(20 * time.Second)
	p.Expire(now)
	l := lease()
	require.Equal(t, l, p.Ask(l), "none is known")
	p.Refresh()
	require.Equal(t, l, lease())
	used = 3 * time.Second
	l = p.Ask(l)
	require.WithinDuration(t, now.Add(-used), l.Used, time.Second)
	require.Equal(t, l, lease())
	used = time.Second
	p.Refresh()
	require.WithinDuration(t, now.Add(-used), lease().Used, time.Second)
	dormant := l
	dormant.Held = false
	require.Equal(t, dormant, p.Ask(dormant))
	gone := l
	gone.Host = gone.Host.Next()
	require.Equal(t, gone, p.Ask(gone), "it has ended meanwhile")
}
