package netlab

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// learnMTU has the kernels of both ends find out the path MTU. Each loses a
// packet to that.
func (x chain) learnMTU(dst netip.Addr) {
	for range 2 {
		x.a.Ping(dst, Echo{Size: 1400, Timeout: 100 * time.Millisecond})
	}
}

func TestPing(t *testing.T) {
	x := newChain(t)
	eachFamily(t, func(t *testing.T, dst netip.Addr) {
		x.learnMTU(dst)
		for _, size := range []int{0, 1, 56, 1300, 4000, 65000} {
			r, err := x.a.Ping(dst, Echo{Size: size})
			require.NoError(t, err)
			assert.Equal(t, dst, r.From)
			assert.Equal(t, size, r.Size)
			assert.Equal(t, 62, r.HopLimit)
			assert.Positive(t, r.RTT)
		}
	})
}

func TestPingErrors(t *testing.T) {
	x := newChain(t)
	eachFamily(t, func(t *testing.T, dst netip.Addr) {
		router, header := r4, 28
		if dst.Is6() {
			router, header = r6, 48
		}
		var e *ICMPError

		_, err := x.a.Ping(dst, Echo{HopLimit: 1})
		require.ErrorAs(t, err, &e)
		assert.True(t, e.expired(), e)
		assert.Equal(t, router, e.From)
		assert.Equal(t, 64, e.HopLimit)
		assert.ErrorContains(t, err, "time exceeded (type ")
		assert.GreaterOrEqual(t, len(e.Quote), header)

		_, err = x.a.Ping(dst, Echo{Size: 1500 - header, DontFragment: true})
		require.ErrorAs(t, err, &e)
		assert.True(t, e.tooBig(), e)
		assert.Equal(t, 1400, e.MTU)
		assert.Equal(t, router, e.From)
		assert.ErrorContains(t, err, ", MTU 1400")
		got, err := x.a.PathMTU(dst)
		require.NoError(t, err)
		assert.Equal(t, 1400, got, "the kernel learns from the error")

		// What does not fit the interface fails at home.
		_, err = x.a.Ping(dst, Echo{Size: 1501 - header, DontFragment: true})
		assert.ErrorIs(t, err, unix.EMSGSIZE)
		// What fits the path arrives, in one piece or in several.
		_, err = x.a.Ping(dst, Echo{Size: 1400 - header, DontFragment: true})
		assert.NoError(t, err)
		x.learnMTU(dst) // that of the answer's way
		_, err = x.a.Ping(dst, Echo{Size: 1500})
		assert.NoError(t, err)
	})
	t.Run("unreachable", func(t *testing.T) {
		var e *ICMPError
		_, err := x.a.Ping(netip.MustParseAddr("198.51.100.1"), Echo{})
		require.ErrorAs(t, err, &e)
		assert.Equal(t, [2]int{3, 0}, [2]int{e.Type, e.Code})
		_, err = x.a.Ping(netip.MustParseAddr("2001:db8:c::1"), Echo{})
		require.ErrorAs(t, err, &e)
		assert.Equal(t, [2]int{1, 0}, [2]int{e.Type, e.Code})
		assert.ErrorContains(t, err, "destination unreachable (type 1, code 0) from 2001:db8:a::1")
	})
	t.Run("silence", func(t *testing.T) {
		x.b.Sysctl("net.ipv4.icmp_echo_ignore_all", "1")
		begin := time.Now()
		_, err := x.a.Ping(b4, Echo{Timeout: 50 * time.Millisecond})
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.GreaterOrEqual(t, time.Since(begin), 50*time.Millisecond)
	})
	t.Run("source", func(t *testing.T) {
		_, err := x.a.Ping(b6, Echo{Source: b6})
		assert.ErrorIs(t, err, unix.EADDRNOTAVAIL)
		_, err = x.a.Ping(b6, Echo{Source: netip.MustParseAddr("2001:db8:a::2")})
		assert.NoError(t, err)
	})
}

func TestTraceroute(t *testing.T) {
	x := newChain(t)
	eachFamily(t, func(t *testing.T, dst netip.Addr) {
		routers := []netip.Addr{r4, s4}
		if dst.Is6() {
			routers = []netip.Addr{r6, s6}
		}
		for name, tr := range map[string]Trace{"icmp": {Size: 32}, "udp": {UDP: true, Size: 32}} {
			t.Run(name, func(t *testing.T) {
				hops, err := x.a.Traceroute(dst, tr)
				require.NoError(t, err)
				require.Len(t, hops, 3)
				for i, router := range routers {
					assert.Equal(t, router, hops[i].From)
					assert.False(t, hops[i].Reached)
					require.NotNil(t, hops[i].Err)
					assert.True(t, hops[i].Err.expired())
				}
				assert.Equal(t, dst, hops[2].From)
				assert.True(t, hops[2].Reached)
				assert.Equal(t, tr.UDP, hops[2].Err != nil, "UDP ends with an error, ICMP with a reply")
			})
		}
	})
	t.Run("unreachable", func(t *testing.T) {
		x.a.Route("198.51.100.0/24", r4.String(), "")
		hops, err := x.a.Traceroute(netip.MustParseAddr("198.51.100.1"), Trace{UDP: true})
		require.NoError(t, err)
		require.Len(t, hops, 1)
		assert.False(t, hops[0].Reached)
		assert.Equal(t, 3, hops[0].Err.Type)
	})
	t.Run("silence", func(t *testing.T) {
		x.r.Nft(`table inet filter {
			chain forward {
				type filter hook forward priority 0
				drop
			}
		}`)
		for _, udp := range []bool{false, true} {
			hops, err := x.a.Traceroute(b6, Trace{UDP: udp, MaxHops: 3, Timeout: 200 * time.Millisecond})
			require.NoError(t, err)
			require.Len(t, hops, 3)
			assert.Equal(t, r6, hops[0].From)
			assert.Equal(t, []Hop{{}, {}}, hops[1:])
		}
	})
}

