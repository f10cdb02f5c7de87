package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// asInmate makes the test binary start as tayga does, and then try what it is
// not to be able to.
const asInmate = "STEPPE_TEST_AS_INMATE"

// inmateName is the name of that program, by which its helper knows it, too.
const inmateName = "inmate"

func inmate() {
	o, err := parseOptions(os.Args[1:])
	if err != nil {
		panic(err)
	}
	d := &daemon{o: o, log: newLogger(openLog(o, os.Stderr))}
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	err = d.start()
	d.log.flush()
	if err != nil {
		panic(err)
	}
	_, err = os.Open("/etc/shadow")
	fmt.Println("shadow:", err)
	_, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	fmt.Println("raw socket:", err)
	program := exec.Command("/bin/true")
	program.Stdin, program.Stdout, program.Stderr = os.Stdin, os.Stdout, os.Stderr // not even /dev/null can be opened
	fmt.Println("program:", program.Run())
	if d.metrics != nil {
		fmt.Println("connection:", connectBy(d.metrics, server.Addr()))
	}
	for _, attempt := range netAdminAttempts {
		fmt.Printf("%s: %v\n", attempt.name, attempt.try())
	}
	if d.helper != nil {
		fmt.Println("default route by the helper:", d.helper.AddRoute(netip.MustParsePrefix("0.0.0.0/0")))
		fmt.Println("address by the helper:", d.helper.AddIP(netip.MustParsePrefix("198.51.97.1/32")))
		fmt.Println("up by the helper:", d.helper.Up())
	}
}

// inmateHelper is the helper of an inmate: it tries what it is not to be able to before it
// is at the service of the inmate.
func inmateHelper() {
	parent := os.Getppid()
	s, _, text, err := enterHelper()
	if err != nil {
		panic(err)
	}
	// What is written to stderr arrives; nothing else is.
	tell := func(what string, err error) { fmt.Fprintf(os.Stderr, "helper: %s: %v\n", what, err) }
	for _, name := range []string{"/etc/shadow", "/etc/passwd", fmt.Sprintf("/proc/%d/mem", parent)} {
		_, err := os.Open(name)
		tell("open", err)
	}
	for what, args := range map[string][3]int{
		"raw socket": {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}, "packet socket": {unix.AF_PACKET, unix.SOCK_RAW, 0},
		"stream": {unix.AF_UNIX, unix.SOCK_STREAM, 0}, "packet filter": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER},
	} {
		_, err := unix.Socket(args[0], args[1], args[2])
		tell(what, err)
	}
	tell("program", unix.Exec("/bin/true", []string{"true"}, nil))
	tell("signal", unix.Kill(parent, 0))

	queue, err := handlerFor(s).Attach() // another one, of the same device
	tell("attach", err)
	for _, fd := range queue.FDs[:min(len(queue.FDs), 1)] {
		b := make([]byte, 2048)
		_, err = unix.Read(fd, b)
		tell("read", err)
		_, err = unix.Readv(fd, [][]byte{b})
		tell("readv", err)
		_, err = unix.Write(fd, b[:60])
		tell("write", err)
		tell("persist", unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1))
	}
	queue.Close()
	s.Serve(handlerFor(s), text)
	os.Exit(0)
}

// From inside of the helper, foreign code cannot read a packet or a file, or run a program.
func TestHelperFromInside(t *testing.T) {
	program := asInside(t)
	b := newBench(t, gatewayConf+"tun-up yes\n")
	b.self = program
	b.addTun("nat64", 2)
	out, errs, status := b.tayga("-d", "-c", b.conf)
	assert.Equal(t, 0, status, errs)
	assert.Contains(t, out, "sandbox: landlock, seccomp, no_new_privs; capabilities: cap_net_admin\n")
	got := map[string]int{}
	for line := range strings.Lines(errs) {
		got[strings.TrimSuffix(line, "\n")]++
	}
	want := map[string]int{"helper: attach: <nil>": 1, "helper: open: open /etc/shadow: permission denied": 1, "helper: open: open /etc/passwd: permission denied": 1}
	for _, what := range []string{"raw socket", "packet socket", "stream", "packet filter", "program", "signal", "read", "readv", "write", "persist"} {
		want["helper: "+what+": operation not permitted"] = 1
	}
	for line, n := range want {
		assert.Equal(t, n, got[line], "%s in\n%s", line, errs)
	}
	assert.Contains(t, errs, "/mem: permission denied\n")
}

