package bench

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

var (
	peerBinary = flag.String("peer", "/usr/sbin/tayga", "the `binary` of the tayga to compare with, left out where it is missing")
	ownBinary  = flag.String("binary", "", "our `binary`; empty to build it")
	also       variants
)

func init() {
	flag.Var(&also, "gateway", "a further gateway, `name=binary;directive;…`: another build or configuration of ours; an empty binary is ours (repeatable)")
}

// variants are further gateways of the command line.
type variants []variant

type variant struct {
	name, binary string
	directives   []string
}

func (v *variants) String() string { return "" }

func (v *variants) Set(s string) error {
	name, rest, ok := strings.Cut(s, "=")
	if !ok || name == "" || strings.ContainsAny(name, "/ ") {
		return errors.New("want name=binary;directive;…")
	}
	words := strings.Split(rest, ";")
	*v = append(*v, variant{name, words[0], words[1:]})
	return nil
}

// A lab is an IPv6 client and a server of both families with a gateway between
// them. All gateways that are compared run on it at the same time, each with a
// prefix of its own, and idle but for the one that is measured: so all of them
// have the same links, and the kernel forwards for all of them alike.
type lab struct {
	*netlab.Lab
	client, gateway, server *netlab.Host
	ways                    []*way
	cards                   string // see setCards
}

// A way is one of the gateways, as the hosts see it.
type way struct {
	name           string
	server, client netip.Addr // as the other one sees them
	process        *netlab.Process

	socket string // the status socket of ours, empty if it is not to be asked
	fast   bool   // the kernel is to translate for ours
}

const (
	clientAddr = "2001:db8:6::6"
	serverAddr = "2001:db8:5::4"
	server4    = "198.51.100.4"
	linkMTU    = 1500
)

// needLab returns an empty laboratory. Without one, it says on the output why
// there is nothing to measure, where the testing package would keep it to itself,
// and skips or fails the benchmark, see package netlab.
func needLab(b *testing.B) *netlab.Lab {
	b.Helper()
	l, err := netlab.Open()
	if err != nil {
		fmt.Printf("--- SKIP: %s: %v\n", b.Name(), err)
	} else {
		l.Close()
	}
	return netlab.New(b)
}

// newLab builds the hosts and the links.
func newLab(b *testing.B) *lab {
	l := needLab(b)
	x := &lab{Lab: l, client: l.Host("client"), gateway: l.Host("gateway"), server: l.Host("server")}
	l.Link(x.client, "eth0", x.gateway, "eth0", linkMTU)
	l.Link(x.gateway, "eth1", x.server, "eth0", linkMTU)
	x.gateway.Forwarding()

	x.client.Addr("eth0", clientAddr+"/64")
	x.client.DefaultRoute("2001:db8:6::1", "")
	x.gateway.Addr("eth0", "2001:db8:6::1/64")
	x.gateway.Addr("eth1", "2001:db8:5::1/64")
	x.gateway.Addr("eth1", "198.51.100.1/24")
	x.server.Addr("eth0", serverAddr+"/64")
	x.server.Addr("eth0", server4+"/24")
	x.server.DefaultRoute("2001:db8:5::1", "")
	x.server.DefaultRoute("198.51.100.1", "")
	return x
}

// addKernel takes the kernel's own forwarding into the comparison.
func (x *lab) addKernel() {
	x.ways = append(x.ways, &way{
		name:   "kernel",
		server: netip.MustParseAddr(serverAddr),
		client: netip.MustParseAddr(clientAddr),
	})
}

// addTranslator starts a tayga on the gateway.
func (x *lab) addTranslator(b *testing.B, name, binary string, directives ...string) *way {
	i := len(x.ways)
	w := &way{
		name:   name,
		server: netip.MustParseAddr(fmt.Sprintf("2001:db8:64:%x::%s", i, server4)),
		client: netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", 8*i+6)),
	}
	w.process = x.launch(b, fmt.Sprintf("nat64-%d", i), binary, append([]string{
		fmt.Sprintf("ipv4-addr 192.0.2.%d", 8*i+1),
		fmt.Sprintf("ipv6-addr 2001:db8:f::%x", i+1),
		fmt.Sprintf("prefix 2001:db8:64:%x::/96", i),
		fmt.Sprintf("map %s %s", w.client, clientAddr),
	}, directives...))
	x.gateway.Route(fmt.Sprintf("192.0.2.%d/29", 8*i), "", fmt.Sprintf("nat64-%d", i))
	x.gateway.Route(fmt.Sprintf("2001:db8:64:%x::/96", i), "", fmt.Sprintf("nat64-%d", i))
	x.ways = append(x.ways, w)
	return w
}

// launch makes the device and starts binary on it, as guides for tayga tell.
func (x *lab) launch(b *testing.B, device, binary string, conf []string) *netlab.Process {
	b.Helper()
	file := filepath.Join(b.TempDir(), device+".conf")
	if err := os.WriteFile(file, []byte(confText(device, binary, conf)), 0o644); err != nil {
		b.Fatal(err)
	}
	if out, err := x.gateway.Command(binary, "-c", file, "--mktun").CombinedOutput(); err != nil {
		b.Fatalf("%s --mktun: %v: %s", binary, err, out)
	}
	x.gateway.Up(device)
	p, err := x.gateway.Launch(binary, "-c", file, "-d")
	if err != nil {
		b.Fatal(err)
	}
	if err := x.gateway.WaitRunning(device, 30*time.Second); err != nil {
		b.Fatalf("%v\n%s", err, p.Output())
	}
	return p
}

// confText returns a tayga.conf. One for ours has no socket in /run/tayga, where it
// would be in the way of a daemon of the machine itself, and stay after a kill.
func confText(device, binary string, conf []string) string {
	text := "tun-device " + device + "\n" + strings.Join(conf, "\n") + "\n"
	if binary != *peerBinary && !strings.Contains(text, "\nstatus-socket ") {
		text += "status-socket no\n"
	}
	return text
}

// build returns our binary, freshly built as it is shipped, or that of -binary.
func build(b *testing.B) string {
	b.Helper()
	if *ownBinary != "" {
		path, err := filepath.Abs(*ownBinary)
		if err != nil {
			b.Fatal(err)
		}
		return path
	}
	path := filepath.Join(b.TempDir(), "tayga")
	cmd := exec.Command("go", "build", "-o", path, "../cmd/tayga")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("build tayga: %v\n%s", err, out)
	}
	return path
}

// cpu returns the processor time that the translator has taken so far, in user
// mode and in the kernel; 0 for the kernel's forwarding, which has no process.
// The clock is that of clock_getcpuclockid(3).
func (w *way) cpu() (time.Duration, error) {
	if w.process == nil {
		return 0, nil
	}
	const schedClock = 2 // CPUCLOCK_SCHED of linux/posix-timers.h
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^w.process.Pid())<<3|schedClock, &ts); err != nil {
		return 0, fmt.Errorf("%s: read its CPU time: %w", w.name, err)
	}
	return time.Duration(ts.Nano()), nil
}
