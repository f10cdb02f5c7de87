package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/steppe-nat64/steppe/internal/report"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

const (
	transferPort = 50000 // one that no decoder of captures has a protocol for
	echoPort     = 7

	patience = 20 * time.Second // for one transfer
)

// runChecks runs all checks that need the translator. Captured ones are small.
func (x *lab) runChecks(r *report.Report, g *gateway, captured bool) {
	size := int64(64 << 20)
	if captured {
		size = 4 << 20
	}
	if err := x.serve(); err != nil {
		r.Check("servers", func() (string, error) { return "", err })
		return
	}
	r.Check("ping", x.ping)
	r.Check("tcp-download", func() (string, error) { return x.transfer((*netlab.Host).Download, size) })
	r.Check("tcp-upload", func() (string, error) { return x.transfer((*netlab.Host).Upload, size) })
	r.Check("fast-path", func() (string, error) {
		return g.share(size, func() (string, error) { return x.staticMap(size / 2) })
	})
	r.Check("udp", x.udp)
	r.Check("udp-fragments", x.udpFragments)
	r.Check("ping-4000", x.bigPing)
	r.Check("traceroute", x.traceroute)
	r.Check("path-mtu-control", x.pathMTUControl)
	r.Check("path-mtu", func() (string, error) { return x.pathMTU(size / 4) })
	r.Check("static-map", func() (string, error) { return x.staticMap(size / 4) })
}

// serve starts all servers.
func (x *lab) serve() error {
	_, err1 := x.server.ServeTransfers(fmt.Sprintf(":%d", transferPort))
	_, err2 := x.server.ServeUDPEcho(fmt.Sprintf(":%d", echoPort))
	_, err3 := x.far.ServeTransfers(fmt.Sprintf(":%d", transferPort))
	_, err4 := x.client.ServeTransfers(at(netip.MustParseAddr(serviceAddr), transferPort))
	return errors.Join(err1, err2, err3, err4)
}

func (x *lab) ping() (string, error) {
	const count = 5
	var sum time.Duration
	var last netlab.Reply
	for range count {
		var err error
		if last, err = x.client.Ping(embed(server4), netlab.Echo{Size: 56}); err != nil {
			return "", err
		}
		sum += last.RTT
	}
	return fmt.Sprintf("%d of %d replies from %v, hop limit %d, %s on average",
		count, count, last.From, last.HopLimit, ms(sum/count)), nil
}

// transfer runs a Download or an Upload between the client and the server, which
// has to see the gateway's address.
func (x *lab) transfer(
	f func(*netlab.Host, string, int64, time.Duration) (netlab.Transfer, error), size int64,
) (string, error) {
	t, err := f(x.client, at(embed(server4), transferPort), size, patience)
	if err != nil {
		return "", err
	}
	if got := t.SeenAs.Addr().String(); got != gateway4 {
		return "", fmt.Errorf("the server saw %s, not the gateway %s", got, gateway4)
	}
	return fmt.Sprintf("%v on both ends; the server saw %v", t, t.SeenAs.Addr()), nil
}

func (x *lab) udp() (string, error) {
	res, err := x.client.UDPEcho(at(embed(server4), echoPort),
		netlab.UDPEcho{Sizes: []int{0, 1, 2, 63, 64, 512, 1212, 1232, 1400, 1452}})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%v, byte for byte", res), nil
}

// udpFragments exchanges datagrams that both ends have to cut, each in its own
// family, and counts the pieces on both sides of the translator.
func (x *lab) udpFragments() (string, error) {
	var res netlab.UDPResult
	ipv6, ipv4, err := x.watch(func() (err error) {
		res, err = x.client.UDPEcho(at(embed(server4), echoPort), netlab.UDPEcho{Sizes: []int{4000}})
		return err
	})
	if err != nil {
		return "", err
	}
	out6, in6 := fragments(ipv6)
	out4, in4 := fragments(ipv4)
	figures := fmt.Sprintf("%d IPv6 fragments became %d of IPv4, %d IPv4 fragments became %d of IPv6",
		out6, out4, in4, in6)
	if out6 < 3 || out4 < 3 || in4 < 3 || in6 < 3 {
		return "", fmt.Errorf("%s: too few for 4000 bytes", figures)
	}
	return fmt.Sprintf("4000 bytes each way, byte for byte; %s; %s", figures, ms(res.RTT)), nil
}

// bigPing sends an echo request of 4,000 bytes. RFC 7915 §1.2 has ICMP fragments
// dropped, because their checksum covers a length that no fragment tells. So the
// links take the request and its reply whole, and it is the translator itself
// that cuts the reply: with DF clear it has to fit the lowest IPv6 MTU (§4).
func (x *lab) bigPing() (string, error) {
	const size = 4000
	var reply netlab.Reply
	ipv6, ipv4, err := x.watch(func() (err error) {
		reply, err = x.client.Ping(embed(jumbo4), netlab.Echo{Size: size})
		return err
	})
	if err != nil {
		return "", err
	}
	out6, in6 := fragments(ipv6)
	out4, in4 := fragments(ipv4)
	if out6 != 0 || out4 != 0 || in4 != 0 || in6 < 4 {
		return "", fmt.Errorf("%d IPv6 and %d IPv4 fragments out, %d IPv4 and %d IPv6 fragments in; only the last are right",
			out6, out4, in4, in6)
	}
	return fmt.Sprintf("%d bytes to %v and back in %d IPv6 fragments, %s", size, reply.From, in6, ms(reply.RTT)), nil
}