// connectBy makes a connection of a socket that listens, past what looks at
// connect(2): it is shut down, and sends with MSG_FASTOPEN. The error is that of
// sending.
func connectBy(l net.Listener, to net.Addr) (err error) {
	raw, err := l.(syscall.Conn).SyscallConn()
	if err != nil {
		panic(err)
	}
	target := &unix.SockaddrInet4{Port: to.(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	raw.Control(func(fd uintptr) {
		unix.Shutdown(int(fd), unix.SHUT_RDWR)
		if err = unix.Sendto(int(fd), []byte("x"), unix.MSG_FASTOPEN, target); errors.Is(err, unix.EINPROGRESS) {
			err = nil // it is on its way
		}
	})
	return err
}

// netAdminAttempts are what SECURITY.md says about a daemon that keeps
// CAP_NET_ADMIN: what is still possible, and what is not.
var netAdminAttempts = []struct {
	name string
	try  func() error
}{
	{"route", func() error {
		return netlink.RouteAdd(&netlink.Route{LinkIndex: 1, Dst: &net.IPNet{IP: net.IPv4(198, 51, 98, 0), Mask: net.CIDRMask(24, 32)}})
	}},
	{"rule", func() error {
		rule := netlink.NewRule()
		rule.Table, rule.Priority = 100, 100
		return netlink.RuleAdd(rule)
	}},
	{"address", func() error {
		lo, err := netlink.LinkByIndex(1)
		if err != nil {
			return err
		}
		return netlink.AddrAdd(lo, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(198, 51, 97, 1), Mask: net.CIDRMask(32, 32)}})
	}},
	{"qdisc", func() error {
		return netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: 1, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}})
	}},
	{"another device", func() error {
		fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		ifr, err := unix.NewIfreq("other")
		if err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}},
	{"packet socket", func() error { _, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0); return err }},
	{"packet filter", func() error {
		_, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)
		return err
	}},
	{"ipsec", func() error { _, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_XFRM); return err }},
	{"bpf", func() error {
		if _, _, errno := unix.Syscall(unix.SYS_BPF, 0, 0, 0); errno != 0 {
			return errno
		}
		return nil
	}},
	{"kernel setting", func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }},
}

