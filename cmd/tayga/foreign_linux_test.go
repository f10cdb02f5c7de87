package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/privsep"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// asFiltered makes the test binary put itself under a filter, as a service manager
// does, before it runs the program that its arguments name: "ACTION NUMBER..." is what
// becomes of which system calls.
const asFiltered = "STEPPE_TEST_AS_FILTERED"

func filtered() {
	words := strings.Fields(os.Getenv(asFiltered))
	os.Unsetenv(asFiltered)
	number := func(s string) uint32 {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			panic(err)
		}
		return uint32(n)
	}
	statement := func(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }
	program := []unix.SockFilter{statement(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0)}
	for _, w := range words[1:] {
		program = append(program,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: number(w), Jf: 1},
			statement(unix.BPF_RET|unix.BPF_K, number(words[0])))
	}
	program = append(program, statement(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ALLOW))
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		panic(errno)
	}
	panic(syscall.Exec(os.Args[1], os.Args[1:], os.Environ()))
}

// launchFiltered starts tayga under such a filter.
func (b *bench) launchFiltered(action uint32, calls []uintptr, args ...string) *netlab.Process {
	b.Helper()
	p, err := b.host.Launch(filtering(b.T, action, calls), append([]string{b.self, "-d", "-c", b.conf}, args...)...)
	require.NoError(b, err)
	os.Unsetenv(asFiltered)
	b.await(p, "Workers: ")
	return p
}

// filtering returns a program that runs another one under such a filter, for the rest of
// the test.
func filtering(t *testing.T, action uint32, calls []uintptr) string {
	t.Helper()
	words := []string{fmt.Sprint(action)}
	for _, nr := range calls {
		words = append(words, fmt.Sprint(nr))
	}
	self, err := os.Executable()
	require.NoError(t, err)
	t.Setenv(asFiltered, strings.Join(words, " "))
	return self
}

var (
	landlockCalls = []uintptr{unix.SYS_LANDLOCK_CREATE_RULESET, unix.SYS_LANDLOCK_ADD_RULE, unix.SYS_LANDLOCK_RESTRICT_SELF}
	optionalCalls = append([]uintptr{unix.SYS_CAPGET, unix.SYS_CAPSET, unix.SYS_SECCOMP, unix.SYS_FACCESSAT2}, landlockCalls...)
)

// strictUnit are the calls of systemd's groups @privileged, @resources, @sandbox, @mount,
// @debug, @module, @reboot, @swap, @keyring, @clock, @raw-io, @pkey and @setuid, as far as
// they are on all processors: what SystemCallFilter=@network-io @system-service
// ~@privileged ~@resources does not permit.
var strictUnit = []uintptr{
	unix.SYS_FCHOWN, unix.SYS_FCHOWNAT, unix.SYS_CLOCK_ADJTIME, unix.SYS_CLOCK_SETTIME, unix.SYS_SETTIMEOFDAY, unix.SYS_ADJTIMEX,
	unix.SYS_DELETE_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_INIT_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_REBOOT,
	unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_BPF, unix.SYS_CAPSET, unix.SYS_CHROOT,
	unix.SYS_FANOTIFY_INIT, unix.SYS_FANOTIFY_MARK, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_PIVOT_ROOT, unix.SYS_QUOTACTL,
	unix.SYS_SETDOMAINNAME, unix.SYS_SETHOSTNAME, unix.SYS_SETFSUID, unix.SYS_SETFSGID, unix.SYS_SETGID, unix.SYS_SETGROUPS,
	unix.SYS_SETREGID, unix.SYS_SETRESGID, unix.SYS_SETRESUID, unix.SYS_SETREUID, unix.SYS_SETUID, unix.SYS_VHANGUP,
	unix.SYS_IOPRIO_SET, unix.SYS_MBIND, unix.SYS_MIGRATE_PAGES, unix.SYS_MOVE_PAGES, unix.SYS_SCHED_SETAFFINITY,
	unix.SYS_SCHED_SETATTR, unix.SYS_SCHED_SETPARAM, unix.SYS_SCHED_SETSCHEDULER, unix.SYS_SET_MEMPOLICY,
	unix.SYS_SETPRIORITY, unix.SYS_SETRLIMIT,
	unix.SYS_LANDLOCK_CREATE_RULESET, unix.SYS_LANDLOCK_ADD_RULE, unix.SYS_LANDLOCK_RESTRICT_SELF, unix.SYS_SECCOMP,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_FSOPEN, unix.SYS_FSMOUNT, unix.SYS_MOUNT_SETATTR,
	unix.SYS_PTRACE, unix.SYS_PERF_EVENT_OPEN, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_KCMP, unix.SYS_LOOKUP_DCOOKIE,
	unix.SYS_ADD_KEY, unix.SYS_KEYCTL, unix.SYS_REQUEST_KEY, unix.SYS_PKEY_ALLOC, unix.SYS_PKEY_FREE, unix.SYS_PKEY_MPROTECT,
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_SYSLOG, unix.SYS_PERSONALITY, unix.SYS_FCHMODAT2, unix.SYS_MEMFD_SECRET,
}

