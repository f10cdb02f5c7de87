package main

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/steppe-nat64/steppe/internal/report"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// The second part: both IPv6-only hosts share one IPv4 address, by port, without leases and
// without masquerading.
const (
	shared4     = service4
	forwardPort = 80 // of shared4: transfers of the second host
)

// sharedConf is the configuration of the second part.
const sharedConf = `tun-device ` + device + `
ipv4-addr ` + shared4 + `
ipv6-addr ` + taygaAddr + `
prefix ` + prefix64 + `
stateful-pool ` + shared4 + `
stateful-map tcp ` + shared4 + `:80 [` + secondAddr + `]:50000
data-dir %s
status-socket no
`

// runSharedChecks runs all checks of the second part.
func (x *lab) runSharedChecks(r *report.Report, g *gateway, captured bool) {
	size := int64(16 << 20)
	if captured {
		size = 2 << 20
	}
	if err := x.serveShared(); err != nil {
		r.Check("shared-servers", func() (string, error) { return "", err })
		return
	}
	r.Check("shared-tcp", func() (string, error) { return x.sharedTransfers(size) })
	r.Check("shared-fast-path", func() (string, error) {
		return g.share(4*size, func() (string, error) { return x.sharedTransfers(size) })
	})
	r.Check("shared-udp", x.sharedUDP)
	r.Check("shared-quic", x.sharedQUIC)
	r.Check("shared-ping", x.sharedPing)
	r.Check("shared-fragments", x.sharedFragments)
	r.Check("shared-traceroute", x.traceroute)
	r.Check("shared-path-mtu", func() (string, error) { return x.sharedPathMTU(size / 4) })
	r.Check("shared-forward", func() (string, error) { return x.sharedForward(size / 4) })
	r.Check("shared-hairpin", func() (string, error) { return x.sharedHairpin(size / 4) })
}

func (x *lab) serveShared() error {
	_, err := x.second.ServeTransfers(at(netip.MustParseAddr(secondAddr), transferPort))
	return err
}

