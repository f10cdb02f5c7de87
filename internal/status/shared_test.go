package status

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// queries are selections as an operator types them in.
var queries = []string{
	"", "2001:db8::1", "2001:db8::/64", "[2001:db8::1]:443", "[2001:db8::]", "[2001:db8::/64]:65535",
	"192.0.2.1", "192.0.2.0/24", "192.0.2.1:443", "192.0.2.0/24:53", ":443", "tcp", "udp", "icmp",
	"tcp 2001:db8::1 192.0.2.1:443", "[2001:db8::1]:1 192.0.2.1:2 :3 udp",
	"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535 255.255.255.255:65535 :65535 icmp",
}

func TestParseQuery(t *testing.T) {
	for words, want := range map[string]Query{
		"":                               {},
		"2001:db8::1":                    {Host: netip.MustParsePrefix("2001:db8::1/128")},
		"[2001:db8::]":                   {Host: netip.MustParsePrefix("2001:db8::/128")},
		"2001:db8::1/64":                 {Host: netip.MustParsePrefix("2001:db8::/64")},
		"[2001:db8::1]:443":              {Host: netip.MustParsePrefix("2001:db8::1/128"), HostPort: 443},
		"192.0.2.7/24:53":                {Addr: netip.MustParsePrefix("192.0.2.0/24"), AddrPort: 53},
		"::ffff:192.0.2.7":               {Addr: netip.MustParsePrefix("192.0.2.7/32")},
		":80 udp 192.0.2.1":              {Addr: netip.MustParsePrefix("192.0.2.1/32"), Port: 80, Protocol: "udp"},
		"192.0.2.1:2 [2001:db8::/32]:30": {Host: netip.MustParsePrefix("2001:db8::/32"), HostPort: 30, Addr: netip.MustParsePrefix("192.0.2.1/32"), AddrPort: 2},
	} {
		q, err := ParseQuery(strings.Fields(words))
		assert.NoError(t, err, words)
		assert.Equal(t, want, q, words)
	}
	for _, words := range []string{
		"x", "443", ":0", ":65536", ":-1", ":", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:x", "192.0.2", "[192.0.2.1]:1", "[2001:db8::1", "[2001:db8::1]443",
		"[]:1", "2001:db8::1%eth0", "2001:db8::/129", "192.0.2.0/33", "[2001:db8::1]:", "sctp", "TCP",
	} {
		_, err := ParseQuery([]string{words})
		assert.EqualError(t, err, fmt.Sprintf("status: %q is none of HOST, [HOST]:PORT, ADDRESS, ADDRESS:PORT, :PORT, a prefix in place of the address, tcp, udp, icmp", words))
	}
	for _, words := range []string{"::1 ::2", "192.0.2.1 192.0.2.2:5", "tcp udp", ":1 :2"} {
		_, err := ParseQuery(strings.Fields(words))
		assert.ErrorIs(t, err, errTwice, words)
	}
	_, err := ParseQuery([]string{"\x1b[2J"})
	assert.ErrorContains(t, err, `status: "?[2J" is none`)
}

// A query arrives as it was sent, and the longest one fits.
func TestQueryOnTheWire(t *testing.T) {
	for _, words := range queries {
		q, err := ParseQuery(strings.Fields(words))
		require.NoError(t, err, words)
		q.Page = math.MaxUint32
		b := encodeQuery(q)
		assert.Len(t, b, queryLen)
		got, err := decodeQuery(b)
		assert.NoError(t, err, words)
		assert.Equal(t, q, got)
	}
	for _, words := range []string{
		"page=01", "page=4294967296", "page=-1", "port=65536", "port=0", "host=192.0.2.1/32", "addr=::/0", "addr=192.0.2.1/24", "host=2001:db8::1/64",
		"protocol=sctp", "protocol=", "page=1 port=1", "page=1  port=1", " page=1", "port=1 port=1", "page", "from=1",
	} {
		_, err := decodeQuery(fmt.Appendf(nil, "%-*s\n", queryLen-1, words))
		assert.ErrorIs(t, err, errBadQuery, words)
	}
	for _, b := range [][]byte{nil, []byte("page=1\n"), bytes.Repeat([]byte(" "), queryLen), bytes.Repeat([]byte("\xff"), queryLen)} {
		_, err := decodeQuery(b)
		assert.ErrorIs(t, err, errBadQuery)
	}
}

func TestQuerySelects(t *testing.T) {
	host, addr, remote := netip.MustParseAddrPort("[2001:db8::1]:1000"), netip.MustParseAddrPort("203.0.113.7:2000"), netip.MustParseAddrPort("198.51.100.9:443")
	for words, want := range map[string]bool{
		"":                     true,
		":1000":                true,
		":2000":                true,
		":443":                 true,
		":444":                 false,
		"[2001:db8::1]:1000":   true,
		"[2001:db8::1]:2000":   false,
		"203.0.113.7:2000":     true,
		"203.0.113.7:443":      false, // of the other end
		"198.51.100.9:443":     true,
		"203.0.113.7:443 :443": false,
		"0.0.0.0/0:443":        true,
	} {
		q, err := ParseQuery(strings.Fields(words))
		require.NoError(t, err)
		assert.Equal(t, want, q.Selects(host, addr, remote), words)
	}
}

// All pages of a listing come, also after one that is empty.
func TestAskSessions(t *testing.T) {
	path := serveSample(t)
	var got []Session
	var pages []uint32
	err := AskSessions(path, Query{}, func(r *Report) error {
		got = append(got, r.SessionList.Entries...)
		pages = append(pages, r.SessionList.Next)
		assert.Equal(t, &sampleShared, r.Shared)
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, append(sampleSessions[0].Entries[:1:1], sampleSessions[131072].Entries...), got)
	assert.Equal(t, []uint32{65536, 131072, 0}, pages)

	enough := errors.New("enough")
	assert.ErrorIs(t, AskSessions(path, Query{}, func(*Report) error { return enough }), enough)
	err = AskSessions(path, Query{Page: 7}, func(*Report) error { return nil })
	assert.EqualError(t, err, "status: "+path+": the answer has no sessions")
}

// A client that sends only a part of a query, or one that makes no sense, gets a line or
// nothing.
func TestBadQueries(t *testing.T) {
	path := serveSample(t)
	for _, test := range []struct{ query, want string }{
		{strings.Repeat("x", queryLen), string(encodeRefusal(errBadQuery))},
		{fmt.Sprintf("%-*s\n", queryLen-1, "page=99999999999999999999"), string(encodeRefusal(errBadQuery))},
		{"page=1\n", ""},
	} {
		conn, err := net.Dial("unix", path)
		require.NoError(t, err)
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		conn.Write(append(encodeRequest(Sessions), test.query...))
		conn.(*net.UnixConn).CloseWrite()
		reply, err := io.ReadAll(conn)
		assert.NoError(t, err)
		assert.Equal(t, test.want, string(reply))
		conn.Close()
	}
}

// A server whose listing does not end, or that is replaced by another one, is left.
func TestBadListings(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(n int, q Query) *Report
		want   string
	}{
		"standing-still": {func(n int, q Query) *Report { return &Report{SessionList: &SessionList{Next: 7}} },
			"the answer makes no sense: the next page is not after this one"},
		"restarted": {func(n int, q Query) *Report { return &Report{PID: n, SessionList: &SessionList{Next: q.Page + 1}} },
			"tayga was restarted meanwhile: the list is not complete"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sock")
			s, err := Listen(path, -1, false)
			require.NoError(t, err)
			defer s.Close()
			var n atomic.Int32
			go Serve(s, func(r Request) *Report { return test.answer(int(n.Add(1)), r.Query) })
			err = AskSessions(path, Query{}, func(*Report) error { return nil })
			assert.EqualError(t, err, "status: "+path+": "+test.want)
		})
	}
}

