//go:build amd64 || arm64

package sandbox

import (
	"runtime"
	"slices"

	"golang.org/x/sys/unix"
)

// auditArch is how the kernel calls this processor.
var auditArch = map[string]uint32{
	"amd64": unix.AUDIT_ARCH_X86_64,
	"arm64": unix.AUDIT_ARCH_AARCH64,
}[runtime.GOARCH]

// calls returns the system calls that a process may go on to make. What is not
// here fails: programs to run, processes, other users, mounts, namespaces,
// tracing, loading of code, sockets of the network, and whatever kernels learn
// in the years to come.
var calls = func(pid int, c Config) (list []rule) {
	switch {
	case c.Calls == Helping && c.Network:
		list = slices.Concat(runtimeCalls(pid), networkCalls())
	case c.Calls == Helping:
		list = slices.Concat(runtimeCalls(pid), helperCalls())
	case c.Discover:
		list = merged(slices.Concat(packetCalls(), runtimeCalls(pid), daemonCalls(c.Calls), discoverCalls()))
	default:
		list = slices.Concat(packetCalls(), runtimeCalls(pid), daemonCalls(c.Calls))
	}
	if c.FastPath {
		list = append(list, rule{unix.SYS_BPF, anyOf(0, programCalls(c.Calls)...)})
	}
	return list
}

// programCalls are those of bpf(2) that the fast path takes: on maps, by their descriptors,
// of who translates packets; to attach a program, by its descriptor, of who does that.
// Nothing is loaded or found by its number.
func programCalls(kind Calls) []uint32 {
	if kind == Helping {
		return []uint32{unix.BPF_OBJ_GET_INFO_BY_FD, unix.BPF_LINK_CREATE}
	}
	return []uint32{unix.BPF_MAP_LOOKUP_ELEM, unix.BPF_MAP_UPDATE_ELEM, unix.BPF_MAP_DELETE_ELEM,
		unix.BPF_MAP_LOOKUP_BATCH, unix.BPF_OBJ_GET_INFO_BY_FD}
}

// packetCalls are those of the packets' loop, which come first.
func packetCalls() []rule {
	return always(unix.SYS_READ, unix.SYS_WRITE, unix.SYS_PPOLL, unix.SYS_FUTEX, unix.SYS_WRITEV, unix.SYS_READV)
}

// runtimeCalls are those of the Go runtime: network poller, timers, scheduler, signals,
// memory. Its poller also reads and writes 8 bytes.
func runtimeCalls(pid int) []rule {
	self := []match{{{0, all, uint32(pid)}}} // the process alone, and its threads
	return append(always(
		unix.SYS_FUTEX,
		unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_CREATE1, unix.SYS_EVENTFD2, unix.SYS_PIPE2,
		unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_GETTIMEOFDAY,
		unix.SYS_RESTART_SYSCALL,
		unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_GETPID, unix.SYS_GETTID,
		unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
		unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_MINCORE,
		unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_GETRANDOM, unix.SYS_UNAME, unix.SYS_GETRUSAGE,
		// Its profiler.
		unix.SYS_SETITIMER, unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE,
		// Threads and memory of a C library, in programs with cgo.
		unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_BRK, unix.SYS_MREMAP,

		// What both kinds of processes do with descriptors and sockets that are open.
		unix.SYS_OPENAT, unix.SYS_CLOSE, unix.SYS_GETEUID, unix.SYS_GETEGID,
		unix.SYS_BIND, unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_GETSOCKNAME,
	),
		// A thread is a clone that shares everything and gets nothing new.
		rule{unix.SYS_CLONE, []match{{{0, unix.CLONE_THREAD | namespaces, unix.CLONE_THREAD}}}},
		rule{unix.SYS_TGKILL, self},
		rule{unix.SYS_KILL, self},

		// Nothing becomes code that was not code before.
		rule{unix.SYS_MMAP, []match{{{2, unix.PROT_EXEC, 0}}}},
		rule{unix.SYS_MPROTECT, []match{{{2, unix.PROT_EXEC, 0}}}},
		// The runtime gives its memory names.
		rule{unix.SYS_PRCTL, []match{{{0, all, unix.PR_SET_VMA}}}},

		// Others would have signals sent to anybody.
		rule{unix.SYS_FCNTL, anyOf(1, unix.F_GETFL, unix.F_SETFL, unix.F_GETFD, unix.F_SETFD, unix.F_DUPFD_CLOEXEC)},

		// To send is to connect, too, with MSG_FASTOPEN: only flags that change
		// nothing but how the call itself behaves. sendmmsg is not in use.
		rule{unix.SYS_SENDTO, []match{{{3, ^uint32(sendFlags), 0}}}},
		rule{unix.SYS_SENDMSG, []match{{{2, ^uint32(sendFlags), 0}}}},
	)
}

