package main

import (
	"encoding/json"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// listed returns what --status=sessions prints, as a table and as JSON.
func (v *village) listed(selection ...string) (table string, r status.Report) {
	v.Helper()
	args := append([]string{"--status=sessions", "-c", v.conf}, selection...)
	table, errs, code := v.tayga(args...)
	require.Equal(v, 0, code, errs)
	text, errs, code := v.tayga(append(args, "--json")...)
	require.Equal(v, 0, code, errs)
	require.NoError(v, json.Unmarshal([]byte(text), &r), text)
	return table, r
}

// Sessions of two hosts that share an address are counted and listed, with what the
// server sees of them.
func TestSharedStatus(t *testing.T) {
	v := newShared(t, "status-socket DIR/sock\nmetrics-listen 127.0.0.1:9464\n")
	p := v.launch()
	l, err := v.server.Listen("tcp4", ":80")
	require.NoError(t, err)
	defer l.Close()
	type host struct {
		client net.Conn
		seen   netip.AddrPort
	}
	var hosts []host
	for _, src := range []string{clientAddr, secondAddr} {
		c, s, seen := v.seenFrom(src, l)
		defer c.Close()
		defer s.Close()
		roundTrip(t, c, s)
		hosts = append(hosts, host{c, seen})
	}
	_, err = v.client.Ping(netip.MustParseAddr(serverIn6), netlab.Echo{Timeout: patience})
	require.NoError(t, err)

	r := v.ask(status.Summary)
	require.NotNil(t, r.Shared)
	assert.Nil(t, r.SessionList)
	assert.Equal(t, 3, r.Shared.Total.Used)
	assert.Contains(t, r.Shared.Sessions, status.SessionCount{Protocol: "tcp", State: "established", Sessions: 2})
	assert.Contains(t, r.Shared.Sessions, status.SessionCount{Protocol: "icmp", State: "icmp", Sessions: 1})
	assert.Equal(t, 2, r.Shared.Hosts)
	require.Len(t, r.Shared.Addresses.Entries, 1)
	assert.Equal(t, status.Address{
		Addr: sharedAddr, Hosts: 2,
		TCP: status.Use{Used: 2, Limit: 64512}, UDP: status.Use{Limit: 64512}, ICMP: status.Use{Used: 1, Limit: 65536},
	}, r.Shared.Addresses.Entries[0])
	require.Len(t, r.Shared.Fullest, 1)
	assert.Equal(t, netip.MustParsePrefix(clientAddr+"/64").Masked().String(), r.Shared.Fullest[0].Prefix)
	assert.Equal(t, 3, r.Shared.Fullest[0].Sessions)

	table, all := v.listed()
	assert.Len(t, all.SessionList.Entries, 3)
	assert.Contains(t, table, "stateful pool: sessions: 3/262144, ")
	for _, h := range hosts {
		_, port, err := net.SplitHostPort(h.client.LocalAddr().String())
		require.NoError(t, err)
		src := h.client.LocalAddr().(*net.TCPAddr).IP.String()
		table, one := v.listed(src, "tcp")
		require.Len(t, one.SessionList.Entries, 1)
		e := one.SessionList.Entries[0]
		assert.Equal(t, status.Session{
			Protocol: "tcp", State: "established", Host: net.JoinHostPort(src, port), Shared: h.seen.String(), Remote: serverAddr + ":80",
			Idle: e.Idle, Remaining: e.Remaining,
		}, e)
		assert.Regexp(t, `(?m)^tcp +established +`+strings.NewReplacer("[", `\[`, "]", `\]`).Replace(e.Host)+` +`+e.Shared+` +`+e.Remote+` +[0-9hms]+$`, table)
		_, same := v.listed(h.seen.String())
		assert.Len(t, same.SessionList.Entries, 1)
		assert.Equal(t, e.Host, same.SessionList.Entries[0].Host)
	}
	table, none := v.listed(":9", "udp")
	assert.Empty(t, none.SessionList.Entries)
	assert.True(t, strings.HasSuffix(table, "\nno such session\n"), table)

	// What is denied, with its reason.
	require.NoError(t, v.server.Do(func() error {
		c, err := net.Dial("udp4", sharedAddr+":9999")
		if err == nil {
			defer c.Close()
			_, err = c.Write([]byte("anyone?"))
		}
		return err
	}))
	denied := func() (n uint64) {
		for _, d := range v.ask(status.Summary).Shared.Denied {
			if d.Direction == "4to6" && d.Reason == "no-binding" {
				n = d.Packets
			}
		}
		return n
	}
	v.eventually(func() bool { return denied() > 0 }, p.Output)
	assert.Equal(t, deniedOf(v.ask(status.Summary).Packets), v.ask(status.Summary).Shared.Denied)

	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGUSR1))
	v.await(p, "stateful pool: 2 hosts, 3 sessions (262144 at most), 0 half-open, 0 opened from IPv4; 3 made, 0 ended\n")
	metrics := v.scrape()
	for series, want := range map[string]uint64{
		`steppe_sessions{protocol="tcp",state="established"}`:                       2,
		`steppe_session_use{limit="sessions"}`:                                      3,
		`steppe_session_denied_packets_total{direction="4to6",reason="no-binding"}`: denied(),
		`steppe_shared_ports{address="198.51.99.1",protocol="tcp"}`:                 2,
	} {
		assert.EqualValues(t, want, metrics[series], series)
	}
	for series := range metrics {
		assert.NotContains(t, series, "2001:db8:")
		assert.NotContains(t, series, serverAddr)
	}
	require.NoError(t, p.Stop(patience))
}

// Without a stateful pool the report is what it was, and a list of sessions says so.
func TestSharedStatusWithoutPool(t *testing.T) {
	b := newBench(t, gatewayConf+"status-socket DIR/sock\nmetrics-listen 127.0.0.1:9464\n")
	p := b.launch()
	table, errs, code := b.tayga("--status", "--json", "-c", b.conf)
	require.Equal(t, 0, code, errs)
	for _, word := range []string{"stateful", "session"} {
		assert.NotContains(t, table, word)
	}
	table, errs, code = b.tayga("--status", "-c", b.conf)
	require.Equal(t, 0, code, errs)
	assert.NotContains(t, table, "stateful")
	table, errs, code = b.tayga("--status=sessions", "-c", b.conf)
	require.Equal(t, 0, code, errs)
	assert.True(t, strings.HasSuffix(table, "\nno stateful pool\n"), table)
	_, errs, code = b.tayga("--status=sessions", "-c", b.conf, "nonsense")
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, `tayga: status: "nonsense" is none of HOST, [HOST]:PORT, `)
	require.NoError(t, p.Stop(patience))
}
