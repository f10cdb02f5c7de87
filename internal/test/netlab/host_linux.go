package netlab

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Host is a host of a laboratory: one network namespace.
type Host struct {
	lab  *Lab
	name string
	jobs chan func() // run by the thread that was born into the namespace

	mu sync.RWMutex
	ns int // the namespace; -1 before it exists and after it was closed

	nlMu sync.Mutex
	nl   *netlink.Handle // nil like ns is -1
}

var errClosed = errors.New("host is closed")

// Name returns the name that the host was made with.
func (h *Host) Name() string { return h.name }

// Host adds a host: a fresh network namespace with loopback up and no other
// interface. It neither forwards nor listens to router advertisements, finds no
// duplicate addresses, limits the rate of no ICMP message and remembers nothing
// between TCP connections, so that a test sees what it asks for and sees it at
// once. (Of IPv4 packets that it has no route for, the kernel answers five at
// once and then one a second, whatever a host is told.) The name appears in
// errors.
func (l *Lab) Host(name string) *Host {
	l.t.Helper()
	h := &Host{lab: l, name: name, ns: -1}
	if l.err != nil {
		return h
	}
	for _, other := range l.hosts {
		if other.name == name {
			l.fail(h.errorf("add host: the name is taken"))
			return h
		}
	}
	l.hosts = append(l.hosts, h)
	if err := h.start(); err != nil {
		l.fail(h.errorf("add host: %w", err))
	}
	return h
}

// start makes the namespace and brings it to its first state.
func (h *Host) start() error {
	born := make(chan error)
	h.jobs = make(chan func())
	go h.live(born)
	if err := <-born; err != nil {
		return err
	}
	h.lab.atClose(h.close)

	var err error
	h.nl, err = netlink.NewHandleAt(netns.NsHandle(h.ns), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	if err := h.setUp("lo"); err != nil {
		return err
	}
	for _, s := range hostSysctls {
		err := h.sysctl(s.key, s.value)
		if err != nil && !(s.optional && errors.Is(err, os.ErrNotExist)) {
			return err
		}
	}
	return nil
}

// hostSysctls is what a fresh host is told. IPv4 settings are inherited from the
// machine, so what matters is set even where it is the kernel's default.
var hostSysctls = []struct {
	key, value string
	optional   bool // not known to every kernel
}{
	{key: "net.ipv4.ip_forward", value: "0"},
	{key: "net.ipv4.conf.all.rp_filter", value: "0"},
	{key: "net.ipv4.conf.default.rp_filter", value: "0"},
	{key: "net.ipv4.conf.all.send_redirects", value: "0"},
	{key: "net.ipv4.conf.default.send_redirects", value: "0"},
	{key: "net.ipv4.ip_no_pmtu_disc", value: "0"},
	{key: "net.ipv4.tcp_mtu_probing", value: "0"},
	{key: "net.ipv4.tcp_no_metrics_save", value: "1", optional: true},
	// No type of ICMP message is limited. (A rate of 0 would do the same, but
	// use up the budget that the kernel keeps for packets without a route.)
	{key: "net.ipv4.icmp_ratemask", value: "0"},
	{key: "net.ipv4.icmp_msgs_per_sec", value: "1000000", optional: true},
	{key: "net.ipv4.icmp_msgs_burst", value: "1000000", optional: true},
	{key: "net.ipv6.conf.all.disable_ipv6", value: "0"},
	{key: "net.ipv6.conf.default.disable_ipv6", value: "0"},
	{key: "net.ipv6.conf.all.forwarding", value: "0"},
	{key: "net.ipv6.conf.default.accept_ra", value: "0"},
	{key: "net.ipv6.conf.default.autoconf", value: "0"},
	{key: "net.ipv6.conf.default.router_solicitations", value: "0"},
	{key: "net.ipv6.conf.all.accept_dad", value: "0"},
	{key: "net.ipv6.conf.default.accept_dad", value: "0"},
	{key: "net.ipv6.conf.default.dad_transmits", value: "0"},
	{key: "net.ipv6.icmp.ratelimit", value: "0"},
}

// live is the goroutine whose thread makes the namespace and starts processes in
// it. The thread stays until the host closes, because the kernel sends the
// parent-death signal of a process when the thread that started it ends, not
// when the program does.
func (h *Host) live(born chan<- error) {
	home, err := enterNew()
	if err != nil {
		born <- err
		return
	}
	// The runtime parks its main thread for good instead of ending it, and a
	// parked thread would keep the namespace. So go home first, whichever
	// thread this is.
	defer leave(home)
	h.ns, err = threadNS()
	born <- err
	if err != nil {
		return
	}
	for job := range h.jobs {
		job()
	}
}

// close gives up the namespace. Sockets and processes are closed by then: they
// came later, so the lab cleans them up earlier. What is left are processes that
// turned into daemons.
func (h *Host) close() {
	h.nlMu.Lock()
	defer h.nlMu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	killResidents(h.ns)
	if h.nl != nil {
		h.nl.Close()
		h.nl = nil
	}
	close(h.jobs)
	unix.Close(h.ns)
	h.ns = -1
}

// netlink runs f with a netlink socket in the namespace. A closed handle would
// open a new socket wherever the calling thread is, so f must not keep it.
func (h *Host) netlink(f func(*netlink.Handle) error) error {
	h.nlMu.Lock()
	defer h.nlMu.Unlock()
	if h.nl == nil {
		return errClosed
	}
	return f(h.nl)
}

// onThread runs f in the thread that was born into the namespace.
func (h *Host) onThread(f func() error) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.ns < 0 {
		return h.unusable()
	}
	res := make(chan error)
	h.jobs <- func() { res <- f() }
	return <-res
}

