package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"github.com/steppe-nat64/steppe/internal/status"
)

// Control characters of files reached terminals and logs, even in commands that the
// doctor prints to be pasted. These tests put hostile text wherever the programs read
// some, and look at all that they print.

// hostileText clears a screen, sets a title, rings, and turns the direction of text:
// by C0, by C1 as a character and as a byte, by DEL, and by characters of format. It
// is a word of a configuration, the name of a file, and fits an interface's.
const hostileText = "a\x1b[2J\x07\x7f\u009b\u202e\x9b"

// harmless checks a program's output.
func harmless(t *testing.T, what, text string) {
	t.Helper()
	assert.True(t, utf8.ValidString(text), "%s is no UTF-8: %q", what, text)
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			assert.Fail(t, "not printable", "%s has %U: %q", what, r, text)
			return
		}
	}
}

// prints runs tayga and checks what it prints, which is something.
func (b *bench) prints(args ...string) string {
	b.Helper()
	out, errs, _ := b.tayga(args...)
	what := fmt.Sprintf("%q", args)
	harmless(b.T, what, out)
	harmless(b.T, what, errs)
	assert.NotEmpty(b, out+errs, what)
	return out + errs
}

func TestHostileOptions(t *testing.T) {
	b := newBench(t, gatewayConf)
	for _, args := range [][]string{
		{"--" + hostileText}, {"--config=" + hostileText}, {"-c", hostileText, "--check"}, {"-\x1b"}, {"-\x9b"}, {"-c", hostileText, "--json", "--doctor"},
		{"-c", b.conf, "-d", "-u", hostileText}, {"-c", b.conf, "-d", "-g", hostileText}, {"-c", b.conf, "-d", "-p", "/absent/" + hostileText},
		{"-c", b.conf, "--status=" + hostileText}, {"-c", b.conf, "--status=sessions", hostileText}, {"-c", hostileText, "--status"}, {"-c", hostileText, "--mktun"}, {"-c", hostileText},
	} {
		b.prints(args...)
	}
}

// Files: every directive with hostile words, and names of files that are.
func TestHostileFiles(t *testing.T) {
	b := newBench(t, gatewayConf)
	var lines strings.Builder
	for _, directive := range []string{"tun-device", "ipv4-addr", "ipv6-addr", "prefix", "map", "map-file", "dynamic-pool", "data-dir", "offload", "log",
		"tun-up", "tun-ip", "tun-route", "status-socket", "metrics-listen", "sandbox", "fast-path", "dynamic-pool-clients",
		"clat", "clat-uplink", "clat-address", "clat-resolver", "clat-share", "clat-inbound", hostileText} {
		fmt.Fprintf(&lines, "%s %s\n%[1]s %[2]s fe80::1%%%[2]s\n", directive, hostileText)
	}
	lines.WriteString("map 192.0.2.1 fe80::1%" + hostileText + "\n")
	b.conf = filepath.Join(b.dir, hostileText+".conf")
	b.configure(lines.String())
	for _, args := range [][]string{{"--check"}, {"-d"}, {"-n"}, {}, {"--doctor"}, {"--doctor", "--json"}, {"--status"}, {"--mktun"}} {
		b.prints(append(args, "-c", b.conf)...)
	}

	// What is right but for its names, and a map-file and leases that are not.
	data := filepath.Join(b.dir, hostileText)
	require.NoError(t, os.Mkdir(data, 0o755))
	maps := filepath.Join(b.dir, hostileText+".maps")
	bad := "map " + hostileText + " " + hostileText + "\n" + hostileText + "\nmap 192.0.2.1 fe80::1%" + hostileText + "\n"
	require.NoError(t, os.WriteFile(maps, []byte(bad), 0o644))
	leases := hostileText + "\t2001:db8:1::1\t1\n192.168.255.7\t" + hostileText + "\t1\n192.168.255.8\t2001:db8:1::8\t" + hostileText + "\n"
	require.NoError(t, os.WriteFile(data+"/dynamic.map", []byte(leases), 0o644))
	b.configure(strings.Replace(gatewayConf, "data-dir DIR", "data-dir "+data+"\nmap-file "+maps+"\nstatus-socket "+data+"/sock", 1))
	b.prints("--check", "-c", b.conf)
	p, err := b.host.Launch(b.self, "-d", "-c", b.conf)
	require.NoError(t, err)
	b.await(p, "Workers: ")
	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
	b.await(p, "going on with the maps as they were")
	for _, args := range [][]string{{"--status"}, {"--status=leases"}, {"--status", "--json"}, {"--doctor"}, {"--doctor", "--json"}, {"-d"}} {
		b.prints(append(args, "-c", b.conf)...)
	}
	require.NoError(t, p.Stop(patience))
	harmless(t, "the log", p.Output())
	assert.Contains(t, p.Output(), "dynamic.map")
}