// daemonCalls are those of a process that translates packets. None connects: a TCP
// socket that listened can be shut down and connected to anywhere, and Landlock sees
// that for plain TCP only, not for MPTCP, and before Linux 6.7 not at all.
func daemonCalls(kind Calls) []rule {
	// A TUN device and its link.
	device := []uint32{unix.TUNGETIFF, unix.TUNSETOFFLOAD,
		unix.TUNGETVNETHDRSZ, unix.TUNSETVNETHDRSZ, unix.TUNGETSNDBUF, unix.TUNSETSNDBUF,
		unix.TUNGETVNETBE, unix.TUNSETVNETBE, unix.TUNSETCARRIER, unix.TUNSETSTEERINGEBPF, unix.TUNSETFILTEREBPF,
		unix.SIOCGIFINDEX, unix.SIOCGIFMTU, unix.SIOCGIFFLAGS}
	if kind == Attaching {
		device = append(device, unix.TUNSETIFF)
	}
	return append(always(
		// Files. Landlock says which.
		unix.SYS_FSTAT, unix.SYS_NEWFSTATAT, unix.SYS_STATFS, unix.SYS_LSEEK, unix.SYS_GETDENTS64,
		unix.SYS_READLINKAT, // whose links are followed, whose files are kept
		unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_COPY_FILE_RANGE, unix.SYS_FTRUNCATE, unix.SYS_FSYNC,
		unix.SYS_RENAMEAT, unix.SYS_UNLINKAT,

		// Connections to sockets that listen already.
		unix.SYS_ACCEPT4, unix.SYS_SHUTDOWN, unix.SYS_GETPEERNAME, unix.SYS_GETSOCKOPT,
	),
		// A log daemon that was started anew, and the lock on the device's name:
		// datagrams between processes. The services that would do something for a
		// client, such as run a program, listen for streams. And route netlink, by
		// which a device is looked for and set up.
		rule{unix.SYS_SOCKET, []match{
			{{0, all, unix.AF_UNIX}, {1, socketType, unix.SOCK_DGRAM}},
			routeNetlink,
		}},
		// What net/http asks of a connection and netlink of its socket. Others attach
		// filters, mark packets, bind to devices or take over a connection.
		rule{unix.SYS_SETSOCKOPT, slices.Concat(
			options(unix.SOL_SOCKET, unix.SO_KEEPALIVE, unix.SO_SNDTIMEO, unix.SO_RCVTIMEO, unix.SO_SNDBUF, unix.SO_RCVBUF, unix.SO_LINGER),
			options(unix.IPPROTO_TCP, unix.TCP_NODELAY, unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL, unix.TCP_KEEPCNT),
			netlinkOptions())},
		rule{unix.SYS_IOCTL, anyOf(1, device...)},
	)
}

// discoverCalls are those of a CLAT: datagrams to resolvers, and TCP, for which Landlock has
// the port; the groups of neighbours. Datagrams can go anywhere, as the packets can that
// this process writes to its device.
func discoverCalls() (list []rule) {
	for _, family := range []uint32{unix.AF_INET, unix.AF_INET6} {
		for _, kind := range []uint32{unix.SOCK_DGRAM, unix.SOCK_STREAM} {
			list = append(list, rule{unix.SYS_SOCKET, []match{{{0, all, family}, {1, socketType, kind}}}})
		}
	}
	return append(list,
		rule{nr: unix.SYS_CONNECT},
		rule{unix.SYS_SETSOCKOPT, slices.Concat(
			options(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, unix.SO_BROADCAST),
			options(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, unix.IPV6_JOIN_GROUP, unix.IPV6_LEAVE_GROUP))},
	)
}