// fastGatewayConf has no packet log, so that the daemon loads the fast path.
var fastGatewayConf = strings.Replace(gatewayConf, "log drop reject icmp self dyn", "log dyn", 1)

// A unit with a strict filter and no error number ended the daemon by SIGSYS at the first
// call of its own sandbox, where TAYGA runs: "Starting tayga" was its last line.
// Whatever of that is not permitted is done without, and said; packets pass.
func TestForeignFilter(t *testing.T) {
	const all = "landlock, seccomp, no_new_privs; capabilities: "
	type row struct {
		name   string
		action uint32
		calls  []uintptr
		want   string
		notes  []string // what they name
	}
	rows := []row{
		{"nothing", unix.SECCOMP_RET_KILL_PROCESS, nil, all + "none\n", nil},
		{"unit", unix.SECCOMP_RET_KILL_PROCESS, strictUnit, "no_new_privs; capabilities: ", []string{
			"no landlock: the seccomp filter that the process was started with kills it for these calls: landlock_create_ruleset landlock_add_rule landlock_restrict_self\n",
			"fast path: off: the seccomp filter that the process was started with kills it for these calls: bpf: ",
			"for these calls: seccomp\n", "no dropping of capabilities: the seccomp filter that the process was started with kills it for these calls: capset\n"}},
		{"all-of-it", unix.SECCOMP_RET_KILL_PROCESS, optionalCalls, "no_new_privs; capabilities: not known\n", []string{"calls: capget capset\n", "calls: seccomp\n"}},
		{"all-of-it-and-who-waits", unix.SECCOMP_RET_KILL_PROCESS, append([]uintptr{unix.SYS_WAIT4, unix.SYS_WAITID}, optionalCalls...), "no_new_privs; capabilities: not known\n", nil},
		{"landlock", unix.SECCOMP_RET_KILL_PROCESS, landlockCalls, "seccomp, no_new_privs; capabilities: none\n", []string{"calls: landlock_create_ruleset landlock_add_rule landlock_restrict_self\n"}},
		{"thread", unix.SECCOMP_RET_KILL_THREAD, optionalCalls, "no_new_privs; capabilities: not known\n", nil},
		{"signal", unix.SECCOMP_RET_TRAP, optionalCalls, "no_new_privs; capabilities: not known\n", nil},
		// What is only asked to see what may be given up, and what the Go runtime does
		// unasked: both ended the daemon, the latter before main.
		{"only-bpf", unix.SECCOMP_RET_KILL_PROCESS, []uintptr{unix.SYS_BPF}, all + "none\n", []string{"kills it for these calls: bpf: "}},
		{"only-getgroups", unix.SECCOMP_RET_KILL_PROCESS, []uintptr{unix.SYS_GETGROUPS}, all + "none\n", nil},
		{"only-prctl", unix.SECCOMP_RET_KILL_PROCESS, []uintptr{unix.SYS_PRCTL}, "", []string{"kills it for these calls: prctl\n"}},
		{"error", unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM), optionalCalls, "no_new_privs; capabilities: not known\n", []string{"no seccomp: operation not permitted"}},
	}
	for nr, want := range map[uintptr]string{
		unix.SYS_CAPSET: "landlock, seccomp, no_new_privs; capabilities: ", unix.SYS_CAPGET: "landlock, seccomp, no_new_privs; capabilities: ",
		unix.SYS_SECCOMP: "landlock, no_new_privs; capabilities: none\n", unix.SYS_FACCESSAT2: all,
		unix.SYS_LANDLOCK_ADD_RULE: "seccomp, no_new_privs; capabilities: none\n", unix.SYS_LANDLOCK_RESTRICT_SELF: "seccomp, no_new_privs; capabilities: none\n",
	} {
		rows = append(rows, row{"only-" + strconv.Itoa(int(nr)), unix.SECCOMP_RET_KILL_PROCESS, []uintptr{nr}, want, nil})
	}
	slices.SortStableFunc(rows, func(a, b row) int { return strings.Compare(a.name, b.name) })
	for _, test := range rows {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, fastGatewayConf).installed()
			b.addTun("nat64", 2)
			p := b.launchFiltered(test.action, test.calls)
			assert.Contains(t, p.Output(), "Sandbox: "+test.want)
			for _, note := range test.notes {
				assert.Contains(t, p.Output(), note)
			}
			b.connect()
			require.NoError(t, b.ping("192.168.255.1"))
			b.lease(p)
			children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", p.Pid()))
			require.NoError(t, err)
			left := slices.DeleteFunc(strings.Fields(string(children)), func(pid string) bool { // the helper of the fast path
				name, err := os.ReadFile("/proc/" + pid + "/comm")
				return err == nil && string(name) == privsep.Name+"\n"
			})
			assert.Empty(t, left, "left by trials")
			require.NoError(t, p.Stop(patience))
			assert.FileExists(t, b.dir+"/dynamic.map")
		})
	}
}

