package session_test

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// TestConcurrent: both directions of few flows on several workers, while sessions expire
// and the configuration changes. No packet of one host reaches another, both directions
// agree, and in the end nothing is left.
func TestConcurrent(t *testing.T) {
	cfg := config()
	cfg.Pools[0].Prefix = prefix("192.0.2.0/30")
	cfg.Pools[0].Low, cfg.Pools[0].High = 1024, 1024+20
	cfg.Quarantine = -1
	cfg.Timeouts.DNS = time.Second
	cfg.OnEvent = func(session.Event) {}
	tab, err := session.New(cfg)
	require.NoError(t, err)

	var (
		clock atomic.Int64
		wg    sync.WaitGroup
		hits  atomic.Int64
	)
	for w := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range 20_000 {
				now := time.Duration(clock.Load())
				f := translate.Tuple6{
					Host: host6(r.Uint64N(8)), HostPort: uint16(1000 + r.IntN(2)),
					Remote: server + r.Uint32N(2), RemotePort: 53, Proto: []uint8{tcp, udp, icmp}[r.IntN(3)],
				}
				flags := []uint8{syn, ack, fin, rst}[r.IntN(4)]
				var to translate.Tuple4
				res := tab.Outbound(now, &f, flags, &to)
				if res == translate.FlowMapped {
					var got translate.Tuple6
					res := tab.Inbound(now, &to, syn, &got)
					if res == translate.FlowMapped && got.Host == f.Host {
						hits.Add(1)
						if got.HostPort != f.HostPort || got.Remote != f.Remote {
							t.Errorf("%+v came back as %+v", f, got)
						}
					}
					tab.InboundError(now, &to, new(translate.Tuple6))
					tab.OutboundError(now, &f, new(translate.Tuple4))
				}
				if i%50 == 0 {
					clock.Add(int64(time.Second))
				}
			}
		})
	}
	stop := make(chan struct{})
	var back sync.WaitGroup
	back.Go(func() {
		second := cfg
		second.Filtering = session.AddressDependent
		second.Static = []session.Static{{Proto: udp, Addr: at("192.0.2.1:1030"), Host: at("[2001:db8::3]:1000")}}
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			tab.Expire(time.Duration(clock.Load()))
			tab.Sessions(nil, 0, session.Filter{}, 0, 100)
			tab.Stats()
			tab.Addresses()
			if i%20 == 0 {
				next := cfg
				if i%40 == 0 {
					next = second
				}
				if err := tab.Update(time.Duration(clock.Load()), next); err != nil {
					t.Error(err)
				}
			}
		}
	})
	wg.Wait()
	close(stop)
	back.Wait()
	require.Positive(t, hits.Load())

	require.NoError(t, tab.Update(time.Duration(clock.Load()), cfg))
	for tab.Expire(time.Duration(clock.Load()) + 10*time.Hour) {
	}
	st := tab.Stats()
	require.Zero(t, st.Sessions+st.HalfOpen+st.Inbound+st.Hosts+st.Subscribers+len(st.Bindings)+len(st.ByState), "%+v", st)
	require.Empty(t, tab.Addresses())
	// All ports can be assigned again.
	for i := range uint64(4 * 21) {
		f := from6(tcp, 2000)
		f.Host = host6(i)
		r := tab.Outbound(time.Duration(clock.Load())+20*time.Hour, &f, syn, new(translate.Tuple4))
		require.Equal(t, translate.FlowMapped, r, i)
	}
}
