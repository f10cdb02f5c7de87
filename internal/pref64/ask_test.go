package pref64

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/steppe-nat64/steppe/internal/test/dnstest"
)

// serve runs a server on the loopback interface, by UDP and TCP, until the test ends.
func serve(t *testing.T, s *dnstest.Server) netip.AddrPort {
	t.Helper()
	udp, tcp := listen(t)
	t.Cleanup(func() { udp.Close() })
	go s.ServePacket(udp)
	t.Cleanup(func() { tcp.Close() })
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			s.ServeConn(c)
			c.Close()
		}
	}()
	return udp.LocalAddr().(*net.UDPAddr).AddrPort()
}

// listen returns sockets for UDP and TCP with the same port.
func listen(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		udp, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		tcp, err := net.Listen("tcp", udp.LocalAddr().String())
		if err == nil {
			return udp, tcp
		}
		udp.Close() // another program has the port for TCP
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil, nil
}

// patience is how long a test waits for an event that takes milliseconds.
const patience = 20 * time.Second

func dialLoopback(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, server.String())
}

type messages = func(network string, q, r dnsmessage.Message) [][]byte

func with(edit func(m *dnsmessage.Message), addrs ...string) messages {
	return func(_ string, q, r dnsmessage.Message) [][]byte {
		r.Answers = dnstest.AAAA(q, 60, addrs...)
		edit(&r)
		return [][]byte{dnstest.Pack(r)}
	}
}

func wantPrefix(t *testing.T, a Answer, err error, prefix string) {
	t.Helper()
	if err != nil || len(a.Prefixes) != 1 || a.Prefixes[0].String() != prefix {
		t.Fatalf("%+v, %v, want %s", a, err, prefix)
	}
}

func TestAsk(t *testing.T) {
	nothing := with(func(m *dnsmessage.Message) { m.Authorities = dnstest.SOA(60, 60) })
	good := dnstest.Always(60, "64:ff9b::c000:aa")
	failing := with(func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeServerFailure })
	for _, c := range []struct {
		name    string
		servers []messages
		want    string // "" for none
		asked   []int
	}{
		{"one", []messages{good}, "64:ff9b::/96", []int{1}},
		{"two", []messages{good, good}, "64:ff9b::/96", []int{1, 0}},
		{"first-fails", []messages{failing, good}, "64:ff9b::/96", []int{1, 1}},
		{"first-has-no-DNS64", []messages{nothing, good}, "64:ff9b::/96", []int{1, 1}},
		{"none-has-DNS64", []messages{nothing, nothing}, "", []int{1, 1}},
		{"one-fails-one-has-none", []messages{failing, nothing}, "", []int{1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var all []*dnstest.Server
			var addrs []netip.AddrPort
			for _, m := range c.servers {
				all = append(all, &dnstest.Server{Answer: m})
				addrs = append(addrs, serve(t, all[len(all)-1]))
			}
			a, err := askWithin(t.Context(), dialLoopback, addrs, patience)
			if err != nil || (len(a.Prefixes) > 0) != (c.want != "") {
				t.Fatalf("%+v, %v", a, err)
			}
			if c.want != "" {
				wantPrefix(t, a, err, c.want)
			}
			for i, s := range all {
				if n := len(s.Queries()); n != c.asked[i] {
					t.Errorf("server %d has %d queries, want %d", i, n, c.asked[i])
				}
			}
		})
	}
}

func TestAskNoAnswer(t *testing.T) {
	failing := &dnstest.Server{Answer: with(func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeServerFailure })}
	if a, err := askWithin(t.Context(), dialLoopback, []netip.AddrPort{serve(t, failing)}, patience); err == nil {
		t.Errorf("%+v", a)
	}
	if n := len(failing.Queries()); n != rounds {
		t.Errorf("%d queries", n)
	}
	if a, err := askWithin(t.Context(), dialLoopback, nil, patience); err == nil {
		t.Errorf("without a resolver: %+v", a)
	}
	closed := errors.New("no route")
	tried := 0
	refuse := func(context.Context, string, netip.AddrPort) (net.Conn, error) { tried++; return nil, closed }
	if _, err := askWithin(t.Context(), refuse, make([]netip.AddrPort, 50), patience); !errors.Is(err, closed) || tried != rounds*maxServers {
		t.Errorf("%d connections, %v", tried, err)
	}
}

// TestAskEnds: a query ends when its context does, whatever the resolver does.
func TestAskEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	silent := &dnstest.Server{Answer: func(string, dnsmessage.Message, dnsmessage.Message) [][]byte { cancel(); return nil }}
	if _, err := askWithin(ctx, dialLoopback, []netip.AddrPort{serve(t, silent)}, patience); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestAskTCP: a truncated answer is asked for again by TCP, with limits to what is read.