// The same without any privilege, on a device that belongs to nobody, as with
// DynamicUser=yes and an empty CapabilityBoundingSet=.
func TestForeignFilterUnprivileged(t *testing.T) {
	b := newBench(t, strings.Replace(fastGatewayConf, "data-dir DIR", "data-dir DIR/data", 1)).installed()
	b.openDir()
	add, err := b.host.Command("ip", "tuntap", "add", "dev", "nat64", "mode", "tun", "multi_queue").CombinedOutput()
	require.NoError(t, err, string(add))
	require.NoError(t, os.Mkdir(b.dir+"/data", 0o700))
	require.NoError(t, os.Chown(b.dir+"/data", 65534, 65534))
	words := []string{fmt.Sprint(uint32(unix.SECCOMP_RET_KILL_PROCESS))}
	for _, nr := range strictUnit {
		words = append(words, fmt.Sprint(nr))
	}
	self, err := os.Executable()
	require.NoError(t, err)
	copied := b.dir + "/filtering" // which the user nobody can run
	text, err := os.ReadFile(self)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(copied, text, 0o755))
	tayga, err := os.ReadFile(b.self)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(b.dir+"/tayga", tayga, 0o755))
	t.Setenv(asFiltered, strings.Join(words, " "))
	p, err := b.host.Launch("/usr/bin/setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
		copied, b.dir+"/tayga", "-d", "-c", b.conf)
	require.NoError(t, err)
	b.await(p, "Workers: ")
	assert.Contains(t, p.Output(), "Sandbox: no_new_privs; capabilities: none\n")
	b.connect()
	require.NoError(t, b.ping("192.168.255.1"))
	b.lease(p)
	require.NoError(t, p.Stop(patience))
	assert.FileExists(t, b.dir+"/data/dynamic.map")
}
