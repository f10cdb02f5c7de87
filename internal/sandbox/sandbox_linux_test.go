package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// There is no way out of a sandbox, so these tests send another process in: this
// very program, told by its environment to try things out.
const (
	inmateEnv = "STEPPE_SANDBOX_INMATE" // what it is to do
	inmateDir = "STEPPE_SANDBOX_DIR"    // where
)

func TestMain(m *testing.M) {
	switch os.Getenv(inmateEnv) {
	case "":
		status := m.Run()
		if staticDir != "" {
			os.RemoveAll(staticDir)
		}
		os.Exit(status)
	case "bench":
		benchInmate()
	default:
		inmate()
	}
}

// static builds this test without cgo, as tayga is installed.
var static = sync.OnceValues(func() (path string, err error) {
	if staticDir, err = os.MkdirTemp("", "sandbox"); err != nil {
		return "", err
	}
	path = staticDir + "/inmate"
	cmd := exec.Command("go", "test", "-c", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go test -c: %w: %s", err, out)
	}
	return path, nil
})

// staticDir is removed at the end of all tests.
var staticDir string

// An attempt is something that a process that was taken over might try.
type attempt struct {
	name    string
	try     func(dir string) error
	outside error // what comes of it as root without a sandbox; errSkip: not tried
	inside  error // and within
}

var errSkip = errors.New("not tried")

// paths are what the inmate keeps, in a directory that also holds one to which it
// has no right.
func paths(dir string) []Path {
	held, _ := os.Open(dir + "/held")
	return []Path{
		{At: held, Access: ReadFiles},
		{At: held, Name: "../single/file", Access: ReadFiles},
		{Name: dir + "/data", Access: KeepFiles},
		{Name: dir + "/maps", Access: ReadFiles},
		{Name: dir + "/run", Access: RemoveFiles},
		{Name: dir + "/empty", Access: RemoveDirs},
		{Name: "/dev/null", Access: UseDevice},
		{Name: dir + "/absent", Access: KeepFiles},
	}
}

// What lies in dir before.
func furnish(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, os.MkdirAll(dir+"/empty/empty", 0o755))
	for _, name := range []string{"data/old", "maps/maps", "held/file", "single/file", "single/other", "run/pid", "other/secret"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("text"), 0o644))
	}
	return dir
}

// open opens a file and closes it.
func open(name string, flags int) error {
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0o644)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func socket(domain, typ, proto int) error {
	fd, err := unix.Socket(domain, typ|unix.SOCK_CLOEXEC, proto)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// call makes any system call.
func call(nr uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, errno := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
		return errno
	}
	return nil
}