func TestTransfers(t *testing.T) {
	x := newChain(t)
	_, err := x.b.ServeTransfers(":5001")
	require.NoError(t, err)
	eachFamily(t, func(t *testing.T, dst netip.Addr) {
		addr := netip.AddrPortFrom(dst, 5001).String()
		client := "192.0.2.2"
		if dst.Is6() {
			client = "2001:db8:a::2"
		}
		for _, size := range []int64{0, 1, 3<<20 + 1} {
			// Up first: a server that knows the path MTU asks for short segments.
			up, err := x.a.Upload(addr, size, 20*time.Second)
			require.NoError(t, err)
			assert.Equal(t, size, up.Bytes)
			down, err := x.a.Download(addr, size, 20*time.Second)
			require.NoError(t, err)
			assert.Equal(t, size, down.Bytes)
			assert.Equal(t, client, down.SeenAs.Addr().String())
			assert.Positive(t, down.Duration)
			if size > 1 {
				assert.NotEqual(t, up.SHA256, down.SHA256, "the same stream twice")
				assert.Equal(t, 1400, up.MTU, "full segments met the narrow link")
				assert.Contains(t, up.String(), "3.0 MiB in ")
			}
		}
	})
	t.Run("refused", func(t *testing.T) {
		_, err := x.a.Download(netip.AddrPortFrom(b6, 5002).String(), 1, time.Second)
		assert.ErrorIs(t, err, unix.ECONNREFUSED)
	})
}

