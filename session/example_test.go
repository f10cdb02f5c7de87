package session_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"

	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// Two hosts share 192.0.2.1. The answers to each reach it by the port that it was assigned.
func Example() {
	t, err := session.New(session.Config{
		Pools: []session.Pool{{Prefix: netip.MustParsePrefix("192.0.2.1/32")}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Duration(0) // since the program's start
	for host := range uint64(2) {
		query := translate.Tuple6{
			Host: translate.Addr6{Hi: 0x20010db8_00000000, Lo: host + 1}, HostPort: 5000,
			Remote: 0xcb007105, RemotePort: 53, Proto: 17,
		}
		var shared translate.Tuple4
		var back translate.Tuple6
		result := t.Outbound(now, &query, 0, &shared)
		t.Inbound(now, &shared, 0, &back)
		fmt.Println(result, back == query)
	}
	bindings, _ := t.Bindings(nil, session.Filter{}, 0, 100)
	fmt.Println(len(bindings), "bindings to", bindings[0].Addr.Addr())
	// Output:
	// mapped true
	// mapped true
	// 2 bindings to 192.0.2.1
}

// A static binding makes a server behind the gateway reachable.
func ExampleStatic() {
	t, err := session.New(session.Config{
		Pools: []session.Pool{{Prefix: netip.MustParsePrefix("192.0.2.1/32")}},
		Static: []session.Static{{
			Proto: 6, Addr: netip.MustParseAddrPort("192.0.2.1:80"), Host: netip.MustParseAddrPort("[2001:db8::80]:8080"),
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	const flagSYN = 2
	var to translate.Tuple6
	result := t.Inbound(0, &translate.Tuple4{Local: 0xc0000201, LocalPort: 80, Remote: 0xcb007105, RemotePort: 40000, Proto: 6}, flagSYN, &to)
	fmt.Printf("%v: ::%x, port %d\n", result, to.Host.Lo, to.HostPort)
	// Output:
	// mapped: ::80, port 8080
}

// A program calls Expire about once a second, and again while there is more to do.
func ExampleTable_Expire() {
	t, err := session.New(session.Config{
		Pools:   []session.Pool{{Prefix: netip.MustParsePrefix("192.0.2.1/32")}},
		OnEvent: func(e session.Event) { fmt.Println(e.Kind, e.Host, e.Addr.Addr()) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	t.Outbound(0, &translate.Tuple6{Host: translate.Addr6{Hi: 0x20010db8_00000000, Lo: 1}, HostPort: 7, Remote: 0xcb007105, Proto: 58}, 0, new(translate.Tuple4))
	for now := time.Duration(0); now <= 62*time.Second; now += time.Second {
		for t.Expire(now) {
		}
	}
	// Output:
	// binding-made [2001:db8::1]:7 192.0.2.1
	// binding-ended [2001:db8::1]:7 192.0.2.1
}

// Sessions survive a restart.
func ExampleTable_Load() {
	cfg := session.Config{Pools: []session.Pool{{Prefix: netip.MustParsePrefix("192.0.2.1/32")}}}
	t, err := session.New(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	flow := translate.Tuple6{Host: translate.Addr6{Hi: 0x20010db8_00000000, Lo: 1}, HostPort: 5000, Remote: 0xcb007105, RemotePort: 443, Proto: 17}
	var before, after translate.Tuple4
	t.Outbound(0, &flow, 0, &before)

	var file bytes.Buffer
	now := session.Moment{Now: time.Minute, Wall: time.Now()}
	if err := t.Save(&file, now); err != nil {
		fmt.Println(err)
		return
	}
	if t, err = session.New(cfg); err != nil {
		fmt.Println(err)
		return
	}
	later := session.Moment{Wall: now.Wall.Add(10 * time.Second)}
	loaded, err := t.Load(bytes.NewReader(file.Bytes()), int64(file.Len()), later)
	fmt.Printf("%+v %v\n", loaded, err)
	t.Outbound(0, &flow, 0, &after)
	fmt.Println(before == after)
	// Output:
	// {Sessions:1 Ended:0 Dropped:0 Damaged:0} <nil>
	// true
}