// A page of the longest entries fits an answer.
func TestPageIsBounded(t *testing.T) {
	r := sample
	r.SessionList = new(SessionList)
	host := "[" + strings.Repeat("ffff:", 7) + "ffff]:65535"
	for range PageSize {
		r.SessionList.Entries = append(r.SessionList.Entries, Session{"icmp", "v4-fin-v6-fin", host, "255.255.255.255:65535", "255.255.255.255:65535", 1 << 30, 1 << 30})
	}
	b, err := encodeAnswer(&r)
	require.NoError(t, err)
	assert.Less(t, len(b), maxAnswer/4)
}

func TestTableOfSessions(t *testing.T) {
	r := sample
	r.Shared, r.SessionList = &sampleShared, sampleSessions[0]
	var b strings.Builder
	require.NoError(t, r.WriteTable(&b))
	require.NoError(t, sampleSessions[131072].WriteRows(&b))
	_, got, _ := strings.Cut(b.String(), "6to4       not sent    dropped                      1                1                  60\n")
	assert.Equal(t, `
stateful pool: sessions: 120/262144, half-open: 10/65536, opened from IPv4: 1/65536, held SYNs: 0/10
hosts: 12, subscribers: 9 (a /64 each, up to 65536 sessions); memory: 12288 KiB
bindings: tcp 95, udp 20; static ones: 2 in the configuration, 1 in the map-file
sessions made: tcp 1000, udp 300
sessions ended: trans 900, udp 280
packets denied: 6to4 no-port 4, 6to4 session-limit 3, 4to6 no-binding 77
by limits: per-prefix 3

protocol  state            sessions
tcp       all                   100
tcp       established            90
tcp       v6-init                10
udp       all                    20
udp       udp                    20

shared address      hosts      TCP ports      UDP ports  ICMP identifiers  in quarantine
203.0.113.7            12       95/64512       20/64512           0/65536              5
and 2 more

fullest subscribers                             hosts  sessions  half-open  opened from IPv4  port blocks
2001:db8:1::/64                                     3        70          8                 1            0

protocol  state          host                                             shared                 remote                 remaining
tcp       established    [2001:db8:1::5]:40000                            203.0.113.7:20001      198.51.100.9:443       2h3m57s
icmp      icmp           [2001:db8:1::6]:77                               203.0.113.7:4711       198.51.100.9           1m0s
`, got)

	// Before the first packet, and without a stateful pool.
	b.Reset()
	require.NoError(t, (&Report{Shared: new(Shared), SessionList: new(SessionList)}).WriteTable(&b))
	assert.Contains(t, b.String(), "\npackets denied: none\n")
	assert.NotContains(t, b.String(), "shared address ")
	b.Reset()
	require.NoError(t, (&Report{SessionList: new(SessionList)}).WriteTable(&b))
	assert.True(t, strings.HasSuffix(b.String(), "\n\nno stateful pool\n"), b.String())
}