// TestTransferStalls turns the router's errors off: a full segment is then lost
// for good, and the transfer has to say so.
func TestTransferStalls(t *testing.T) {
	x := newChain(t)
	x.r.Nft(`table inet filter {
		chain output {
			type filter hook output priority 0
			icmp type destination-unreachable drop
			icmpv6 type packet-too-big drop
		}
	}`)
	_, err := x.b.ServeTransfers(":5001")
	require.NoError(t, err)
	eachFamily(t, func(t *testing.T, dst netip.Addr) {
		_, err := x.a.Upload(netip.AddrPortFrom(dst, 5001).String(), 1<<20, 300*time.Millisecond)
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}

// TestTransferCorrupt has a server lie about the hash, and one end early.
func TestTransferCorrupt(t *testing.T) {
	h := New(t).Host("a")
	request := make([]byte, requestLen)
	_, err := h.ServeTCP(":1", func(c net.Conn) {
		io.ReadFull(c, request)
		c.Write(make([]byte, 1000+trailerLen))
	})
	require.NoError(t, err)
	_, err = h.Download("[::1]:1", 1000, time.Second)
	assert.ErrorIs(t, err, errHash)

	_, err = h.ServeTCP(":2", func(c net.Conn) {
		io.ReadFull(c, request)
		c.Write(make([]byte, 999))
	})
	require.NoError(t, err)
	_, err = h.Download("[::1]:2", 1000, time.Second)
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.ErrorContains(t, err, "received 999 of 1000 bytes")
}

func TestTCPEcho(t *testing.T) {
	x := newChain(t)
	s, err := x.b.ServeTCPEcho(":7")
	require.NoError(t, err)
	eachFamily(t, func(t *testing.T, dst netip.Addr) {
		c, err := x.a.Dial("tcp", netip.AddrPortFrom(dst, 7).String(), time.Second)
		require.NoError(t, err)
		_, err = c.Write([]byte("steppe"))
		require.NoError(t, err)
		require.NoError(t, c.(*net.TCPConn).CloseWrite())
		got, err := io.ReadAll(c)
		require.NoError(t, err)
		assert.Equal(t, "steppe", string(got))
	})
	c, err := x.a.Dial("tcp", netip.AddrPortFrom(b6, 7).String(), time.Second)
	require.NoError(t, err)
	_, err = c.Write([]byte("x"))
	require.NoError(t, err)
	_, err = c.Read(make([]byte, 1)) // the server has accepted
	require.NoError(t, err)
	require.NoError(t, s.Close())
	_, err = c.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF)
	_, err = x.a.Dial("tcp", netip.AddrPortFrom(b6, 7).String(), time.Second)
	assert.ErrorIs(t, err, unix.ECONNREFUSED)
}

func TestUDPEcho(t *testing.T) {
	x := newChain(t)
	_, err := x.b.ServeUDPEcho(":7")
	require.NoError(t, err)
	eachFamily(t, func(t *testing.T, dst netip.Addr) {
		addr := netip.AddrPortFrom(dst, 7).String()
		sizes := []int{0, 1, 7, 8, 1232, 1452, 1473, 4000, 65507}
		// Both directions lose a full packet to path-MTU discovery.
		r, err := x.a.UDPEcho(addr, UDPEcho{Sizes: sizes, Attempts: 4, Timeout: 500 * time.Millisecond})
		require.NoError(t, err)
		assert.Equal(t, len(sizes), r.Datagrams)
		assert.EqualValues(t, 0+1+7+8+1232+1452+1473+4000+65507, r.Bytes)
		assert.LessOrEqual(t, r.Lost, 2)
		r, err = x.a.UDPEcho(addr, UDPEcho{Sizes: sizes})
		require.NoError(t, err)
		assert.Zero(t, r.Lost)
		assert.Contains(t, r.String(), "9 datagrams, 73680 bytes each way, 0 lost, ")

		_, err = x.a.UDPEcho(netip.AddrPortFrom(dst, 9).String(), UDPEcho{Sizes: []int{8}, Attempts: 3})
		assert.ErrorIs(t, err, unix.ECONNREFUSED)
	})
	t.Run("silence", func(t *testing.T) {
		c, err := x.b.ListenPacket("udp", ":9")
		require.NoError(t, err)
		_, err = x.a.UDPEcho("[2001:db8:b::2]:9", UDPEcho{Sizes: []int{8}, Timeout: 20 * time.Millisecond, Attempts: 3})
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		c.SetReadDeadline(time.Now().Add(30 * time.Second))
		for range 3 {
			_, _, err = c.ReadFrom(make([]byte, 100))
			assert.NoError(t, err, "an attempt is missing")
		}
	})
	t.Run("wrong", func(t *testing.T) {
		c, err := x.b.ListenPacket("udp", ":10")
		require.NoError(t, err)
		go func() {
			buf := make([]byte, 100)
			for {
				n, from, err := c.ReadFrom(buf)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				buf[n-1] ^= 1
				c.WriteTo(buf[:n], from)
			}
		}()
		_, err = x.a.UDPEcho("[2001:db8:b::2]:10", UDPEcho{Sizes: []int{8}, Timeout: 50 * time.Millisecond})
		assert.ErrorContains(t, err, "8 bytes came that differ from the 8 sent")
	})
}

// TestSocketsOutlive uses sockets of a host from goroutines and threads that were
// never in it.
func TestSocketsOutlive(t *testing.T) {
	x := newChain(t)
	l, err := x.b.Listen("tcp", ":80")
	require.NoError(t, err)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte(c.RemoteAddr().(*net.TCPAddr).IP.String()))
			c.Close()
		}
	}()
	for range 20 {
		c, err := x.a.Dial("tcp", "192.0.2.130:80", 30*time.Second)
		require.NoError(t, err)
		got := make(chan string)
		go func() {
			b, _ := io.ReadAll(c)
			got <- string(b)
		}()
		assert.Equal(t, "192.0.2.2", <-got)
	}
}

// TestCloseEndsWaiting closes a lab in which a caller waits for what will never
// come.
func TestCloseEndsWaiting(t *testing.T) {
	for name, wait := range map[string]func(h *Host) error{
		"dial": func(h *Host) error {
			_, err := h.Dial("tcp", "192.0.2.3:80", time.Minute)
			return err
		},
		"ping": func(h *Host) error {
			_, err := h.Ping(netip.MustParseAddr("192.0.2.3"), Echo{Timeout: time.Minute})
			return err
		},
		"udp": func(h *Host) error {
			_, err := h.UDPEcho("192.0.2.3:7", UDPEcho{Sizes: []int{1}, Timeout: time.Minute, Attempts: 3})
			return err
		},
		"process": func(h *Host) error { return h.Command("sleep", "1000").Run() },
	} {
		t.Run(name, func(t *testing.T) {
			lab := New(t)
			a, b := lab.Host("a"), lab.Host("b")
			lab.Link(a, "eth0", b, "eth0", 1500)
			a.Addr("eth0", "192.0.2.2/24")
			// Not even an answer to ARP comes back.
			b.Nft("table netdev x {\nchain x {\ntype filter hook ingress device eth0 priority 0\ndrop\n}\n}")
			a.Sysctl("net.ipv4.neigh.eth0.mcast_solicit", "100")
			time.AfterFunc(50*time.Millisecond, lab.Close)
			begin := time.Now()
			assert.Error(t, wait(a))
			assert.Less(t, time.Since(begin), 50*time.Second, "it waited until its own time was up")
		})
	}
}
