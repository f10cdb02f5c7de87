package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// residents counts the threads of all processes by network namespace.
func residents(t *testing.T) map[uint64]int {
	t.Helper()
	tasks, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*/ns/net")
	require.NoError(t, err)
	count := make(map[uint64]int)
	for _, task := range tasks {
		var st unix.Stat_t
		if unix.Stat(task, &st) == nil { // else it has ended meanwhile
			count[st.Ino]++
		}
	}
	return count
}

// openNamespaces returns the network namespaces that this process holds by file
// descriptor.
func openNamespaces(t *testing.T) []string {
	t.Helper()
	fds, err := filepath.Glob("/proc/self/fd/*")
	require.NoError(t, err)
	var found []string
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "net:[") {
			found = append(found, to)
		}
	}
	return found
}

// children returns the processes that this one has started, zombies too.
func children(t *testing.T) []string {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	require.NoError(t, err)
	var found []string
	for _, list := range lists {
		b, _ := os.ReadFile(list) // the thread may have ended meanwhile
		found = append(found, strings.Fields(string(b))...)
	}
	return found
}

// TestTeardown uses everything that could outlive a laboratory, leaves all of it
// running and wants nothing of it back.
func TestTeardown(t *testing.T) {
	lab, err := Open()
	if err != nil {
		New(t) // skips or fails
	}
	defer lab.Close()
	before := residents(t)
	x := chain{lab, lab.Host("a"), lab.Host("r"), lab.Host("s"), lab.Host("b")}
	x.build()
	require.NoError(t, lab.Err())

	ns := make(map[uint64]string)
	for _, h := range []*Host{x.a, x.r, x.s, x.b} {
		var st unix.Stat_t
		require.NoError(t, unix.Fstat(h.ns, &st))
		ns[st.Ino] = h.name
	}
	require.Len(t, ns, 4)

	_, err = x.b.ServeTCPEcho(":7")
	require.NoError(t, err)
	_, err = x.a.Dial("tcp", netip.AddrPortFrom(b6, 7).String(), time.Second)
	require.NoError(t, err)
	_, err = x.b.ServeUDPEcho(":7")
	require.NoError(t, err)
	_, err = x.a.Capture("eth0")
	require.NoError(t, err)
	p, err := x.a.Launch("sleep", "1000")
	require.NoError(t, err)
	require.NoError(t, x.b.Command("sleep", "1000").Start())
	// A daemon leaves its process group, its session and its parent.
	out, err := x.r.Command("sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $!").Output()
	require.NoError(t, err)
	daemon, err := strconv.Atoi(strings.TrimSpace(string(out)))
	require.NoError(t, err)
	during := residents(t)
	for ino, name := range ns {
		assert.NotZero(t, during[ino], "no process in the namespace of %s: the test sees nothing", name)
	}
	require.NoError(t, syscall.Kill(daemon, 0))

	lab.Close()
	select {
	case <-p.Done():
	default:
		t.Error("a process runs on")
	}
	assert.Empty(t, children(t))
	assert.Eventually(t, func() bool { // the threads and the daemon end in their own time
		now := residents(t)
		if len(openNamespaces(t)) > 0 {
			return false
		}
		for ino := range ns {
			if before[ino] == 0 && now[ino] != 0 {
				return false
			}
		}
		return true
	}, 10*time.Second, 5*time.Millisecond, "a process is left in a namespace, or this process holds one open")

	assert.ErrorIs(t, x.a.Do(func() error { return nil }), errClosed)
	assert.ErrorIs(t, x.a.WaitRunning("lo", time.Second), errClosed, "whose lo?")
	assert.ErrorIs(t, x.a.Command("true").Run(), errClosed)
	lab.Close()
}

// TestNamespaceGone asks the kernel whether the namespace itself was removed: a
// veth end in a namespace takes its peer along.
func TestNamespaceGone(t *testing.T) {
	outer, inner := New(t), New(t)
	a, b := outer.Host("a"), inner.Host("b")
	outer.Link(a, "eth0", b, "eth0", 1500)
	_, err := b.ServeTCPEcho(":7")
	require.NoError(t, err)
	_, err = a.link("eth0")
	require.NoError(t, err)
	inner.Close()
	assert.Eventually(t, func() bool {
		_, err := a.link("eth0")
		return err != nil
	}, 10*time.Second, 5*time.Millisecond, "the other end of the link is still there")
}

// fakeTest records what a Lab does to a test.
type fakeTest struct {
	testing.TB
	fatal, skipped string
	cleanup        []func()
}