// merged makes one rule of all that are about the same system call, in the place of the
// first: a filter looks for no second one.
func merged(rules []rule) (list []rule) {
	for _, r := range rules {
		i := slices.IndexFunc(list, func(q rule) bool { return q.nr == r.nr })
		switch {
		case i < 0:
			list = append(list, r)
		case list[i].when == nil || r.when == nil:
			list[i].when = nil // whatever the arguments
		default:
			list[i].when = slices.Concat(list[i].when, r.when)
		}
	}
	return list
}

// networkCalls are those of a helper that also changes settings of the network: files below
// /proc/sys and its journal, of which Landlock says which, and netlink.
func networkCalls() []rule {
	return merged(slices.Concat(helperCalls(), always(
		unix.SYS_READ, unix.SYS_WRITE, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_LSEEK,
		unix.SYS_FSTAT, unix.SYS_NEWFSTATAT, unix.SYS_STATX, unix.SYS_GETDENTS64, unix.SYS_READLINKAT, unix.SYS_FACCESSAT,
		unix.SYS_FTRUNCATE, unix.SYS_FSYNC, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_UNLINKAT, unix.SYS_FCHMOD, unix.SYS_FLOCK,
		unix.SYS_GETSOCKOPT,
	), []rule{
		{unix.SYS_SOCKET, []match{{{0, all, unix.AF_NETLINK}, {1, socketType, unix.SOCK_RAW}, {2, all, unix.NETLINK_NETFILTER}}}},
		{unix.SYS_SETSOCKOPT, slices.Concat(
			options(unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, unix.NETLINK_NO_ENOBUFS),
			options(unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, unix.SO_SNDBUFFORCE))},
	}))
}

// helperCalls are those of a process that attaches to the device and sets it up for
// another. It may have the descriptors of queues, but reads no packet: read(2) is for
// the 8 bytes of an eventfd, and there is no other call by which a TUN device is read.
func helperCalls() []rule {
	return []rule{
		{unix.SYS_READ, []match{eventfd}},
		{unix.SYS_WRITE, []match{eventfd, {{0, all, 2}, {0 + upper, all, 0}}}}, // and stderr, if it crashes
		{unix.SYS_SOCKET, []match{routeNetlink}},
		{unix.SYS_SETSOCKOPT, slices.Concat(netlinkOptions(),
			options(unix.SOL_SOCKET, unix.SO_SNDTIMEO, unix.SO_RCVTIMEO, unix.SO_SNDBUF, unix.SO_RCVBUF))},
		{unix.SYS_IOCTL, anyOf(1, unix.TUNSETIFF, unix.TUNSETOWNER, unix.TUNSETGROUP, unix.TUNSETOFFLOAD,
			unix.TUNGETVNETHDRSZ, unix.TUNSETVNETHDRSZ, unix.TUNGETSNDBUF, unix.TUNSETSNDBUF,
			unix.TUNGETVNETBE, unix.TUNSETVNETBE, unix.TUNSETCARRIER, unix.TUNSETSTEERINGEBPF, unix.TUNSETFILTEREBPF)},
	}
}

var (
	// eventfd is a read or write of 8 bytes. The count has 64 bits.
	eventfd = match{{2, all, 8}, {2 + upper, all, 0}}

	routeNetlink = match{{0, all, unix.AF_NETLINK}, {1, socketType, unix.SOCK_RAW}, {2, all, unix.NETLINK_ROUTE}}
)

// netlinkOptions are those that netlink sockets are given.
func netlinkOptions() []match {
	return options(unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, unix.NETLINK_GET_STRICT_CHK, unix.NETLINK_ADD_MEMBERSHIP)
}

const (
	// socketType is the type of a socket without SOCK_CLOEXEC and SOCK_NONBLOCK.
	socketType = 0xf
	sendFlags  = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
)

// always allows system calls whatever their arguments.
func always(numbers ...uintptr) (rules []rule) {
	for _, nr := range numbers {
		rules = append(rules, rule{nr: nr})
	}
	return rules
}

// anyOf holds if an argument is one of values.
func anyOf(arg int, values ...uint32) (when []match) {
	for _, v := range values {
		when = append(when, match{{arg, all, v}})
	}
	return when
}

// options holds if setsockopt is about one of these options of a level.
func options(level uint32, names ...uint32) (when []match) {
	for _, name := range names {
		when = append(when, match{{1, all, level}, {2, all, name}})
	}
	return when
}