// A report may come from any program that listens on the socket.
func TestHostileReport(t *testing.T) {
	h := hostileText + "\nforged: line"
	b := newBench(t, gatewayConf+"status-socket DIR/sock\n")
	list, err := net.Listen("unix", b.dir+"/sock")
	require.NoError(t, err)
	defer list.Close()
	report, err := json.Marshal(&status.Report{
		Version: h, Config: h, Device: status.Device{Name: h, Offloads: []string{h}, Present: true},
		Packets:   []status.Count{{Direction: h, Verdict: h, Reason: h}},
		LeaseList: &status.List[status.Lease]{Entries: []status.Lease{{Addr: h, Host: h, State: h}}},
		MapList:   &status.List[status.Map]{Entries: []status.Map{{IPv4: h, IPv6: h}}},
		Shared: &status.Shared{
			Sessions: []status.SessionCount{{Protocol: h, State: h, Sessions: 1}}, Bindings: []status.BindingCount{{Protocol: h}},
			Made: []status.Made{{Protocol: h}}, Ended: []status.Ended{{State: h}},
			Denied: []status.Denial{{Direction: h, Reason: h}}, Limited: []status.Limited{{Limit: h}},
			Addresses: status.List[status.Address]{Entries: []status.Address{{Addr: h, TCP: status.Use{Used: 9, Limit: 9}}}},
			Fullest:   []status.Subscriber{{Prefix: h, Sessions: 9}}, PerPrefix: 9,
		},
		SessionList: &status.SessionList{Entries: []status.Session{{Protocol: h, State: h, Host: h, Shared: h, Remote: h}}},
	})
	require.NoError(t, err)
	answers := []string{string(report), "error: " + hostileText, hostileText, `{"pid":"` + hostileText + `"}`}
	var answer atomic.Value
	go func() {
		for {
			conn, err := list.Accept()
			if err != nil {
				return
			}
			request := make([]byte, 16)
			io.ReadFull(conn, request)
			if strings.HasPrefix(string(request), "sessions") {
				io.ReadFull(conn, make([]byte, 160))
			}
			io.WriteString(conn, answer.Load().(string)+"\n")
			conn.Close()
		}
	}()
	for _, text := range answers {
		answer.Store(text)
		for _, args := range [][]string{{"--status"}, {"--status=maps"}, {"--status", "--json"}, {"--status=sessions"}, {"--status=sessions", "--json"}, {"--doctor"}, {"--doctor", "--json"}} {
			out := b.prints(append(args, "-c", b.conf)...)
			assert.NotContains(t, out, "\nforged")
		}
	}
}

// The kernel takes nearly any bytes for the name of an interface, and any for a
// comment of a packet filter's rule.
func TestHostileMachine(t *testing.T) {
	const device = "x\x1b[2J\x07\x7f\u009b\x9b"
	b := newBench(t, strings.Replace(gatewayConf, "tun-device nat64", "tun-device "+device, 1)+"metrics-listen 127.0.0.1:9464\nstatus-socket DIR/sock\n")
	require.NoError(t, b.host.Do(func() error {
		other := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "d\x1b[5m\u009b\x07"}, PeerName: "p\x1b[5m\u009b\x07"}
		if err := netlink.LinkAdd(other); err != nil {
			return err
		}
		return netlink.LinkSetUp(other)
	}))
	rules := "table ip6 t { chain c { type filter hook forward priority 0; policy drop; comment \"" + hostileText + "\"; counter drop comment \"" + hostileText + "\"; }; }"
	nft := b.host.Command("nft", "-f", "-")
	nft.Stdin = strings.NewReader(rules)
	out, err := nft.CombinedOutput()
	require.NoError(t, err, string(out))

	p, err := b.host.Launch(b.self, "-d", "-c", b.conf)
	require.NoError(t, err)
	b.await(p, "Workers: ")
	for _, args := range [][]string{{"--doctor"}, {"--doctor", "--json"}, {"--status"}, {"--status", "--json"}, {"--check"}} {
		b.prints(append(args, "-c", b.conf)...)
	}
	findings := b.prints("--doctor", "-c", b.conf)
	assert.Contains(t, findings, "the command is not shown")
	assert.NotContains(t, findings, "run: ip link set x")

	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
			return b.host.Dial(network, addr, patience)
		},
	}}
	resp, err := client.Get("http://127.0.0.1:9464/metrics")
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	require.NoError(t, err)
	harmless(t, "metrics", string(text))
	assert.Contains(t, string(text), `steppe_device_info{device="x?[2J`)

	conn, err := net.Dial("unix", b.dir+"/sock")
	require.NoError(t, err)
	fmt.Fprintf(conn, "%-15s\n", "summary")
	wire, err := io.ReadAll(conn)
	conn.Close()
	require.NoError(t, err)
	harmless(t, "the status socket", string(wire))

	require.NoError(t, p.Stop(patience))
	harmless(t, "the log", p.Output())
}

// A log daemon and systemd get no more than a terminal does, and no line beside.
func TestHostileLines(t *testing.T) {
	dir := t.TempDir()
	for name, open := range map[string]func(path string) logWriter{
		"syslog":  func(path string) logWriter { return &syslog{openDatagrams(path)} },
		"journal": func(path string) logWriter { return &journal{openDatagrams(path)} },
	} {
		conn := listen(t, dir+"/"+name)
		l := newLogger(open(dir + "/" + name))
		l.errorf("one %s", hostileText+"\nPRIORITY=0")
		assert.True(t, l.try(priError, "two "+hostileText+"\nPRIORITY=0"))
		for range 2 {
			text := receive(t, conn)
			harmless(t, name, text)
			assert.NotContains(t, text, "\nPRIORITY=0")
		}
	}
	conn := listen(t, dir+"/notify")
	t.Setenv("NOTIFY_SOCKET", dir+"/notify")
	n, err := openNotifier()
	require.NoError(t, err)
	require.NoError(t, n.send("READY=1", "STATUS="+hostileText+"\nMAINPID=1"))
	text := receive(t, conn)
	harmless(t, "systemd", text)
	assert.NotContains(t, text, "\nMAINPID")
}
