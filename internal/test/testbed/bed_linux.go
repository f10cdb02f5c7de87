package testbed

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// A Bed is the laboratory. The links carry jumbo frames; what passes the
// gateway is limited by the device:
//
//	client ──9000── eth0 gateway eth1 ──9000── server
//	                      nat64
//
// The client is every host of Hosts, too.
type Bed struct {
	*netlab.Lab
	Client, Gateway, Server *netlab.Host

	DataDir string          // of the binary, empty at first
	Through []string        // a command that runs the binary, with its arguments
	Process *netlab.Process // the last one that was started

	tayga  string
	dir    string
	conf   string
	routes []string // to the device
	plain  bool     // no offload
	served bool

	settled struct{ in, out int64 } // see Settle
}

// Device is the name of the TUN device.
const Device = "nat64"

// The addresses.
var (
	Client6   = netip.MustParseAddr("2001:db8:c::2")
	Service6  = netip.MustParseAddr("2001:db8:c::80") // the client, under an address that has a map
	Service4  = netip.MustParseAddr("192.0.2.80")
	Hosts     = netip.MustParsePrefix("2001:db8:1::/48")
	Server4   = netip.MustParseAddr("198.51.100.2")
	ServerIn6 = netip.MustParseAddr("2001:db8:64::198.51.100.2")
	Tayga4    = netip.MustParseAddr("192.0.2.1")
	Tayga6    = netip.MustParseAddr("2001:db8:f::64")
	Prefix    = netip.MustParsePrefix("2001:db8:64::/96")

	// What is sent to these addresses arrives at client and server, who have no use
	// for it: where the kernel of a host would keep fragments, say.
	Void4   = netip.MustParseAddr("192.0.2.82")
	VoidIn6 = netip.MustParseAddr("2001:db8:64::198.51.102.2")
	void6   = netip.MustParseAddr("2001:db8:d::82")

	// foreign4 are further addresses of the server, routed there. ICMP errors to
	// neighbours that do not exist would wait for them and keep others from being
	// sent, in all hosts.
	foreign4 = netip.MustParsePrefix("198.51.101.0/24")
)

// LinkMTU is that of the links.
const LinkMTU = 9000

const (
	transferPort = 5000
	echoPort     = 7
	seenPort     = 8
)

// patience is how long the binary may take for what it does at once. It is meant
// for a machine that has a lot else to do.
const patience = 5 * time.Minute

// Host returns a host of Hosts.
func Host(n uint32) netip.Addr {
	a := Hosts.Addr().As16()
	a[12], a[13], a[14], a[15] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	a[7] = 1 // a subnet of its own
	return netip.AddrFrom16(a)
}

