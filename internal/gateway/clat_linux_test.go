package gateway

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/fastpath"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
	"github.com/steppe-nat64/steppe/translate"
	"github.com/steppe-nat64/steppe/tun"
)

var (
	clatServer = netip.MustParseAddr("9.9.1.2") // the well-known prefix has no others
	clatHost4  = netip.MustParseAddr("192.0.0.1")
	clatHost6  = netip.MustParseAddr("2001:db8:1::464")
	// clatPrefixes follow each other: an epoch has one, and then there is none.
	clatPrefixes = []netip.Prefix{netip.MustParsePrefix("2001:db8:64::/96"), netip.MustParsePrefix("64:ff9b::/96"), {}, netip.MustParsePrefix("2001:db8:65:66::/64")}
)

// clatIn is the CLAT of an epoch. Its own address changes, too.
func clatIn(epoch int64) *CLAT {
	p := prefixIn(epoch)
	if !p.IsValid() {
		return new(CLAT)
	}
	own := netip.MustParseAddr("2001:db8:1::2")
	if epoch/4%2 == 1 {
		own = own.Next()
	}
	return &CLAT{Prefix: p, Host4: clatHost4, Host6: clatHost6, IPv6: own}
}

func prefixIn(epoch int64) netip.Prefix { return clatPrefixes[epoch%int64(len(clatPrefixes))] }

// inside returns the server's address in a prefix.
func inside(t *testing.T, p netip.Prefix) netip.Addr {
	t.Helper()
	a, err := translate.Embed(p, clatServer)
	require.NoError(t, err)
	return a
}

// A clatBed is a gateway for the programs of its machine, whose device has the fast path. The
// server is on the same machine: its addresses are inside all of clatPrefixes.
type clatBed struct {
	*testing.T
	g   *Gateway
	lab *netlab.Host
}

func newCLATBed(t *testing.T) *clatBed {
	lab := netlab.New(t).Host("machine")
	b := &clatBed{T: t, lab: lab}
	path, err := fastpath.Load(fastpath.Sizes{})
	require.NoError(t, err)
	t.Cleanup(func() { path.Close() })
	started := time.Now()
	b.g, err = Install(Config{Conf: read(t, "clat yes\nprefix 2001:db8:66::/96\n"), Now: time.Now()})
	require.NoError(t, err)
	require.NoError(t, b.g.FastRules())
	require.NoError(t, b.g.SetFastPath(FastPath{Cache: path.Cache, Now: func() time.Duration { return time.Since(started) }}))
	var device *tun.Device
	require.NoError(t, lab.Do(func() (err error) {
		if device, err = tun.Open(tun.Config{Name: "nat64", Queues: 2}); err != nil {
			return err
		}
		if err := device.SetUp(true); err != nil {
			return err
		}
		return path.Attach(device.Index())
	}))
	t.Cleanup(func() { device.Close() })
	lab.Forwarding()
	lab.Addr("lo", clatHost4.String()+"/32")
	for _, p := range clatPrefixes {
		if p.IsValid() {
			lab.Addr("lo", inside(t, p).String()+"/128")
		}
	}
	lab.Route("9.9.1.0/24", "", "nat64")
	lab.Route(clatHost6.String()+"/128", "", "nat64")
	require.NoError(t, b.g.StartFastPath()) // which has nothing to do yet
	for i, q := range device.Queues() {
		go pumpForTest(b.g.Worker(i), q, started)
	}
	return b
}

func (b *clatBed) listen(at netip.Addr) *net.UDPConn {
	c, err := b.lab.ListenPacket("udp", netip.AddrPortFrom(at, 7000).String())
	require.NoError(b, err)
	b.Cleanup(func() { c.Close() })
	return c.(*net.UDPConn)
}

// servers listens at the server's addresses, in the order of clatPrefixes.
func (b *clatBed) servers() (list []*net.UDPConn) {
	for _, p := range clatPrefixes {
		if !p.IsValid() {
			list = append(list, nil)
			continue
		}
		list = append(list, b.listen(inside(b.T, p)))
	}
	return list
}

func (b *clatBed) update(c *CLAT) {
	b.Helper()
	_, err := b.g.Update(Changes{CLAT: c})
	require.NoError(b, err)
}

// byKernel is how many packets the kernel has translated.
func (b *clatBed) byKernel() (n uint64) {
	for _, c := range b.g.Stats().Fast {
		if c.Reason.Translated() {
			n += c.Packets
		}
	}
	return n
}

