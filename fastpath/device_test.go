//go:build linux

package fastpath

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
	"github.com/steppe-nat64/steppe/tun"
)

// A gatewayLab has an IPv6 host, a gateway with the program at its TUN device and a
// worker that reads what the program leaves, and an IPv4 server.
type gatewayLab struct {
	client, gateway, server *netlab.Host
	path                    *Path
}

const (
	labPort   = ":7000"
	labServer = "2001:db8:64::cb00:7102"
)

// newGatewayLab makes the laboratory. The client has an address of its own in IPv4, or shares
// one.
func newGatewayLab(t *testing.T, shares bool) *gatewayLab {
	t.Helper()
	lab := netlab.New(t)
	l := &gatewayLab{client: lab.Host("client"), gateway: lab.Host("gateway"), server: lab.Host("server")}
	lab.Link(l.client, "eth0", l.gateway, "lan0", 1500)
	lab.Link(l.gateway, "wan0", l.server, "eth0", 1500)
	l.gateway.Forwarding()
	l.client.Addr("eth0", "2001:db8:a::2/64")
	l.gateway.Addr("lan0", "2001:db8:a::1/64")
	l.gateway.Addr("wan0", "203.0.113.1/24")
	l.server.Addr("eth0", "203.0.113.2/24")
	l.client.DefaultRoute("2001:db8:a::1", "")
	l.server.DefaultRoute("203.0.113.1", "")

	cfg := translate.Config{IPv4: netip.MustParseAddr("198.51.100.1"), IPv6: netip.MustParseAddr("2001:db8:f::1"), UDPZero: translate.UDPZeroCompute}
	table := translate.TableConfig{Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:64::/96")}}
	shared := netip.MustParsePrefix("198.51.100.9/32")
	if shares {
		sessions, err := session.New(session.Config{Pools: []session.Pool{{Prefix: shared}}})
		if err != nil {
			t.Fatal(err)
		}
		table.Shared, table.Sessions = []netip.Prefix{shared}, sessions
	} else {
		table.Maps = []translate.Map{{IPv4: netip.MustParsePrefix("198.51.100.2/32"), IPv6: netip.MustParsePrefix("2001:db8:a::2/128")}}
	}
	tr, rules := buildForTest(t, cfg, table)

	l.path = loadForTest(t, Sizes{}, 0)
	var device *tun.Device
	err := l.gateway.Do(func() (err error) {
		if device, err = tun.Open(tun.Config{Name: "nat64"}); err != nil {
			return err
		}
		if err := device.SetUp(true); err != nil {
			return err
		}
		return l.path.Attach(device.Index())
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := l.path.Device(); got != device.Index() {
		t.Fatalf("attached to %d, not %d", got, device.Index())
	}
	l.gateway.Route("2001:db8:64::/96", "", "nat64")
	l.gateway.Route("198.51.100.0/24", "", "nat64")
	l.path.SetRules(rules, 0)
	worked := make(chan struct{})
	t.Cleanup(func() {
		device.Close()
		<-worked // before the path is closed
	})
	go func() {
		defer close(worked)
		work(tr.NewWorker(), device.Queues()[0], l.path.Cache, shared)
	}()

	if _, err := l.server.ServeTransfers(labPort); err != nil {
		t.Fatal(err)
	}
	return l
}

// offload leaves offloads to the devices everywhere, to those of the hosts alone, or nowhere.
func (l *gatewayLab) offload(where string) {
	if where != "everywhere" {
		l.gateway.DisableOffloads("lan0")
		l.gateway.DisableOffloads("wan0")
	}
	if where == "nowhere" {
		l.client.DisableOffloads("eth0")
		l.server.DisableOffloads("eth0")
	}
}

// work is the loop of a worker that tells the cache what it has translated.
func work(w *translate.Worker, q *tun.Queue, c *Cache, shared netip.Prefix) {
	start := time.Now()
	ps, more := tun.NewPackets(64), tun.NewPackets(translate.MaxPieces)
	first := make([][LearnBytes]byte, len(ps))
	finish := func(ps []translate.Packet) {
		for i := range ps {
			for ps[i].Result.Verdict == translate.Split {
				q.Write(more[:w.Fragment(&ps[i], more)])
			}
			if ps[i].Result.Verdict != translate.Drop {
				q.Write(ps[i : i+1])
			}
		}
	}
	for next := translate.Never; ; {
		n, err := q.ReadTimeout(ps, next-time.Since(start))
		if err != nil {
			return
		}
		for i := range ps[:n] {
			copy(first[i][:], ps[i].Bytes())
		}
		generation, now := c.Generation(), time.Since(start)
		w.TranslateBatch(now, ps[:n])
		for i := range ps[:n] {
			p := &ps[i]
			if p.Result == (translate.Result{Verdict: translate.Forward, Reason: translate.Translated}) {
				local := p.Bytes()[12:16] // source of what is IPv4 now
				if first[i][0]>>4 == 4 {
					local = first[i][16:20]
				}
				c.Learn(generation, first[i][:], p.Bytes(), shared.Contains(netip.AddrFrom4([4]byte(local))))
			}
		}
		finish(ps[:n])
		n, next = w.Emit(now, ps)
		finish(ps[:n])
	}
}

// share checks which part of the bytes the program translated, and that of TCP super-packets
// were among them if they are to be.
func (l *gatewayLab) share(t *testing.T, super bool) {
	t.Helper()
	counts, err := l.path.Counts()
	if err != nil {
		t.Fatal(err)
	}
	var translated, all, packets, segments uint64
	for _, c := range counts {
		t.Log(c.Direction, c.Reason, c.Packets, c.Bytes, c.Segments)
		if all += c.Bytes; c.Reason.Translated() {
			translated += c.Bytes
			packets += c.Packets
			segments += c.Segments
		}
		if c.Reason == Dropped {
			t.Errorf("%d packets dropped", c.Packets)
		}
	}
	if translated*100 < all*95 {
		t.Errorf("the program translated %d of %d bytes", translated, all)
	}
	if super && segments < packets*2 {
		t.Errorf("%d packets have %d segments: no super-packets", packets, segments)
	}
}

// badChecksums is how many TCP segments and datagrams a host received with a wrong checksum.
func badChecksums(t *testing.T, h *netlab.Host) (n int) {
	t.Helper()
	err := h.Do(func() error {
		for _, name := range []string{"snmp", "snmp6"} {
			b, err := os.ReadFile("/proc/thread-self/net/" + name)
			if err != nil {
				return err
			}
			var titles []string
			for line := range strings.Lines(string(b)) {
				words := strings.Fields(line)
				for i, word := range words {
					var v int
					switch {
					case name == "snmp6" && strings.HasSuffix(words[0], "InCsumErrors") && i == 1,
						name == "snmp" && i < len(titles) && titles[i] == "InCsumErrors":
						fmt.Sscan(word, &v)
						n += v
					}
				}
				titles = words
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestDevice sends TCP, UDP and pings through the program at a real device: with super-packets
// and partial checksums all the way; with those of the hosts, which the gateway has to segment
// and complete before they leave it, since a receiver does not verify a partial checksum; and
// with what a wire carries.
func TestDevice(t *testing.T) {
	for _, shares := range []bool{false, true} {
		for _, offloads := range []string{"everywhere", "hosts", "nowhere"} {
			t.Run(fmt.Sprintf("shared=%v/offloads=%v", shares, offloads), func(t *testing.T) {
				l := newGatewayLab(t, shares)
				l.offload(offloads)
				const size = 20 << 20
				addr := "[" + labServer + "]" + labPort
				if _, err := l.client.Upload(addr, size, 30*time.Second); err != nil {
					t.Fatal(err)
				}
				if _, err := l.client.Download(addr, size, 30*time.Second); err != nil {
					t.Fatal(err)
				}
				for range 3 {
					if _, err := l.client.Ping(netip.MustParseAddr(labServer), netlab.Echo{Size: 56}); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := l.server.ServeUDPEcho("203.0.113.2:7001"); err != nil {
					t.Fatal(err)
				}
				sizes := []int{0, 1, 100, 1000, 1232, 1400, 1232, 3000}
				if _, err := l.client.UDPEcho("["+labServer+"]:7001", netlab.UDPEcho{Sizes: sizes, Attempts: 3}); err != nil {
					t.Fatal(err)
				}
				l.share(t, offloads == "everywhere")
				for _, h := range []*netlab.Host{l.client, l.server} {
					if n := badChecksums(t, h); n != 0 {
						t.Errorf("%s received %d packets with a wrong checksum", h.Name(), n)
					}
				}
			})
		}
	}
}

// TestDeviceGone: the program is gone with its device and when it is detached.
func TestDeviceGone(t *testing.T) {
	l := newGatewayLab(t, false)
	echo := func() {
		t.Helper()
		c, err := l.client.Dial("tcp", "["+labServer+"]"+labPort, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	echo()
	if err := l.path.Detach(); err != nil {
		t.Fatal(err)
	}
	if l.path.Device() != 0 {
		t.Error("attached after Detach")
	}
	echo()
	var index int
	err := l.gateway.Do(func() error {
		i, err := net.InterfaceByName("nat64")
		if err != nil {
			return err
		}
		index = i.Index
		return l.path.Attach(index)
	})
	if err != nil {
		t.Fatal(err)
	}
	if l.path.Device() != index {
		t.Error("not attached again")
	}
	l.gateway.Delete("nat64")
	if l.path.Device() != 0 {
		t.Error("attached to a device that is gone")
	}
	if err := l.gateway.Do(func() error { return l.path.Attach(index) }); err == nil {
		t.Error("attached to a device that does not exist")
	}
}