// both runs f for both hosts at the same time.
func (x *lab) both(f func(h *netlab.Host) error) error {
	var wg sync.WaitGroup
	errs := make([]error, 2)
	for i, h := range []*netlab.Host{x.client, x.second} {
		wg.Go(func() { errs[i] = f(h) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// sharedTransfers has both hosts download and upload at the same time. The server sees one
// address, and a port for each connection.
func (x *lab) sharedTransfers(size int64) (string, error) {
	var mu sync.Mutex
	seen := map[netip.AddrPort]bool{}
	begin, all := time.Now(), 0
	err := x.both(func(h *netlab.Host) error {
		for _, f := range []func(string, int64, time.Duration) (netlab.Transfer, error){h.Download, h.Upload} {
			t, err := f(at(embed(server4), transferPort), size, patience)
			if err != nil {
				return err
			}
			mu.Lock()
			seen[t.SeenAs] = true
			all++
			mu.Unlock()
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	took := time.Since(begin)
	for a := range seen {
		if a.Addr().String() != shared4 {
			return "", fmt.Errorf("the server saw %v, not %s", a, shared4)
		}
	}
	if len(seen) != all {
		return "", fmt.Errorf("the server saw %d ports in %d connections", len(seen), all)
	}
	return fmt.Sprintf("2 hosts, down and up, %d MiB each in %s, hashes equal; the server saw %s with %d ports",
		size>>20, ms(took), shared4, all), nil
}

func (x *lab) sharedUDP() (string, error) {
	sizes := []int{0, 1, 2, 63, 64, 512, 1212, 1232}
	err := x.both(func(h *netlab.Host) error {
		_, err := h.UDPEcho(at(embed(server4), echoPort), netlab.UDPEcho{Sizes: sizes})
		return err
	})
	return fmt.Sprintf("2 hosts, %d datagrams each, byte for byte", len(sizes)), err
}

// sharedQUIC has both hosts keep many flows at once, of datagrams as large as those that
// QUIC begins with.
func (x *lab) sharedQUIC() (string, error) {
	const flows, datagrams = 16, 20
	sizes := make([]int, datagrams)
	for i := range sizes {
		sizes[i] = 1200
	}
	err := x.both(func(h *netlab.Host) error {
		var wg sync.WaitGroup
		errs := make([]error, flows)
		for i := range flows {
			wg.Go(func() {
				_, errs[i] = h.UDPEcho(at(embed(server4), echoPort), netlab.UDPEcho{Sizes: sizes, Attempts: 10, Timeout: time.Second})
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	})
	return fmt.Sprintf("2 hosts, %d flows each at the same time, %d datagrams of 1200 bytes in each, none mixed up", flows, datagrams), err
}

// sharedPing has both hosts ping. The large request and its reply are fragmented by hosts:
// for a shared address the translator reassembles them (RFC 6146 §3.4).
func (x *lab) sharedPing() (string, error) {
	const large = 4000
	err := x.both(func(h *netlab.Host) error {
		for _, size := range []int{56, large} {
			_, err := h.Ping(embed(server4), netlab.Echo{Size: size})
			var narrow *netlab.ICMPError
			if errors.As(err, &narrow) && narrow.MTU == narrow6MTU { // learned now
				_, err = h.Ping(embed(server4), netlab.Echo{Size: size})
			}
			if err != nil {
				return fmt.Errorf("%d bytes: %w", size, err)
			}
		}
		return nil
	})
	return fmt.Sprintf("2 hosts, 56 and %d bytes, replies byte for byte", large), err
}

// sharedFragments exchanges datagrams that both ends fragment, such as large answers of
// DNS. Fragments but the first have no port.
func (x *lab) sharedFragments() (string, error) {
	ipv6, ipv4, err := x.watch(func() error {
		return x.both(func(h *netlab.Host) error {
			_, err := h.UDPEcho(at(embed(server4), echoPort), netlab.UDPEcho{Sizes: []int{4000}, Attempts: 10, Timeout: time.Second})
			return err
		})
	})
	if err != nil {
		return "", err
	}
	_, in6 := fragments(ipv6)
	_, in4 := fragments(ipv4)
	if in4 < 6 || in6 < 3 {
		return "", fmt.Errorf("%d IPv4 fragments to both hosts, %d IPv6 fragments to one: too few", in4, in6)
	}
	return fmt.Sprintf("2 hosts, 4000 bytes each way, byte for byte; %d IPv4 fragments to one address found their hosts", in4), nil
}

// sharedPathMTU has senders of both families learn of a narrow link in the other one.
func (x *lab) sharedPathMTU(size int64) (string, error) {
	up, err := x.client.Upload(at(embed(farShared4), transferPort), size, patience)
	if err != nil {
		return "", fmt.Errorf("IPv6 sends: %w", err)
	}
	if up.MTU != narrowMTU+20 {
		return "", fmt.Errorf("IPv6 sends: path MTU %d, not %d", up.MTU, narrowMTU+20)
	}
	if _, err = x.second.Download(at(embed(server4), transferPort), size, patience); err != nil {
		return "", fmt.Errorf("IPv4 sends: %w", err)
	}
	down, err := x.server.PathMTU(netip.MustParseAddr(shared4))
	if err != nil {
		return "", err
	}
	if down != narrow6MTU-20 {
		return "", fmt.Errorf("IPv4 sends: path MTU %d, not %d", down, narrow6MTU-20)
	}
	return fmt.Sprintf("an IPv6 sender learns %d of a link of %d, an IPv4 sender %d of a link of %d", up.MTU, narrowMTU, down, narrow6MTU), nil
}

// sharedForward has the IPv4 host open connections to a port of the shared address.
func (x *lab) sharedForward(size int64) (string, error) {
	addr := at(netip.MustParseAddr(shared4), forwardPort)
	down, err1 := x.server.Download(addr, size, patience)
	_, err2 := x.server.Upload(addr, size, patience)
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	if got := down.SeenAs.Addr(); got != embed(server4) {
		return "", fmt.Errorf("the IPv6 host saw %v, not %v", got, embed(server4))
	}
	return fmt.Sprintf("%s to %s, down and up, reaches %s; it saw %v", server4, addr, secondAddr, down.SeenAs.Addr()), nil
}

// sharedHairpin has one IPv6 host connect to the other by the address that both share.
func (x *lab) sharedHairpin(size int64) (string, error) {
	addr := at(embed(shared4), forwardPort)
	down, err1 := x.client.Download(addr, size, patience)
	_, err2 := x.client.Upload(addr, size, patience)
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	if got := down.SeenAs.Addr(); got != embed(shared4) {
		return "", fmt.Errorf("the other host saw %v, not %v", got, embed(shared4))
	}
	return fmt.Sprintf("%s to %s, down and up; the other host saw %s as well", clientAddr, addr, down.SeenAs.Addr()), nil
}