// TestCLATPrefixChanges: a prefix that is found late, and each after it, is used by workers and
// by the kernel as soon as Update returns: a packet that is sent then arrives, both ways. So
// does the next after an Update that changes nothing, by the kernel.
func TestCLATPrefixChanges(t *testing.T) {
	b := newCLATBed(t)
	program, servers := b.listen(clatHost4), b.servers()
	number := uint64(0)
	pass := func(from *net.UDPConn, to netip.Addr, at *net.UDPConn, shows netip.Addr) {
		t.Helper()
		number++
		_, err := from.WriteToUDPAddrPort(binary.BigEndian.AppendUint64(nil, number), netip.AddrPortFrom(to, 7000))
		require.NoError(t, err)
		var got [16]byte
		require.NoError(t, at.SetReadDeadline(time.Now().Add(time.Minute)))
		n, who, err := at.ReadFromUDPAddrPort(got[:])
		require.NoError(t, err)
		require.Equal(t, number, binary.BigEndian.Uint64(got[:n]), "one before was lost")
		require.Equal(t, netip.AddrPortFrom(shows, 7000), netip.AddrPortFrom(who.Addr().Unmap(), who.Port()))
	}
	for epoch := range int64(2 * len(clatPrefixes)) {
		b.update(clatIn(epoch))
		p := prefixIn(epoch)
		if !p.IsValid() {
			before := b.g.Stats().Packets
			_, err := program.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(clatServer, 7000))
			require.NoError(t, err)
			require.Eventually(t, func() bool { return rejected(b.g) > rejectedIn(before) }, time.Minute, time.Millisecond)
			continue
		}
		server := servers[epoch%int64(len(clatPrefixes))]
		both := func() {
			pass(program, clatServer, server, clatHost6)
			pass(server, clatHost6, program, clatServer)
		}
		since := time.Now()
		for before := b.byKernel(); b.byKernel() < before+2; {
			both()
			require.Less(t, time.Since(since), 3*time.Second, "the kernel translates nothing: %v", b.g.Stats().Fast)
		}
		cache := b.g.fast.path.Load().Cache
		generation := cache.Generation()
		b.update(clatIn(epoch))
		require.Equal(t, generation, cache.Generation(), "all that the kernel knows is void")
		both()
		for _, c := range b.g.Stats().Fast {
			require.NotEqual(t, fastpath.RulesChanged, c.Reason)
		}
	}
}

func rejected(g *Gateway) uint64 { return rejectedIn(g.Stats().Packets) }

func rejectedIn(s translate.Stats) uint64 {
	return s.Count(translate.Outcome{Direction: translate.V4ToV6, Result: translate.Result{Verdict: translate.Reply, Reason: translate.NoDestination}}).Packets
}

// TestNothingOldPassesCLAT: while the prefix of a CLAT changes under load, no packet that is
// sent after a change is translated by the prefix before it, neither by the kernel nor by a
// worker; and none while there is no prefix.
func TestNothingOldPassesCLAT(t *testing.T) {
	b := newCLATBed(t)
	program, servers := b.listen(clatHost4), b.servers()
	var (
		begun, done atomic.Int64
		arrived     [2]atomic.Int64
		all         sync.WaitGroup
		stop        = make(chan struct{})
		told        = make(chan struct{}, 1)
	)
	b.update(clatIn(0))
	stopped := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	send := func(c *net.UDPConn, to netip.Addr, which int) {
		all.Go(func() {
			for !stopped() {
				x := []byte{byte(which), 7: 0, 15: 0}
				binary.BigEndian.PutUint64(x[8:], uint64(done.Load()))
				c.WriteToUDPAddrPort(x, netip.AddrPortFrom(to, 7000)) // an error is that of an ICMP error before
			}
		})
	}
	// receive checks packets by the place of their prefix in clatPrefixes: that of a server's
	// socket, which is -1 for the program, that learns it from the sender.
	receive := func(c *net.UDPConn, at int) {
		all.Go(func() {
			var x [32]byte
			for {
				n, _, err := c.ReadFromUDPAddrPort(x[:])
				if stopped() {
					return
				}
				if err != nil || n != 16 {
					continue
				}
				kind, which := 0, at
				if at < 0 {
					kind, which = 1, int(x[0])
				}
				first, last := int64(binary.BigEndian.Uint64(x[8:])), begun.Load()
				found := false
				for e := first; e <= last; e++ {
					found = found || prefixIn(e) == clatPrefixes[which]
				}
				if !found {
					t.Errorf("a packet was translated by %v, the prefix of no epoch from %d to %d", clatPrefixes[which], first, last)
				}
				arrived[kind].Add(1)
				select {
				case told <- struct{}{}:
				default:
				}
			}
		})
	}
	await := func(n int64) {
		t.Helper()
		late := time.After(time.Minute)
		for kind := range arrived {
			for goal := arrived[kind].Load() + n; arrived[kind].Load() < goal; {
				select {
				case <-told:
				case <-late:
					t.Fatalf("no packets of kind %d arrive: %d of %d", kind, arrived[kind].Load(), goal)
				}
			}
		}
	}
	t.Cleanup(func() { close(stop) })
	receive(program, -1)
	send(program, clatServer, 0)
	for i, c := range servers {
		if c != nil {
			receive(c, i)
			send(c, clatHost6, i)
		}
	}
	for epoch := int64(1); epoch <= 24; epoch++ {
		begun.Store(epoch)
		b.update(clatIn(epoch))
		done.Store(epoch)
		if prefixIn(epoch).IsValid() {
			await(20)
			continue
		}
		was := rejected(b.g)
		require.Eventually(t, func() bool { return rejected(b.g) >= was+3 }, time.Minute, time.Millisecond)
	}
	kernel := b.byKernel()
	t.Logf("%d packets by the kernel, %d to the server, %d to the program", kernel, arrived[0].Load(), arrived[1].Load())
	require.Positive(t, kernel)
}

// TestCLATProof: the fast path is proven before the prefix is known, and with it.
func TestCLATProof(t *testing.T) {
	netlab.New(t) // or it is skipped
	for _, c := range []*CLAT{{}, clatIn(0)} {
		g, err := Install(Config{Conf: read(t, "clat yes\n"), CLAT: c, Now: time.Now()})
		require.NoError(t, err)
		require.NoError(t, g.FastRules())
		since := time.Now()
		require.NoError(t, g.ProveFastPath())
		t.Log(time.Since(since))
	}
}