// watch runs f and returns the packets that passed the client's link and the IPv4
// link of the gateway meanwhile.
func (x *lab) watch(f func() error) (ipv6, ipv4 []netlab.Packet, err error) {
	c6, err := x.client.Capture("eth0")
	if err != nil {
		return nil, nil, err
	}
	c4, err := x.gateway.Capture("eth1")
	if err != nil {
		c6.Stop()
		return nil, nil, err
	}
	err = f()
	ipv6, err6 := c6.Stop()
	ipv4, err4 := c4.Stop()
	return ipv6, ipv4, errors.Join(err, err6, err4)
}

// fragments counts those sent and those received.
func fragments(packets []netlab.Packet) (out, in int) {
	for _, p := range packets {
		switch {
		case !isFragment(p.Data):
		case p.Outgoing:
			out++
		default:
			in++
		}
	}
	return out, in
}

func isFragment(b []byte) bool {
	if b[0]>>4 == 6 {
		return b[6] == 44 // the next header of all fragments here, which have no other extension header
	}
	return b[6]&0x3f|b[7] != 0 // MF or an offset
}

// traceroute wants to see the IPv4 router on the way to the server, by an address
// that an IPv6 host can do something with.
func (x *lab) traceroute() (string, error) {
	hops, err := x.client.Traceroute(embed(server4), netlab.Trace{UDP: true, Size: 32})
	if err != nil {
		return "", err
	}
	var names []string
	var sawRouter, reached bool
	for i, hop := range hops {
		name := "*"
		if hop.From.IsValid() {
			name = hop.From.String()
		}
		names = append(names, fmt.Sprintf("%d %s", i+1, name))
		sawRouter = sawRouter || hop.From == embed(router4)
		reached = hop.Reached
	}
	list := strings.Join(names, ", ")
	switch {
	case !sawRouter:
		return "", fmt.Errorf("the IPv4 router %v is missing: %s", embed(router4), list)
	case !reached:
		return "", fmt.Errorf("the server %v is missing: %s", embed(server4), list)
	}
	return list, nil
}

// pathMTUControl has the IPv4 router keep its Fragmentation Needed to itself. The
// transfer has to stall then, or the next check would show nothing.
func (x *lab) pathMTUControl() (string, error) {
	x.router.Nft(`table ip control {
		chain output {
			type filter hook output priority 0
			icmp type destination-unreachable drop
		}
	}`)
	defer x.router.Nft("delete table ip control")
	const wait = time.Second
	_, err := x.client.Upload(at(embed(far4), transferPort), 1<<20, wait)
	switch {
	case err == nil:
		return "", errors.New("the upload came through although no host learnt the path MTU")
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return "", err
	}
	return fmt.Sprintf("without the ICMP error of the %d-byte link the upload stalls (%v)", narrowMTU, wait), nil
}

// pathMTU sends full segments into a link that is too narrow for them. They get
// through only if the router's Fragmentation Needed reaches the client as a
// Packet Too Big with the right MTU.
func (x *lab) pathMTU(size int64) (string, error) {
	const want = narrowMTU + 20 // RFC 7915 §4.2
	var t netlab.Transfer
	ipv6, _, err := x.watch(func() (err error) {
		t, err = x.client.Upload(at(embed(far4), transferPort), size, patience)
		return err
	})
	if err != nil {
		return "", err
	}
	var tooBig int
	for _, p := range ipv6 {
		if !p.Outgoing && isTooBig(p.Data) {
			tooBig++
		}
	}
	if t.MTU != want || tooBig == 0 {
		return "", fmt.Errorf("path MTU %d after %d Packet Too Big, not %d", t.MTU, tooBig, want)
	}
	return fmt.Sprintf("%v; path MTU %d from %d Packet Too Big", t, t.MTU, tooBig), nil
}

// isTooBig reports whether an IPv6 packet is an ICMPv6 Packet Too Big.
func isTooBig(b []byte) bool {
	return len(b) > 40 && b[0]>>4 == 6 && b[6] == 58 && b[40] == 2
}

// staticMap has the IPv4 host open connections to the IPv6 host.
func (x *lab) staticMap(size int64) (string, error) {
	addr := at(netip.MustParseAddr(service4), transferPort)
	down, err := x.server.Download(addr, size, patience)
	if err != nil {
		return "", err
	}
	up, err := x.server.Upload(addr, size, patience)
	if err != nil {
		return "", err
	}
	for _, t := range []netlab.Transfer{down, up} {
		if got := t.SeenAs.Addr(); got != embed(server4) {
			return "", fmt.Errorf("the IPv6 host saw %v, not %v", got, embed(server4))
		}
	}
	return fmt.Sprintf("%s to %s: %v; and up %v; the IPv6 host saw %v",
		server4, addr, down, up, down.SeenAs.Addr()), nil
}