func TestAskTCP(t *testing.T) {
	for _, c := range []struct {
		name string
		tcp  func(q, r dnsmessage.Message) []byte
		want string
	}{
		{"complete", func(q, r dnsmessage.Message) []byte {
			r.Answers = dnstest.AAAA(q, 60, "64:ff9b::c000:aa")
			return dnstest.Pack(r)
		}, "64:ff9b::/96"},
		{"another-id", func(q, r dnsmessage.Message) []byte {
			r.ID++
			r.Answers = dnstest.AAAA(q, 60, "64:ff9b::c000:aa")
			return dnstest.Pack(r)
		}, ""},
		{"truncated", func(q, r dnsmessage.Message) []byte { r.Truncated = true; return dnstest.Pack(r) }, ""},
		{"too-long", func(q, r dnsmessage.Message) []byte {
			return append(dnstest.Pack(r), bytes.Repeat([]byte{0}, 20000)...)
		}, ""},
		{"nothing", func(q, r dnsmessage.Message) []byte { return nil }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &dnstest.Server{Answer: func(network string, q, r dnsmessage.Message) [][]byte {
				if network == "tcp" {
					return [][]byte{c.tcp(q, r)}
				}
				r.Truncated = true
				return [][]byte{dnstest.Pack(r)}
			}}
			a, err := askWithin(t.Context(), dialLoopback, []netip.AddrPort{serve(t, s)}, patience)
			if c.want == "" {
				if err == nil {
					t.Errorf("%+v", a)
				}
				return
			}
			wantPrefix(t, a, err, c.want)
			if n := len(s.Queries()); n != 2 {
				t.Errorf("%d queries", n)
			}
		})
	}
}

// TestAskStrays: what is not the answer is ignored, up to a limit.
func TestAskStrays(t *testing.T) {
	flood := func(n int) messages {
		return func(_ string, q, r dnsmessage.Message) [][]byte {
			lie := r
			lie.ID++
			lie.Answers = dnstest.AAAA(q, 60, "2001:db8:bad::c000:aa")
			all := many(dnstest.Pack(lie), n)
			r.Answers = dnstest.AAAA(q, 60, "64:ff9b::c000:aa")
			return append(all, dnstest.Pack(r))
		}
	}
	a, err := askWithin(t.Context(), dialLoopback, []netip.AddrPort{serve(t, &dnstest.Server{Answer: flood(5)})}, patience)
	wantPrefix(t, a, err, "64:ff9b::/96")
	if a, err := askWithin(t.Context(), dialLoopback, []netip.AddrPort{serve(t, &dnstest.Server{Answer: flood(3 * maxStrays)})}, patience); err == nil {
		t.Errorf("after %d: %+v", 3*maxStrays, a)
	}
}

// TestAskAnotherSource: the answer of another address than was asked is not received.
func TestAskAnotherSource(t *testing.T) {
	other, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	asked, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer asked.Close()
	go func() {
		b := make([]byte, 512)
		n, from, err := asked.ReadFrom(b)
		if err != nil {
			return
		}
		var q dnsmessage.Message
		if q.Unpack(b[:n]) != nil {
			return
		}
		for prefix, c := range map[string]net.PacketConn{"2001:db8:bad::c000:aa": other, "64:ff9b::c000:aa": asked} {
			r := dnstest.Reply(q)
			r.Answers = dnstest.AAAA(q, 60, prefix)
			c.WriteTo(dnstest.Pack(r), from)
		}
	}()
	a, err := askWithin(t.Context(), dialLoopback, []netip.AddrPort{asked.LocalAddr().(*net.UDPAddr).AddrPort()}, patience)
	wantPrefix(t, a, err, "64:ff9b::/96")
}

func TestResolvConf(t *testing.T) {
	got := ParseResolvConf("# nameserver 192.0.2.9\n; comment\nsearch example.com\nnameserver 2001:db8::53\n nameserver\t192.0.2.53 # IPv4\n" +
		"nameserver 2001:db8::53\nnameserver fe80::1%eth0\nnameserver x\nnameserver\noptions edns0\nnameserver ff02::1\nnameserver 2001:db8::54\nnameserver 2001:db8::55")
	var text []string
	for _, a := range got {
		text = append(text, a.String())
	}
	want := []string{"2001:db8::53", "192.0.2.53", "fe80::1%eth0", "2001:db8::54"}
	if len(text) != len(want) {
		t.Fatalf("%q", text)
	}
	for i := range want {
		if text[i] != want[i] {
			t.Errorf("%q, want %q", text, want)
		}
	}
}