// save replaces a file as the daemon replaces its leases.
func save(name string) error {
	f, err := os.OpenFile(name+"~", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString("text")
	dir, dirErr := os.Open(filepath.Dir(name))
	if dirErr != nil {
		return dirErr
	}
	defer dir.Close()
	return errors.Join(err, f.Sync(), f.Truncate(1), os.Rename(name+"~", name), dir.Sync())
}

const maxInt = ^uintptr(0) >> 1

// parent is asked for before that is forbidden.
var parent = os.Getppid()

// Attempts at files.
var files = []attempt{
	{"open-shadow", func(string) error { return open("/etc/shadow", unix.O_RDONLY) }, nil, unix.EACCES},
	{"open-what-everybody-may", func(string) error { return open("/etc/passwd", unix.O_RDONLY) }, nil, unix.EACCES},
	{"open-memory-of-the-parent", func(string) error { return open(fmt.Sprintf("/proc/%d/mem", parent), unix.O_RDWR) }, nil, unix.EACCES},
	{"list-the-root", func(string) error { return open("/", unix.O_RDONLY|unix.O_DIRECTORY) }, nil, unix.EACCES},
	{"read-elsewhere", func(dir string) error { return open(dir+"/other/secret", unix.O_RDONLY) }, nil, unix.EACCES},
	{"make-elsewhere", func(dir string) error { return open(dir+"/other/new", unix.O_WRONLY|unix.O_CREAT) }, nil, unix.EACCES},
	{"leave-by-dots", func(dir string) error { return open(dir+"/data/../other/secret", unix.O_RDONLY) }, nil, unix.EACCES},
	{"move-elsewhere", func(dir string) error { return os.Rename(dir+"/data/old", dir+"/other/old") }, nil, unix.EACCES},
	{"save", func(dir string) error { return save(dir + "/data/new") }, nil, nil},
	{"read-saved", func(dir string) error { return open(dir+"/data/new", unix.O_RDONLY) }, nil, nil},
	{"run-what-was-saved", func(dir string) error { return exec.Command(dir + "/data/new").Run() }, unix.EACCES, unix.EPERM},
	{"read-maps", func(dir string) error { return open(dir+"/maps/maps", unix.O_RDONLY) }, nil, nil},
	{"write-maps", func(dir string) error { return open(dir+"/maps/maps", unix.O_WRONLY) }, nil, unix.EACCES},
	{"list-maps", func(dir string) error { _, err := os.ReadDir(dir + "/maps"); return err }, nil, nil},
	{"read-held", func(dir string) error { return open(dir+"/held/file", unix.O_RDONLY) }, nil, nil},
	{"read-single", func(dir string) error { return open(dir+"/single/file", unix.O_RDONLY) }, nil, nil},
	{"read-beside", func(dir string) error { return open(dir+"/single/other", unix.O_RDONLY) }, nil, unix.EACCES},
	{"read-pid", func(dir string) error { return open(dir+"/run/pid", unix.O_RDONLY) }, nil, unix.EACCES},
	{"remove-pid", func(dir string) error { return os.Remove(dir + "/run/pid") }, nil, nil},
	{"remove-directory", func(dir string) error { return unix.Rmdir(dir + "/empty/empty") }, nil, nil},
	{"remove-another-directory", func(dir string) error { return unix.Rmdir(dir + "/empty") }, nil, unix.EACCES},
	{"use-device", func(string) error { return open("/dev/null", unix.O_RDWR) }, nil, nil},
	{"use-another-device", func(string) error { return open("/dev/zero", unix.O_RDWR) }, nil, unix.EACCES},
}

// Attempts at everything else.
var others = []attempt{
	{"run-a-program", func(string) error { return exec.Command("/bin/true").Run() }, nil, unix.EPERM},
	{"become-a-program", func(string) error { return unix.Exec("/bin/true", []string{"true"}, nil) }, errSkip, unix.EPERM},
	{"raw-socket", func(string) error { return socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP) }, nil, unix.EPERM},
	{"raw-socket-6", func(string) error { return socket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6) }, nil, unix.EPERM},
	{"packet-socket", func(string) error { return socket(unix.AF_PACKET, unix.SOCK_RAW, 0) }, nil, unix.EPERM},
	{"tcp", func(string) error { return socket(unix.AF_INET, unix.SOCK_STREAM, 0) }, nil, unix.EPERM},
	{"udp", func(string) error { return socket(unix.AF_INET6, unix.SOCK_DGRAM, 0) }, nil, unix.EPERM},
	{"unix-stream", func(string) error { return socket(unix.AF_UNIX, unix.SOCK_STREAM, 0) }, nil, unix.EPERM},
	{"unix-datagram", func(string) error { return socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0) }, nil, nil},
	{"route-netlink", func(string) error { return socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE) }, nil, nil},
	{"another-netlink", func(string) error { return socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT) }, nil, unix.EPERM},
	{"signal-the-parent", func(string) error { return unix.Kill(parent, 0) }, nil, unix.EPERM},
	{"signal-oneself", func(string) error { return unix.Kill(os.Getpid(), 0) }, nil, nil},
	{"another-user", func(string) error { return call(unix.SYS_SETUID, 0) }, nil, unix.EPERM},
	{"another-namespace", func(string) error { return unix.Setns(int(maxInt), 0) }, unix.EBADF, unix.EPERM},
	{"a-new-namespace", func(string) error { return unix.Unshare(0) }, nil, unix.EPERM},
	{"a-new-user-namespace", func(string) error { return unix.Unshare(unix.CLONE_NEWUSER) }, errSkip, unix.EPERM},
	{"mount", func(string) error { return unix.Mount("", "/", "", unix.MS_REMOUNT, "") }, errSkip, unix.EPERM},
	{"chroot", func(string) error { return unix.Chroot("/") }, nil, unix.EPERM},
	{"trace-the-parent", func(string) error { return call(unix.SYS_PTRACE, unix.PTRACE_ATTACH, uintptr(parent)) }, errSkip, unix.EPERM},
	{"load-bpf", func(string) error { return call(unix.SYS_BPF, maxInt) }, unix.EINVAL, unix.EPERM},
	{"io-uring", func(string) error { return call(unix.SYS_IO_URING_SETUP, 0, 0) }, errSkip, unix.EPERM},
	{"load-module", func(string) error { return call(unix.SYS_INIT_MODULE) }, errSkip, unix.EPERM},
	{"file-in-memory", func(string) error { _, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC); return err }, nil, unix.EPERM},
	{"code-in-memory", func(string) error {
		_, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE)
		return err
	}, nil, unix.EPERM},
	{"type-for-the-user", func(string) error { return unix.IoctlSetPointerInt(int(maxInt), unix.TIOCSTI, 'x') }, unix.EBADF, unix.EPERM},
	{"get-capabilities-back", func(string) error { return call(unix.SYS_CAPSET) }, errSkip, unix.EPERM},
	{"clone3", func(string) error { return call(unix.SYS_CLONE3) }, unix.EINVAL, unix.ENOSYS},
}