// Do runs f on the calling goroutine with its thread inside the host's network
// namespace. What f opens there (sockets, /proc/sys files, TUN devices) keeps
// working afterwards, from anywhere. Goroutines that f starts are outside. Calls
// may be nested, and f may end the test.
//
// Should the thread not find its way back, Do says so in its error and leaves
// the goroutine locked to it: no other goroutine will ever run in the wrong
// namespace.
func (h *Host) Do(f func() error) (err error) {
	runtime.LockOSThread()
	home, err := threadNS()
	if err != nil {
		runtime.UnlockOSThread()
		return h.errorf("%w", err)
	}
	defer func() { err = errors.Join(err, leave(home)) }()
	if err := h.enter(); err != nil {
		return err
	}
	return f()
}

// enter moves the calling thread into the namespace.
func (h *Host) enter() error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.ns < 0 {
		return h.unusable()
	}
	if err := unix.Setns(h.ns, unix.CLONE_NEWNET); err != nil {
		return h.errorf("enter: %w", err)
	}
	return nil
}

func (h *Host) unusable() error {
	if h.lab.err != nil {
		return h.lab.err
	}
	return h.errorf("%w", errClosed)
}

// Sysctl sets a kernel parameter of the host's network: "net.ipv4.ip_forward" or,
// for interface names with dots, "net/ipv4/conf/eth0.1/forwarding".
func (h *Host) Sysctl(key, value string) {
	h.lab.t.Helper()
	h.configure(func() error { return h.sysctl(key, value) })
}

func (h *Host) sysctl(key, value string) error {
	path := key
	if !strings.Contains(key, "/") {
		path = strings.ReplaceAll(key, ".", "/")
	}
	return h.Do(func() error {
		if err := os.WriteFile("/proc/sys/"+path, []byte(value), 0); err != nil {
			return fmt.Errorf("sysctl %s=%s: %w", key, value, err)
		}
		return nil
	})
}

// Forwarding makes the host a router of both families.
func (h *Host) Forwarding() {
	h.lab.t.Helper()
	h.Sysctl("net.ipv4.ip_forward", "1")
	h.Sysctl("net.ipv6.conf.all.forwarding", "1")
}

// configure runs a step of setting up, unless an earlier one failed.
func (h *Host) configure(step func() error) {
	h.lab.t.Helper()
	if h.lab.err != nil {
		return
	}
	if err := step(); err != nil {
		h.lab.fail(h.errorf("%w", err))
	}
}

func (h *Host) errorf(format string, args ...any) error {
	return fmt.Errorf("netlab: "+h.name+": "+format, args...)
}