// asInside returns a program that behaves as inmate says.
func asInside(t *testing.T) string {
	t.Helper()
	program := t.TempDir() + "/" + inmateName
	build := exec.Command("go", "test", "-c", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	text, err := build.CombinedOutput()
	require.NoError(t, err, string(text))
	t.Setenv(asInmate, "1")
	return program
}

// From inside of the daemon, foreign code cannot open /etc/shadow, create a raw socket, run a
// program or connect to a server.
func TestFromInside(t *testing.T) {
	program := asInside(t)
	for _, test := range []struct{ conf, want string }{
		{"sandbox no\n", "shadow: <nil>\nraw socket: <nil>\nprogram: <nil>\nconnection: <nil>\n"},
		{"sandbox auto\n", "shadow: open /etc/shadow: permission denied\nraw socket: operation not permitted\n" +
			"program: fork/exec /bin/true: operation not permitted\nconnection: operation not permitted\n"},
	} {
		b := newBench(t, gatewayConf+"metrics-listen 127.0.0.1:9464\n"+test.conf)
		b.self = program
		out, errs, status := b.tayga("-d", "-c", b.conf)
		assert.Equal(t, 0, status, errs)
		assert.Contains(t, out, test.want)
	}
}

// From inside of the process that reads packets nothing can be done to the network: no
// route, rule, address or traffic control, no other device. What CAP_NET_ADMIN leaves
// open, if there is no helper for it, is what SECURITY.md says: all of that.
func TestNetAdminFromInside(t *testing.T) {
	const denied = "packet socket: operation not permitted\npacket filter: operation not permitted\n" +
		"ipsec: operation not permitted\nbpf: operation not permitted\n" +
		"kernel setting: open /proc/sys/net/ipv4/ip_forward: permission denied\n"
	const dropped = "route: operation not permitted\nrule: operation not permitted\n" +
		"address: operation not permitted\nqdisc: operation not permitted\nanother device: "
	program := asInside(t)
	for _, test := range []struct {
		name, conf, capabilities, want string
		filter                         []uintptr // what keeps a helper from being started
	}{
		{"helper", "tun-up yes\n", "none", dropped + "permission denied\n" + denied +
			"default route by the helper: refused by the privileged helper: the configuration does not ask for it\n" +
			"address by the helper: refused by the privileged helper: the configuration does not ask for it\nup by the helper: <nil>\n", nil},
		{"no-helper-needed", "", "none", dropped + "operation not permitted\n" + denied, nil},
		{"no-helper", "tun-up yes\n", "cap_net_admin",
			"route: <nil>\nrule: <nil>\naddress: <nil>\nqdisc: <nil>\nanother device: <nil>\n" + denied, []uintptr{unix.SYS_SOCKETPAIR}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, gatewayConf+test.conf)
			b.addTun("nat64", 1)
			args := []string{program, "-d", "-c", b.conf}
			if test.filter != nil {
				args = append([]string{filtering(t, unix.SECCOMP_RET_KILL_PROCESS, test.filter)}, args...)
			}
			out, err := b.host.Command(args[0], args[1:]...).CombinedOutput()
			require.NoError(t, err, string(out))
			assert.Contains(t, string(out), inSandbox+test.capabilities+"\n")
			assert.Contains(t, string(out), test.want)
		})
	}
}

// The socket of metrics-listen is plain TCP, about which Landlock has a say. Go makes
// MPTCP, about which it has none.
func TestMetricsSocketIsPlainTCP(t *testing.T) {
	d := &daemon{conf: &taygaconf.Config{MetricsListen: netip.MustParseAddrPort("127.0.0.1:0")}}
	require.NoError(t, d.openMetrics())
	defer d.metrics.Close()
	raw, err := d.metrics.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	raw.Control(func(fd uintptr) {
		proto, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL)
		assert.NoError(t, err)
		assert.Equal(t, unix.IPPROTO_TCP, proto)
	})
}

// asJailed makes the test binary enter a jail that is replaced meanwhile.
const asJailed = "STEPPE_TEST_AS_JAILED"

func jailed() {
	dir := os.Getenv(asJailed)
	steps := []func() error{
		func() error { _, err := enterDataDir(dir+"/data", false); return err },
		func() error { return os.Rename(dir+"/data", dir+"/aside") },
		func() error { return os.Symlink("/", dir+"/data") },
		jail,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			panic(err)
		}
	}
	_, err := os.Stat("/mark")
	fmt.Println("mark:", err)
	_, err = os.Stat("/etc")
	fmt.Println("etc:", err)
}

// data-dir was entered by its name and made the root by its name again. A user who may
// write beside it could put a link to / there in between, and the jail was none.
func TestJailIsTheDirectoryEntered(t *testing.T) {
	netlab.New(t) // needs root, too
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(dir+"/data", 0o755))
	require.NoError(t, os.WriteFile(dir+"/data/mark", nil, 0o644))
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), asJailed+"="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Equal(t, "mark: <nil>\netc: stat /etc: no such file or directory\n", string(out))
}