// spare are sockets that listened and were shut down, which makes them as good as
// new: plain TCP, and MPTCP, which is what Go makes unless it is told otherwise.
var spare struct {
	tcp, mptcp []int
	target     unix.SockaddrInet4 // where a program listens
}

func prepareSpare(target net.Addr) {
	spare.target = unix.SockaddrInet4{Port: target.(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	for range 3 {
		spare.tcp = append(spare.tcp, shut(unix.IPPROTO_TCP))
		spare.mptcp = append(spare.mptcp, shut(unix.IPPROTO_MPTCP))
	}
}

func shut(proto int) int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, proto)
	if err == nil {
		err = errors.Join(unix.Listen(fd, 1), unix.Shutdown(fd, unix.SHUT_RDWR))
	}
	if err != nil {
		panic(err)
	}
	return fd
}

// Attempts to open a connection without making a socket. With metrics-listen there
// is a socket in the process that listens. It could be shut down, and then
// sendto(MSG_FASTOPEN) connected it to any server, past Landlock.
var connections = []attempt{
	{"connect", func(string) error { return unix.Connect(spare.tcp[0], &spare.target) }, nil, unix.EPERM},
	{"sendto-fastopen", func(string) error {
		return unix.Sendto(spare.tcp[1], []byte("x"), unix.MSG_FASTOPEN, &spare.target)
	}, nil, unix.EPERM},
	{"sendmsg-fastopen", func(string) error {
		return unix.Sendmsg(spare.tcp[2], []byte("x"), nil, &spare.target, unix.MSG_FASTOPEN)
	}, nil, unix.EPERM},
	{"mptcp-connect", func(string) error { return unix.Connect(spare.mptcp[0], &spare.target) }, nil, unix.EPERM},
	{"mptcp-sendto-fastopen", func(string) error {
		return unix.Sendto(spare.mptcp[1], []byte("x"), unix.MSG_FASTOPEN, &spare.target)
	}, nil, unix.EPERM},
	{"sendmmsg", func(string) error { return call(unix.SYS_SENDMMSG, maxInt) }, unix.EBADF, unix.EPERM},
	{"connect-when-written", func(string) error {
		return unix.SetsockoptInt(spare.mptcp[2], unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1)
	}, nil, unix.EPERM},
}

// inmate is the process that is sent in. It enters the sandbox unless it is told
// to stay outside, and prints what comes of each attempt: name and error number.
// Then it serves clients of the sockets that it had opened, until its
// input ends.
func inmate() {
	dir := os.Getenv(inmateDir)
	threads := newThreads(8)
	tcp := listen("tcp4", "127.0.0.1:0")
	stream := listen("unix", dir+"/socket")
	prepareSpare(listen("tcp4", "127.0.0.1:0").Addr())
	if os.Getenv(inmateEnv) != "outside" {
		c := Config{Paths: paths(dir)}
		if os.Getenv(inmateEnv) == "net-admin" {
			c.Keep = NetAdmin
		}
		report := Enter(c)
		fmt.Println("Sandbox:", report)
		for _, line := range report.Missing() {
			fmt.Println("Note:", line)
		}
	}
	for _, list := range [][]attempt{files, others, connections} {
		for _, a := range list {
			if os.Getenv(inmateEnv) == "outside" && a.outside == errSkip {
				continue
			}
			fmt.Println(a.name, number(a.try(dir)))
		}
	}
	// Threads that were there before are in the sandbox, too, and so are new ones.
	for i, thread := range append(threads, newThreads(8)...) {
		thread.do(func() { fmt.Printf("thread %d %d\n", i, number(open("/etc/shadow", unix.O_RDONLY))) })
	}
	work()
	go echo(tcp)
	go echo(stream)
	fmt.Println("serving", tcp.Addr())
	io.Copy(io.Discard, os.Stdin)
}

// number returns an error's number, 0 for none.
func number(err error) int {
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &errno):
		return int(errno)
	}
	return -1
}

func listen(network, address string) net.Listener {
	l, err := net.Listen(network, address)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	return l
}

// echo serves one connection after the other.
func echo(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			fmt.Println(err)
			return
		}
		line, _ := bufio.NewReader(conn).ReadString('\n')
		io.WriteString(conn, line)
		conn.Close()
	}
}

// A visit is an inmate that has printed what it had to say, and still runs.
type visit struct {
	*exec.Cmd
	lines []string
	tcp   string // address
	end   func()
}