func (f *fakeTest) Helper()           {}
func (f *fakeTest) TempDir() string   { return "" }
func (f *fakeTest) Cleanup(fn func()) { f.cleanup = append(f.cleanup, fn) }
func (f *fakeTest) Fatal(args ...any) { f.fatal = fmt.Sprint(args...) }
func (f *fakeTest) Skipf(s string, args ...any) {
	f.skipped = fmt.Sprintf(s, args...)
}

func TestMissing(t *testing.T) {
	reason := unavailable("run as root", errors.New("not permitted"))
	assert.ErrorIs(t, reason, ErrUnavailable)

	t.Setenv(requireEnv, "")
	var f fakeTest
	newLab(&f).missing(reason)
	assert.Contains(t, f.skipped, "netlab: no network laboratory here: not permitted: run as root")

	t.Setenv(requireEnv, "1")
	f = fakeTest{}
	newLab(&f).missing(reason)
	assert.Empty(t, f.skipped)
	assert.Contains(t, f.fatal, "not permitted")
}

// TestNewCleansUp has a test fail half-way.
func TestNewCleansUp(t *testing.T) {
	New(t) // skips where there is no laboratory
	var f fakeTest
	lab := New(&f)
	h := lab.Host("a")
	p, err := h.Launch("sleep", "1000")
	require.NoError(t, err)
	h.Addr("eth7", "192.0.2.1/24")
	assert.Equal(t, "netlab: a: add address 192.0.2.1/24 to eth7: find eth7: no such interface", f.fatal)
	for _, fn := range f.cleanup {
		fn()
	}
	assert.Error(t, p.Wait())
	assert.ErrorIs(t, h.Do(func() error { return nil }), lab.Err())
}

// TestDaemonIsGoneFirst has a daemon that outlives its starter and writes files until it
// is killed: a directory of the test that is removed before that fails the test.
func TestDaemonIsGoneFirst(t *testing.T) {
	for range 5 {
		t.Run("", func(t *testing.T) {
			h := New(t).Host("a")
			dir := t.TempDir()
			script := fmt.Sprintf("setsid sh -c 'i=0; while :; do : >%s/$i; i=$((i+1)); done' >/dev/null 2>&1 </dev/null &", dir)
			require.NoError(t, h.Command("sh", "-c", script).Run())
			require.Eventually(t, func() bool {
				files, err := os.ReadDir(dir)
				return err == nil && len(files) > 0
			}, settleTime, time.Millisecond)
		})
	}
}

// TestFirstErrorStays checks that a lab without a test keeps the first error and
// does nothing after it.
func TestFirstErrorStays(t *testing.T) {
	New(t)
	lab, err := Open()
	require.NoError(t, err)
	defer lab.Close()
	a := lab.Host("a")
	require.NoError(t, lab.Err())
	a.Route("192.0.2.0/33", "", "lo")
	first := lab.Err()
	require.ErrorContains(t, first, "netlab: a: add route")
	b := lab.Host("b")
	lab.Link(a, "eth0", b, "eth0", 1500)
	b.Forwarding()
	b.Nft("nonsense")
	assert.Same(t, first, lab.Err())
	_, err = a.link("eth0")
	assert.Error(t, err, "a link was made after the failure")
	assert.ErrorIs(t, b.Do(func() error { return nil }), first)
}

func TestSetupErrors(t *testing.T) {
	New(t)
	for name, c := range map[string]struct {
		step func(lab *Lab, a *Host)
		want string
	}{
		"name-taken":      {func(l *Lab, a *Host) { l.Host("a") }, "the name is taken"},
		"same-interface":  {func(l *Lab, a *Host) { l.Link(a, "eth0", a, "eth0", 1500) }, "link eth0 to a eth0"},
		"name-too-long":   {func(l *Lab, a *Host) { l.Link(a, "interface-name-1", a, "eth1", 1500) }, "link interface-name-1"},
		"address":         {func(l *Lab, a *Host) { a.Addr("lo", "192.0.2.1") }, "add address 192.0.2.1 to lo"},
		"route-nowhere":   {func(l *Lab, a *Host) { a.Route("192.0.2.0/24", "", "") }, "neither next hop nor interface"},
		"route-via":       {func(l *Lab, a *Host) { a.Route("192.0.2.0/24", "gateway", "") }, "gateway"},
		"route-no-device": {func(l *Lab, a *Host) { a.Route("192.0.2.0/24", "", "eth7") }, "find eth7"},
		"default-route":   {func(l *Lab, a *Host) { a.DefaultRoute("192.0.2.1", "") }, "network is unreachable"},
		"own":             {func(l *Lab, a *Host) { a.Own("192.0.2.1") }, "own 192.0.2.1: "},
		"sysctl":          {func(l *Lab, a *Host) { a.Sysctl("net.ipv4.no_such", "1") }, "sysctl net.ipv4.no_such=1"},
		"offloads":        {func(l *Lab, a *Host) { a.DisableOffloads("eth7") }, "of eth7 off: no such device"},
		"gro":             {func(l *Lab, a *Host) { a.EnableGRO("eth7") }, "of eth7 on: no such device"},
		"mtu":             {func(l *Lab, a *Host) { a.MTU("lo", -1) }, "set the MTU of lo to -1"},
		"up":              {func(l *Lab, a *Host) { a.Up("eth7") }, "find eth7"},
		"down":            {func(l *Lab, a *Host) { a.Down("eth7") }, "find eth7"},
		"delete":          {func(l *Lab, a *Host) { a.Delete("lo") }, "delete lo: "},
		"queue-length":    {func(l *Lab, a *Host) { a.QueueLength("eth7", 9) }, "find eth7"},
		"nft":             {func(l *Lab, a *Host) { a.Nft("nonsense") }, "load nftables rules: exit status 1: "},
	} {
		t.Run(name, func(t *testing.T) {
			lab, err := Open()
			require.NoError(t, err)
			defer lab.Close()
			a := lab.Host("a")
			require.NoError(t, lab.Err())
			c.step(lab, a)
			assert.ErrorContains(t, lab.Err(), c.want)
			assert.ErrorContains(t, lab.Err(), "netlab: a: ")
		})
	}
}