// Open builds the laboratory for the binary of the given path, with a pool and
// further lines of tayga.conf, in which DIR is a directory of the Bed's own. The
// caller closes it.
func Open(tayga, pool string, more ...string) (*Bed, error) {
	tayga, err := filepath.Abs(tayga)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "steppe-testbed-")
	if err != nil {
		return nil, err
	}
	lab, err := netlab.Open()
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	b := &Bed{
		Lab: lab, Client: lab.Host("client"), Gateway: lab.Host("gateway"), Server: lab.Host("server"),
		tayga: tayga, dir: dir, DataDir: filepath.Join(dir, "data"),
		plain:  slices.Contains(more, "offload no"),
		routes: []string{"192.0.2.0/24", pool, Prefix.String(), "2001:db8:f::/64"},
	}
	b.build()
	lines := []string{
		"tun-device " + Device, "ipv4-addr " + Tayga4.String(), "ipv6-addr " + Tayga6.String(), "prefix " + Prefix.String(),
		"dynamic-pool " + pool, "map " + Service4.String() + " " + Service6.String(),
		"map " + Void4.String() + " " + void6.String(),
		"tun-up yes",
		"status-socket DIR/status.sock", // that in /run/tayga is for a daemon of the machine itself
	}
	for _, dst := range b.routes {
		lines = append(lines, "tun-route "+dst)
	}
	b.conf = strings.ReplaceAll(strings.Join(append(lines, more...), "\n"), "DIR", dir) + "\n"
	if err := b.Err(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// build makes the hosts and their links.
func (b *Bed) build() {
	b.Link(b.Client, "eth0", b.Gateway, "eth0", LinkMTU)
	b.Link(b.Gateway, "eth1", b.Server, "eth0", LinkMTU)
	b.Gateway.Forwarding()
	b.Gateway.Addr("eth0", "2001:db8:c::1/64")
	b.Gateway.Addr("eth1", "198.51.100.1/24")
	b.Gateway.Route(Hosts.String(), Client6.String(), "")
	b.Gateway.Route(void6.String(), Client6.String(), "")
	b.Gateway.Route(foreign4.String(), Server4.String(), "")
	b.Gateway.Route("198.51.102.0/24", Server4.String(), "")
	b.Client.Addr("eth0", Client6.String()+"/64")
	b.Client.Addr("eth0", Service6.String()+"/64")
	b.Client.AddRoute(netlab.Route{Dst: "::/0", Via: "2001:db8:c::1", Src: Client6.String()})
	b.Client.Own(Hosts.String())
	b.Server.Addr("eth0", Server4.String()+"/24")
	b.Server.DefaultRoute("198.51.100.1", "")
	b.Server.Own(foreign4.String())
}

// Close ends everything and removes the files.
func (b *Bed) Close() {
	b.Lab.Close()
	os.RemoveAll(b.dir)
}

// Path returns the path of a file of the Bed's own.
func (b *Bed) Path(name string) string { return filepath.Join(b.dir, name) }

// Start runs the binary with further arguments, and returns when it translates.
func (b *Bed) Start(args ...string) error {
	if err := b.Launch(args...); err != nil {
		return err
	}
	if err := b.Await(0, "Workers: "); err != nil {
		return err
	}
	return errors.Join(b.AwaitDevice(), b.Serve())
}

// AwaitDevice waits until the binary has made the device and attached to it.
func (b *Bed) AwaitDevice() error {
	return b.AwaitTrue(Device+" does not come up", func() bool { return b.Gateway.WaitRunning(Device, 0) == nil })
}

// Launch is Start without waiting.
func (b *Bed) Launch(args ...string) (err error) {
	conf := b.Path("tayga.conf")
	if err := os.WriteFile(conf, []byte(b.conf+"data-dir "+b.DataDir+"\n"), 0o644); err != nil {
		return err
	}
	command := slices.Concat(b.Through, []string{b.tayga, "-d", "-c", conf}, args)
	b.Process, err = b.Gateway.Launch(command[0], command[1:]...)
	return err
}

// MakeDevice makes the device persistent, as it is done by hand.
func (b *Bed) MakeDevice() error {
	out, err := b.Gateway.Command(b.tayga, "-c", b.Path("tayga.conf"), "--mktun").CombinedOutput()
	if err != nil {
		return fmt.Errorf("testbed: tayga --mktun: %w: %q", err, out)
	}
	return nil
}

// Said returns how much the binary has printed so far, for Await.
func (b *Bed) Said() int { return len(b.Process.Output()) }

// Await waits until the binary has printed text after the first from bytes.
func (b *Bed) Await(from int, text string) error {
	return b.AwaitTrue(fmt.Sprintf("tayga does not say %q", text), func() bool {
		return strings.Contains(b.Process.OutputFrom(from), text)
	})
}

// AwaitTrue waits until ok is true. It fails, with what the binary printed last,
// if the binary ends before.
func (b *Bed) AwaitTrue(otherwise string, ok func() bool) error {
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		over := time.Now().After(end)
		select {
		case <-b.Process.Done():
			over = true
		default:
		}
		switch {
		case ok():
			return nil
		case over:
			return fmt.Errorf("testbed: %s%s", otherwise, b.lastWords())
		}
	}
}

// Alive returns an error if the binary has ended or says that something is
// badly wrong with it.
func (b *Bed) Alive() error {
	select {
	case <-b.Process.Done():
		return fmt.Errorf("testbed: tayga has ended%s", b.lastWords())
	default:
	}
	return b.unbroken()
}

// unbroken looks for the marks of a panic or of a data race.
func (b *Bed) unbroken() error {
	out := b.Process.Output()
	for _, mark := range []string{"panic:", "fatal error:", "goroutine 1 [", "DATA RACE"} {
		if _, after, found := strings.Cut(out, mark); found {
			return fmt.Errorf("testbed: tayga is broken: %s%s", mark, after[:min(len(after), 2000)])
		}
	}
	return nil
}

// lastWords are the last lines that the binary printed.
func (b *Bed) lastWords() string {
	out := b.Process.Output()
	lines := strings.Split(strings.TrimSpace(out[max(0, len(out)-2000):]), "\n")
	return ": " + strings.Join(lines[max(0, len(lines)-8):], " | ")
}

// Signal sends a signal to the binary.
func (b *Bed) Signal(sig syscall.Signal) error { return b.Process.Signal(sig) }

// Reload sends SIGHUP and waits until the binary has reloaded and saved its
// leases: it answers signals in their order.
func (b *Bed) Reload() error {
	from := b.Said()
	if err := b.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	if err := b.Await(from, "Received SIGHUP, reloading\n"); err != nil {
		return err
	}
	_, err := b.Counts()
	return err
}

// Stop ends the binary by SIGTERM, which has to end with status 0.
func (b *Bed) Stop() error {
	return errors.Join(b.Process.Stop(patience), b.unbroken())
}

// Build builds the binary as it is shipped, into dir.
func Build(dir string) (path string, err error) {
	path = filepath.Join(dir, "tayga")
	cmd := exec.Command("go", "build", "-o", path, "github.com/steppe-nat64/steppe/cmd/tayga")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("testbed: build tayga: %w: %s", err, out)
	}
	return path, nil
}
