package clattest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/steppe-nat64/steppe/internal/test/dnstest"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

const resolver6 = "2001:db8:1::1" // the router's own, on the first link

// zone has what RFC 7050 asks for, since the laboratory has no DNS to ask.
const zone = `$TTL 3600
@ SOA ipv4only.arpa. root.ipv4only.arpa. 1 3600 600 86400 60
@ NS ipv4only.arpa.
@ A 192.0.0.170
@ A 192.0.0.171
`

// bind runs BIND with dns64 on the router.
func (x *lab) bind(prefix string) {
	x.t.Helper()
	named := program(x.t, "named")
	dir := x.t.TempDir()
	conf := fmt.Sprintf(`options {
	directory "%[1]s"; pid-file none; session-keyfile none; listen-on { none; }; listen-on-v6 { any; };
	recursion yes; allow-query { any; }; dnssec-validation no; managed-keys-directory "%[1]s";
	dns64 %[2]s { clients { any; }; exclude { any; }; };
};
controls { };
zone "ipv4only.arpa" { type primary; file "%[1]s/zone"; };
`, dir, prefix)
	require.NoError(x.t, os.WriteFile(filepath.Join(dir, "named.conf"), []byte(conf), 0o644))
	require.NoError(x.t, os.WriteFile(filepath.Join(dir, "zone"), []byte(zone), 0o644))
	p, err := x.router.Launch(named, "-g", "-c", filepath.Join(dir, "named.conf"), "-n", "1")
	require.NoError(x.t, err)
	x.logAtFailure("named", p)
	awaitLine(x.t, p, " running\n", 0)
}

// unbound runs Unbound with dns64 on the router.
func (x *lab) unbound(prefix string) *netlab.Process {
	x.t.Helper()
	program := program(x.t, "unbound")
	dir := x.t.TempDir()
	require.NoError(x.t, os.WriteFile(filepath.Join(dir, "zone"), []byte(zone), 0o644))
	conf := fmt.Sprintf(`server:
	directory: "%s"
	chroot: ""
	username: ""
	pidfile: ""
	use-syslog: no
	interface: ::0
	access-control: ::/0 allow
	module-config: "dns64 iterator"
	dns64-prefix: %s
	local-zone: "ipv4only.arpa." nodefault
auth-zone:
	name: "ipv4only.arpa."
	zonefile: "%s/zone"
	for-downstream: no
	for-upstream: yes
	fallback-enabled: no
remote-control:
	control-enable: no
`, dir, prefix, dir)
	require.NoError(x.t, os.WriteFile(filepath.Join(dir, "unbound.conf"), []byte(conf), 0o644))
	p, err := x.router.Launch(program, "-d", "-v", "-c", filepath.Join(dir, "unbound.conf"))
	require.NoError(x.t, err)
	x.logAtFailure("unbound", p)
	awaitLine(x.t, p, "start of service", 0)
	return p
}

// radvd runs radvd on the router, on the first link: addresses, and the router as resolver.
func (x *lab) radvd() *netlab.Process {
	x.t.Helper()
	radvd := program(x.t, "radvd")
	conf := filepath.Join(x.t.TempDir(), "radvd.conf")
	require.NoError(x.t, os.WriteFile(conf, fmt.Appendf(nil, `interface lan0 {
	AdvSendAdvert on;
	MinRtrAdvInterval 3;
	MaxRtrAdvInterval 4;
	prefix %s { };
	RDNSS %s { };
};
`, lan0, resolver6), 0o644))
	p, err := x.router.Launch(radvd, "-n", "-d", "1", "-m", "stderr", "-C", conf, "-p", conf+".pid")
	require.NoError(x.t, err)
	x.logAtFailure("radvd", p)
	return p
}

// A liar is a resolver on the router that answers as a test says.
type liar struct {
	dnstest.Server
	mu     sync.Mutex
	answer func(string, dnsmessage.Message, dnsmessage.Message) [][]byte
	first  time.Time // when it first answered
}

// says changes what it answers.
func (l *liar) says(answer func(string, dnsmessage.Message, dnsmessage.Message) [][]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer = answer
	l.first = time.Time{}
}

// answered returns when it has answered first, and waits for that.
func (l *liar) answered(t *testing.T) (first time.Time) {
	t.Helper()
	require.True(t, eventually(t, nil, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		first = l.first
		return !first.IsZero()
	}), "no host has asked the resolver")
	return first
}

// liar answers on the router with the addresses for ipv4only.arpa.
func (x *lab) liar(ttl uint32, addrs ...string) *liar {
	x.t.Helper()
	l := &liar{answer: dnstest.Always(ttl, addrs...)}
	l.Answer = func(network string, q, r dnsmessage.Message) [][]byte {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.first.IsZero() {
			l.first = time.Now()
		}
		return l.answer(network, q, r)
	}
	c, err := x.router.ListenPacket("udp", net.JoinHostPort(resolver6, "53"))
	require.NoError(x.t, err)
	go l.ServePacket(c)
	_, err = x.router.ServeTCP(net.JoinHostPort(resolver6, "53"), l.ServeConn)
	require.NoError(x.t, err)
	return l
}
