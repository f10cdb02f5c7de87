package pool_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

var (
	idleHost   = netip.MustParseAddr("2001:db8:77::1")
	idleConfig = pool.Config{
		Prefixes:  []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")},
		LeaseTime: 60 * time.Second,
	}
)

// TestRefresh: what is asked for a packet of the host keeps its lease; whether what is
// asked for other packets does is for the configuration to say.
func TestRefresh(t *testing.T) {
	host := idleHost.As16()
	for _, c := range []struct {
		name    string
		refresh pool.Refresh
		ask     func(p *pool.Pool, addr [4]byte) bool
		kept    bool
	}{
		{"both/assign", pool.RefreshBoth, func(p *pool.Pool, _ [4]byte) bool { _, ok := p.Assign(host); return ok }, true},
		{"both/addr", pool.RefreshBoth, func(p *pool.Pool, _ [4]byte) bool { _, ok := p.Addr(host); return ok }, true},
		{"both/host", pool.RefreshBoth, func(p *pool.Pool, addr [4]byte) bool { _, ok := p.Host(addr); return ok }, true},
		{"outbound/assign", pool.RefreshOutbound, func(p *pool.Pool, _ [4]byte) bool { _, ok := p.Assign(host); return ok }, true},
		{"outbound/addr", pool.RefreshOutbound, func(p *pool.Pool, _ [4]byte) bool { _, ok := p.Addr(host); return ok }, false},
		{"outbound/host", pool.RefreshOutbound, func(p *pool.Pool, addr [4]byte) bool { _, ok := p.Host(addr); return ok }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, now := idleConfig, time.Unix(0, 0)
			cfg.Refresh = c.refresh
			p, err := pool.New(cfg, now)
			if err != nil {
				t.Fatal(err)
			}
			addr, _ := p.Assign(host)
			for range 10 {
				now = now.Add(30 * time.Second)
				p.Tick(now)
				if !c.ask(p, addr) {
					break
				}
				p.Expire(now)
			}
			if held := p.Stats().Held == 1; held != c.kept {
				t.Errorf("lease held: %t, want %t", held, c.kept)
			}
			if _, ok := p.Addr(host); ok != c.kept {
				t.Errorf("the host has an address: %t", ok)
			}
			if again, ok := p.Assign(host); !ok || again != addr {
				t.Errorf("the host gets %v, not %v again", again, addr)
			}
		})
	}
	cfg := idleConfig
	cfg.Refresh = pool.RefreshOutbound + 1
	if _, err := pool.New(cfg, time.Unix(0, 0)); err == nil {
		t.Error("a value out of range is accepted")
	}
}

// TestDeadLease: one packet from the IPv4 side now and then, of which internet
// scanning sends more, kept the lease of a host that was gone for ever; so did the
// errors that routers sent about such packets. With RefreshOutbound only the host's
// own packets count, also where the worker remembers its flows in both directions.
func TestDeadLease(t *testing.T) {
	server4, server6 := netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("64:ff9b::9.9.9.9")
	udp := packettest.UDP(1, 2, nil)
	for _, c := range []struct {
		name                      string
		refresh                   pool.Refresh
		in, out, unreach, hairpin bool
		kept                      bool
	}{
		{"both/in", pool.RefreshBoth, true, false, false, false, true},
		{"both/errors", pool.RefreshBoth, false, false, true, false, true},
		{"both/hairpin", pool.RefreshBoth, false, false, false, true, true},
		{"outbound/in", pool.RefreshOutbound, true, false, false, false, false},
		{"outbound/in-and-errors", pool.RefreshOutbound, true, false, true, false, false},
		{"outbound/hairpin", pool.RefreshOutbound, false, false, false, true, false},
		{"outbound/out", pool.RefreshOutbound, false, true, false, false, true},
		{"outbound/in-and-out", pool.RefreshOutbound, true, true, false, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, start := idleConfig, time.Unix(0, 0)
			cfg.Refresh = c.refresh
			p, err := pool.New(cfg, start)
			if err != nil {
				t.Fatal(err)
			}
			leased, _ := p.Assign(idleHost.As16())
			addr := netip.AddrFrom4(leased)
			w := newWorker(t, p)
			in6, err := translate.Embed(netip.MustParsePrefix("64:ff9b::/96"), addr)
			if err != nil {
				t.Fatal(err)
			}
			ip := func(src, dst netip.Addr, payload packettest.Payload) []byte {
				return packettest.IP(packettest.Header{Src: src, Dst: dst}, payload)
			}
			in, out := ip(server4, addr, udp), ip(idleHost, server6, udp)
			unreach := ip(netip.MustParseAddr("2001:db8:bad::1"), server6, packettest.ICMP(1, 3, 0, ip(server6, idleHost, udp)))
			hairpin := ip(netip.MustParseAddr("2001:db8:6::6"), in6, udp)
			for elapsed := time.Duration(0); elapsed < 300*time.Second; elapsed += time.Second {
				p.Tick(start.Add(elapsed))
				if elapsed%(45*time.Second) == 0 {
					p.Expire(start.Add(elapsed))
				}
				for _, s := range []struct {
					on  bool
					pkt []byte
				}{{c.in, in}, {c.out, out}, {c.unreach, unreach}, {c.hairpin, hairpin}} {
					if s.on {
						pkt := packettest.Buffer(s.pkt)
						w.Translate(elapsed, &pkt)
					}
				}
			}
			if held := p.Stats().Held == 1; held != c.kept {
				t.Errorf("lease held: %t, want %t", held, c.kept)
			}
		})
	}
}

// newWorker returns a worker whose hosts lease from p.
func newWorker(t *testing.T, p *pool.Pool) *translate.Worker {
	t.Helper()
	prefix := netip.MustParsePrefix
	tab, err := translate.NewTable(translate.TableConfig{
		Prefixes: []netip.Prefix{prefix("64:ff9b::/96")},
		Maps:     []translate.Map{{IPv4: prefix("45.67.89.6/32"), IPv6: prefix("2001:db8:6::6/128")}},
		Pools:    []translate.Pool{{Prefixes: idleConfig.Prefixes, Dynamic: p}},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := packettest.Config()
	cfg.AllowPrivate = true // the pool is of addresses for documentation
	tr, err := translate.New(cfg, tab)
	if err != nil {
		t.Fatal(err)
	}
	return tr.NewWorker()
}
