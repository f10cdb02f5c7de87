package pool_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/steppe-nat64/steppe/pool"
)

// A host gets an address with its first packet and is found by it from then on.
func Example() {
	p, err := pool.New(pool.Config{
		Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.255.0/24")},
		Reserved: []netip.Prefix{netip.MustParsePrefix("192.168.255.1/32")}, // our own
	}, time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	host := netip.MustParseAddr("2001:db8:77::1")
	if addr, ok := p.Assign(host.As16()); ok {
		fmt.Println(host, "has", netip.AddrFrom4(addr))
	}
	if h, ok := p.Host([4]byte{192, 168, 255, 95}); ok {
		fmt.Println("192.168.255.95 leads to", netip.AddrFrom16(h))
	}
	_, ok := p.Host([4]byte{192, 168, 255, 96})
	fmt.Println("192.168.255.96 is leased:", ok)
	// Output:
	// 2001:db8:77::1 has 192.168.255.95
	// 192.168.255.95 leads to 2001:db8:77::1
	// 192.168.255.96 is leased: false
}

// The pool has no clock. A program tells it the time once a second and does
// upkeep now and then.
func ExamplePool_Expire() {
	now := time.Now()
	p, err := pool.New(pool.Config{
		Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.255.0/24")},
		OnEvent:  func(e pool.Event) { fmt.Println(e.Kind, e.Addr, e.Host) },
	}, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	host := netip.MustParseAddr("2001:db8:77::1").As16()
	p.Assign(host)

	now = now.Add(time.Hour)
	p.Tick(now) // cheap
	p.Addr(host)

	now = now.Add(2 * time.Hour)
	p.Expire(now) // 7200 s after the last packet: nothing yet
	now = now.Add(5 * time.Minute)
	p.Expire(now)
	p.Assign(host)
	// Output:
	// assigned 192.168.255.95 2001:db8:77::1
	// dormant 192.168.255.95 2001:db8:77::1
	// reactivated 192.168.255.95 2001:db8:77::1
}

func ExamplePool_Reserve() {
	p, err := pool.New(pool.Config{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.255.0/24")}}, time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	host := netip.MustParseAddr("2001:db8:77::1").As16()
	addr, _ := p.Assign(host)
	fmt.Println(netip.AddrFrom4(addr))

	// The address gets another use: the lease ends, and the host gets another address.
	n, _ := p.Reserve([]netip.Prefix{netip.MustParsePrefix("192.168.255.95/32")})
	fmt.Println(n, "lease ended")
	addr, _ = p.Assign(host)
	fmt.Println(netip.AddrFrom4(addr))
	// Output:
	// 192.168.255.95
	// 1 lease ended
	// 192.168.255.96
}