func TestDo(t *testing.T) {
	lab := New(t)
	a, b := lab.Host("a"), lab.Host("b")
	here := func() uint64 {
		var st unix.Stat_t
		require.NoError(t, unix.Stat("/proc/thread-self/ns/net", &st))
		return st.Ino
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home := here()
	var inA, inB, backInA uint64
	require.NoError(t, a.Do(func() error {
		inA = here()
		err := b.Do(func() error {
			inB = here()
			return nil
		})
		backInA = here()
		return err
	}))
	assert.Equal(t, home, here())
	assert.Equal(t, inA, backInA)
	assert.NotEqual(t, home, inA)
	assert.NotEqual(t, inA, inB)

	want := errors.New("no")
	assert.ErrorIs(t, a.Do(func() error { return want }), want)
	assert.Panics(t, func() { a.Do(func() error { panic("at the disco") }) })
	assert.Equal(t, home, here(), "after a panic")
}

// TestIsolation: what is set in one host shows in no other, and a lab can't reach
// out.
func TestIsolation(t *testing.T) {
	lab := New(t)
	a, b := lab.Host("a"), lab.Host("b")
	a.Forwarding()
	for h, want := range map[*Host]string{a: "1", b: "0"} {
		for _, key := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
			require.NoError(t, h.Do(func() error {
				got, err := os.ReadFile("/proc/sys/net/" + key)
				assert.Equal(t, want, strings.TrimSpace(string(got)), "%s of %s", key, h.Name())
				return err
			}))
		}
	}
	_, err := a.Dial("tcp", "192.0.2.1:80", time.Second)
	assert.ErrorIs(t, err, unix.ENETUNREACH)
	_, err = a.Dial("tcp", "127.0.0.1:80", time.Second)
	assert.ErrorIs(t, err, unix.ECONNREFUSED, "loopback is not up")
}

func TestRoutes(t *testing.T) {
	x := newChain(t)
	x.a.Addr("eth0", "2001:db8:a::3/64")
	x.a.AddRoute(Route{Dst: b6.String(), Via: r6.String(), Src: "2001:db8:a::3", MTU: 1300})
	got, err := x.a.PathMTU(b6)
	require.NoError(t, err)
	assert.Equal(t, 1300, got)
	got, err = x.a.PathMTU(b4)
	require.NoError(t, err)
	assert.Equal(t, 1500, got)
	c, err := x.a.Dial("udp", netip.AddrPortFrom(b6, 9).String(), time.Second)
	require.NoError(t, err)
	assert.Contains(t, c.LocalAddr().String(), "[2001:db8:a::3]:")
	x.a.MTU("eth0", 1280)
	got, err = x.a.PathMTU(b4)
	require.NoError(t, err)
	assert.Equal(t, 1280, got)
}

// TestWaitRunning waits for a device that no program attaches to.
func TestWaitRunning(t *testing.T) {
	x := newChain(t)
	require.NoError(t, x.a.WaitRunning("eth0", time.Second))
	link, err := x.r.link("eth0")
	require.NoError(t, err)
	require.NoError(t, x.r.netlink(func(nl *netlink.Handle) error { return nl.LinkSetDown(link) }))
	assert.ErrorContains(t, x.a.WaitRunning("eth0", 20*time.Millisecond), "wait for eth0: still ")
}
