package labtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// testSharedFragments has datagrams sent that hosts fragment, in either family, and by the
// translator; and one that a host of IPv4 sends first, such as a large answer of DNS.
func (x *lab) testSharedFragments(t *testing.T) {
	x.together(t, func(h *netlab.Host) error {
		for _, to := range []netip.Addr{near4.v6, old4.v6} {
			_, err := h.UDPEcho(at(to, echoPort), netlab.UDPEcho{
				Sizes: []int{1453, 1473, 2000, 4000, maxUDP}, Attempts: 20, Timeout: time.Second,
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	x.serveDNS(t)
	c, err := x.near6.Dial("udp6", at(near4.v6, 53), patience)
	require.NoError(t, err)
	defer c.Close()
	want := largeAnswer(dnsmessage.Header{ID: 7}, dnsQuestion)
	for range 20 {
		q := dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{dnsQuestion}}
		b, err := q.Pack()
		require.NoError(t, err)
		_, err = c.Write(b)
		require.NoError(t, err)
		got := make([]byte, 4096)
		c.SetReadDeadline(time.Now().Add(patience))
		n, err := c.Read(got)
		require.NoError(t, err)
		require.Equal(t, want, got[:n])
	}
}

// dnsQuestion is what has an answer of 3,000 bytes.
var dnsQuestion = dnsmessage.Question{Name: dnsmessage.MustNewName("large.test."), Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}

// serveDNS answers each question of DNS that near4 gets.
func (x *lab) serveDNS(t *testing.T) {
	t.Helper()
	server, err := x.near4.ListenPacket("udp4", ":53")
	require.NoError(t, err)
	t.Cleanup(func() { server.Close() })
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			var q dnsmessage.Message
			if q.Unpack(b[:n]) == nil && len(q.Questions) == 1 {
				server.WriteTo(largeAnswer(q.Header, q.Questions[0]), from)
			}
		}
	}()
}

// largeAnswer is an answer of DNS that no packet of a link of 1,500 bytes has room for.
func largeAnswer(h dnsmessage.Header, q dnsmessage.Question) []byte {
	h.Response, h.Authoritative = true, true
	m := dnsmessage.Message{Header: h, Questions: []dnsmessage.Question{q}}
	for i := range 12 {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60},
			Body:   &dnsmessage.TXTResource{TXT: []string{strings.Repeat(string(rune('a'+i)), 240)}},
		})
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// testSharedQUIC has both hosts keep flows as QUIC has them: each a socket that sends and
// gets full datagrams for a while, numbered, many at once, some of which move to
// another port and go on. No flow gets what is another's.
func (x *lab) testSharedQUIC(t *testing.T) {
	const flows, rounds = 20, 30
	server, err := x.near4.ListenPacket("udp4", fmt.Sprintf(":%d", quicPort))
	require.NoError(t, err)
	defer server.Close()
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			server.WriteTo(b[:n], from)
		}
	}()
	x.together(t, func(h *netlab.Host) error {
		var wg sync.WaitGroup
		errs := make([]error, flows)
		for i := range flows {
			wg.Go(func() { errs[i] = quicFlow(h, at(near4.v6, quicPort), rounds) })
		}
		wg.Wait()
		return errors.Join(errs...)
	})
}

// quicFlow sends datagrams and expects each back; in the middle it goes on from another
// port. Datagrams may get lost, as they may in QUIC, and are sent again.
func quicFlow(h *netlab.Host, to string, rounds int) error {
	id := rand.Uint64()
	var c net.Conn
	defer func() { c.Close() }()
	got := make([]byte, 2048)
	for i := range rounds {
		if i == 0 || i == rounds/2 {
			if c != nil {
				c.Close()
			}
			var err error
			if c, err = h.Dial("udp6", to, patience); err != nil {
				return err
			}
		}
		want := binary.BigEndian.AppendUint64(nil, id)
		want = binary.BigEndian.AppendUint64(want, uint64(i))
		want = append(want, make([]byte, datagramSize-len(want))...)
		for end := time.Now().Add(patience); ; {
			if _, err := c.Write(want); err != nil {
				return err
			}
			c.SetReadDeadline(time.Now().Add(time.Second))
			n, err := c.Read(got)
			switch {
			case err != nil && time.Now().After(end):
				return err
			case err != nil:
				continue
			case binary.BigEndian.Uint64(got) != id:
				return fmt.Errorf("a flow got a datagram of another, %d bytes", n)
			case !bytes.Equal(got[:n], want):
				continue // sent twice
			}
			break
		}
	}
	return nil
}