// send starts an inmate.
func send(t *testing.T, program, what, dir string) *visit {
	t.Helper()
	v := &visit{Cmd: exec.Command(program)}
	v.Env = append(os.Environ(), inmateEnv+"="+what, inmateDir+"="+dir)
	v.Stderr = os.Stderr
	stdin, err := v.StdinPipe()
	require.NoError(t, err)
	stdout, err := v.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, v.Start())
	v.end = func() {
		stdin.Close()
		assert.NoError(t, v.Wait())
	}
	t.Cleanup(func() { v.Process.Kill() })
	for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
		if address, found := strings.CutPrefix(scanner.Text(), "serving "); found {
			v.tcp = address
			return v
		}
		v.lines = append(v.lines, scanner.Text())
	}
	t.Fatalf("the process ended: %v\n%s", v.Wait(), strings.Join(v.lines, "\n"))
	return nil
}

// status returns the lines of /proc/PID/task/TID/status of all threads.
func (v *visit) status(t *testing.T) (threads []string) {
	t.Helper()
	list, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", v.Process.Pid))
	require.NoError(t, err)
	for _, name := range list {
		text, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // the thread ended
		}
		require.NoError(t, err)
		threads = append(threads, strings.Join(strings.Fields(string(text)), " "))
	}
	require.Greater(t, len(threads), 8)
	return threads
}

// told checks that the inmate reports these numbers.
func (v *visit) told(t *testing.T, attempts []attempt, inside bool) {
	t.Helper()
	for _, a := range attempts {
		want := a.outside
		if inside {
			want = a.inside
		}
		if want == errSkip {
			continue
		}
		assert.Contains(t, v.lines, fmt.Sprintf("%s %d", a.name, number(want)), a.name)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() == 0 {
		return
	}
	if os.Getenv("STEPPE_REQUIRE_NETNS") == "1" {
		t.Fatal("STEPPE_REQUIRE_NETNS=1, but this is not root")
	}
	t.Skip("needs root, who has something to lose")
}

// From within, the process can do what it needs and nothing else; from outside,
// the same attempts succeed, or fail for other reasons.
func TestSandbox(t *testing.T) {
	needRoot(t)
	program, err := static()
	require.NoError(t, err)
	t.Run("outside", func(t *testing.T) {
		v := send(t, program, "outside", furnish(t))
		v.told(t, files, false)
		v.told(t, others, false)
		v.told(t, connections, false)
		assert.Contains(t, v.lines, "thread 0 0")
		v.end()
	})
	t.Run("inside", func(t *testing.T) {
		dir := furnish(t)
		v := send(t, program, "inside", dir)
		assert.Equal(t, "Sandbox: landlock, seccomp, no_new_privs; capabilities: none", v.lines[0])
		v.told(t, files, true)
		v.told(t, others, true)
		v.told(t, connections, true)
		for i := range 16 {
			assert.Contains(t, v.lines, fmt.Sprintf("thread %d %d", i, unix.EACCES))
		}
		for _, status := range v.status(t) {
			for _, want := range []string{"NoNewPrivs: 1", "Seccomp: 2", "CapInh: 0000000000000000",
				"CapPrm: 0000000000000000", "CapEff: 0000000000000000", "CapBnd: 0000000000000000", "CapAmb: 0000000000000000"} {
				assert.Contains(t, status, want)
			}
		}
		for _, server := range [][2]string{{"tcp", v.tcp}, {"unix", dir + "/socket"}} {
			conn, err := net.Dial(server[0], server[1])
			require.NoError(t, err)
			fmt.Fprintln(conn, "hello")
			answer, err := io.ReadAll(conn)
			assert.NoError(t, err)
			assert.Equal(t, "hello\n", string(answer), server[0])
			conn.Close()
		}
		v.end()
	})
	t.Run("net-admin", func(t *testing.T) {
		v := send(t, program, "net-admin", furnish(t))
		assert.Equal(t, "Sandbox: landlock, seccomp, no_new_privs; capabilities: cap_net_admin", v.lines[0])
		for _, status := range v.status(t) {
			assert.Contains(t, status, "CapPrm: 0000000000001000 CapEff: 0000000000001000")
		}
		v.end()
	})
}

// With cgo there are threads that cannot be reached: no_new_privs and the filter
// are on all of them nevertheless, and it is said that the rest is missing.
func TestCgo(t *testing.T) {
	needRoot(t)
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0); errno != unix.ENOTSUP {
		t.Skip("this test was built without cgo")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	v := send(t, self, "inside", furnish(t))
	assert.Equal(t, "Sandbox: seccomp, no_new_privs; capabilities: "+permitted().String(), v.lines[0])
	assert.Equal(t, "Note: no landlock, no dropping of capabilities: "+errThreads.Error(), v.lines[1])
	v.told(t, others, true)
	v.told(t, connections, true)
	for _, status := range v.status(t) {
		assert.Contains(t, status, "NoNewPrivs: 1")
		assert.Contains(t, status, "Seccomp: 2")
	}
	v.end()
}
