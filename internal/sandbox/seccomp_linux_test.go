//go:build amd64 || arm64

package sandbox

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ask runs the filter for a process with the number 4711 in a machine that
// shares no code with the kernel, which loads words in network order.
func ask(t *testing.T, kind Calls, arch uint32, nr uintptr, args ...uint64) uint32 {
	t.Helper()
	return askOf(t, Config{Calls: kind}, arch, nr, args...)
}

func askOf(t *testing.T, c Config, arch uint32, nr uintptr, args ...uint64) uint32 {
	t.Helper()
	var program []bpf.Instruction
	for _, in := range compile(auditArch, calls(4711, c)) {
		program = append(program, bpf.RawInstruction{Op: in.Code, Jt: in.Jt, Jf: in.Jf, K: in.K}.Disassemble())
	}
	vm, err := bpf.NewVM(program)
	require.NoError(t, err)
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offsetNr:], uint32(nr))
	binary.BigEndian.PutUint32(data[offsetArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offsetArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[offsetArgs+8*i+4:], uint32(a>>32))
	}
	ret, err := vm.Run(data)
	require.NoError(t, err)
	return uint32(ret)
}

func TestFilter(t *testing.T) {
	const allow, eperm, enosys = retAllow, retEPERM, retENOSYS
	for _, test := range []struct {
		name string
		want uint32
		nr   uintptr
		args []uint64
	}{
		{"read", allow, unix.SYS_READ, nil},
		{"poll", allow, unix.SYS_PPOLL, nil},
		{"last-of-the-unconditional", allow, unix.SYS_GETSOCKOPT, nil},

		{"thread-of-go", allow, unix.SYS_CLONE, []uint64{0x50f00}},
		{"thread-of-glibc", allow, unix.SYS_CLONE, []uint64{0x3d0f00}},
		{"fork", eperm, unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}},
		{"vfork", eperm, unix.SYS_CLONE, []uint64{unix.CLONE_VFORK | unix.CLONE_VM | uint64(unix.SIGCHLD)}},
		{"thread-with-a-namespace", eperm, unix.SYS_CLONE, []uint64{0x50f00 | unix.CLONE_NEWNET}},
		{"clone3", enosys, unix.SYS_CLONE3, nil},
		{"execve", eperm, unix.SYS_EXECVE, nil},

		{"signal-to-a-thread", allow, unix.SYS_TGKILL, []uint64{4711, 4712, 23}},
		{"signal-to-another-process", eperm, unix.SYS_TGKILL, []uint64{4712, 4712, 23}},
		{"kill-oneself", allow, unix.SYS_KILL, []uint64{4711, 6}},
		{"kill-all", eperm, unix.SYS_KILL, []uint64{1<<64 - 1, 9}},

		{"memory", allow, unix.SYS_MMAP, []uint64{0, 4096, unix.PROT_READ | unix.PROT_WRITE}},
		{"memory-for-code", eperm, unix.SYS_MMAP, []uint64{0, 4096, unix.PROT_READ | unix.PROT_EXEC}},
		{"memory-made-code", eperm, unix.SYS_MPROTECT, []uint64{0, 4096, unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC}},
		{"memory-named", allow, unix.SYS_PRCTL, []uint64{unix.PR_SET_VMA}},
		{"prctl", eperm, unix.SYS_PRCTL, []uint64{unix.PR_SET_DUMPABLE, 1}},

		{"datagrams-between-processes", allow, unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_DGRAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK}},
		{"streams-between-processes", eperm, unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_STREAM}},
		{"packets-between-processes", eperm, unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_SEQPACKET}},
		{"route-netlink", allow, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW | unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE}},
		{"packet-filter-netlink", eperm, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}},
		{"raw-ip", eperm, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}},
		{"raw-ip6", eperm, unix.SYS_SOCKET, []uint64{unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6}},
		{"packet-socket", eperm, unix.SYS_SOCKET, []uint64{unix.AF_PACKET, unix.SOCK_RAW}},
		{"tcp", eperm, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM}},
		{"udp", eperm, unix.SYS_SOCKET, []uint64{unix.AF_INET6, unix.SOCK_DGRAM}},
		{"option-of-sockets", allow, unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_SOCKET, unix.SO_KEEPALIVE}},
		{"option-of-iptables", eperm, unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_IP, 64}},

		{"option-of-connections", allow, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_TCP, unix.TCP_NODELAY}},
		{"option-of-netlink", allow, unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK}},
		{"filter-of-packets", eperm, unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER}},
		{"mark-of-packets", eperm, unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_SOCKET, unix.SO_MARK}},
		{"device-of-packets", eperm, unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_SOCKET, unix.SO_BINDTODEVICE}},
		{"connect-when-written", eperm, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT}},
		{"connection-taken-over", eperm, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_TCP, unix.TCP_REPAIR}},

		{"connect", eperm, unix.SYS_CONNECT, []uint64{3}},
		{"listen", eperm, unix.SYS_LISTEN, []uint64{3}},
		{"sendto", allow, unix.SYS_SENDTO, []uint64{3, 0, 1, unix.MSG_NOSIGNAL}},
		{"sendto-fastopen", eperm, unix.SYS_SENDTO, []uint64{3, 0, 1, unix.MSG_FASTOPEN}},
		{"sendto-fastopen-and-more", eperm, unix.SYS_SENDTO, []uint64{3, 0, 1, unix.MSG_FASTOPEN | unix.MSG_NOSIGNAL}},
		{"sendto-fastopen-and-bits-that-do-not-count", eperm, unix.SYS_SENDTO, []uint64{3, 0, 1, unix.MSG_FASTOPEN | 1<<40}},
		{"sendto-urgent", eperm, unix.SYS_SENDTO, []uint64{3, 0, 1, unix.MSG_OOB}},
		{"sendmsg", allow, unix.SYS_SENDMSG, []uint64{3, 0, unix.MSG_NOSIGNAL}},
		{"sendmsg-fastopen", eperm, unix.SYS_SENDMSG, []uint64{3, 0, unix.MSG_FASTOPEN}},
		{"sendmmsg", eperm, unix.SYS_SENDMMSG, []uint64{3, 0, 1, 0}},

		{"attach", allow, unix.SYS_IOCTL, []uint64{3, unix.TUNSETIFF}},
		{"mtu", allow, unix.SYS_IOCTL, []uint64{3, unix.SIOCGIFMTU}},
		{"header-size", allow, unix.SYS_IOCTL, []uint64{3, unix.TUNGETVNETHDRSZ}},
		{"owner", eperm, unix.SYS_IOCTL, []uint64{3, unix.TUNSETOWNER}},
		{"persistence", eperm, unix.SYS_IOCTL, []uint64{3, unix.TUNSETPERSIST}},
		{"terminal-input", eperm, unix.SYS_IOCTL, []uint64{0, unix.TIOCSTI}},
		{"terminal-input-with-bits-that-do-not-count", eperm, unix.SYS_IOCTL, []uint64{0, unix.TIOCSTI | 1<<40}},
		{"non-blocking", allow, unix.SYS_FCNTL, []uint64{3, unix.F_SETFL}},
		{"signals-by-descriptor", eperm, unix.SYS_FCNTL, []uint64{3, unix.F_SETOWN}},

		{"unheard-of", eperm, 9999, nil},
		{"negative", eperm, 1<<64 - 1, nil},
	} {
		assert.Equal(t, test.want, ask(t, Attaching, auditArch, test.nr, test.args...), test.name)
	}
	assert.EqualValues(t, eperm, ask(t, Attaching, unix.AUDIT_ARCH_I386, unix.SYS_READ), "in the way of another processor")
}

// The process that attaches for another reads no packet and no file. A count of 64
// bits could have passed for 8 where half of it was looked at.
func TestFilterOfHelper(t *testing.T) {
	const allow, eperm = retAllow, retEPERM
	for _, test := range []struct {
		name string
		want uint32
		nr   uintptr
		args []uint64
	}{
		{"eventfd-read", allow, unix.SYS_READ, []uint64{3, 0, 8}},
		{"eventfd-written", allow, unix.SYS_WRITE, []uint64{3, 0, 8}},
		{"read", eperm, unix.SYS_READ, []uint64{3, 0, 65535}},
		{"read-a-little", eperm, unix.SYS_READ, []uint64{3, 0, 9}},
		{"read-much-that-looks-little", eperm, unix.SYS_READ, []uint64{3, 0, 1<<32 + 8}},
		{"written", eperm, unix.SYS_WRITE, []uint64{3, 0, 60}},
		{"written-much-that-looks-little", eperm, unix.SYS_WRITE, []uint64{3, 0, 1<<40 + 8}},
		{"crash", allow, unix.SYS_WRITE, []uint64{2, 0, 60}},
		{"readv", eperm, unix.SYS_READV, []uint64{3}},
		{"preadv", eperm, unix.SYS_PREADV, []uint64{3}},
		{"pread", eperm, unix.SYS_PREAD64, []uint64{3, 0, 8}},
		{"writev", eperm, unix.SYS_WRITEV, []uint64{3}},
		{"splice", eperm, unix.SYS_SPLICE, []uint64{3}},
		{"sendfile", eperm, unix.SYS_SENDFILE, []uint64{3}},
		{"copied", eperm, unix.SYS_COPY_FILE_RANGE, []uint64{3}},

		{"asked", allow, unix.SYS_RECVMSG, []uint64{3}},
		{"answered", allow, unix.SYS_SENDMSG, []uint64{3, 0, unix.MSG_NOSIGNAL}},
		{"connect", eperm, unix.SYS_CONNECT, []uint64{3}},
		{"accept", eperm, unix.SYS_ACCEPT4, []uint64{3}},
		{"remove", eperm, unix.SYS_UNLINKAT, []uint64{3}},
		{"execve", eperm, unix.SYS_EXECVE, nil},
		{"fork", eperm, unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}},
		{"signal", eperm, unix.SYS_KILL, []uint64{1, 9}},

		{"route-netlink", allow, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW | unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE}},
		{"packet-filter-netlink", eperm, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}},
		{"datagrams-between-processes", eperm, unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_DGRAM}},
		{"packet-socket", eperm, unix.SYS_SOCKET, []uint64{unix.AF_PACKET, unix.SOCK_RAW}},

		{"attach", allow, unix.SYS_IOCTL, []uint64{3, unix.TUNSETIFF}},
		{"owner", allow, unix.SYS_IOCTL, []uint64{3, unix.TUNSETOWNER}},
		{"persistence", eperm, unix.SYS_IOCTL, []uint64{3, unix.TUNSETPERSIST}},
		{"flags", eperm, unix.SYS_IOCTL, []uint64{3, unix.SIOCSIFFLAGS}},
	} {
		assert.Equal(t, test.want, ask(t, Helping, auditArch, test.nr, test.args...), test.name)
	}
}

// A process for which another one attaches cannot attach.
func TestFilterWithoutAttaching(t *testing.T) {
	for kind, want := range map[Calls]uint32{Attaching: retAllow, Translating: retEPERM} {
		assert.Equal(t, want, ask(t, kind, auditArch, unix.SYS_IOCTL, 3, unix.TUNSETIFF))
		assert.EqualValues(t, retAllow, ask(t, kind, auditArch, unix.SYS_IOCTL, 3, unix.TUNSETOFFLOAD))
		assert.EqualValues(t, retAllow, ask(t, kind, auditArch, unix.SYS_READ, 3, 0, 65535))
	}
}

// Of bpf(2), a process that translates has operations on maps by their descriptors, if there
// is a fast path, and one that attaches has that.
func TestFilterOfPrograms(t *testing.T) {
	maps := []int{unix.BPF_MAP_LOOKUP_ELEM, unix.BPF_MAP_UPDATE_ELEM, unix.BPF_MAP_DELETE_ELEM, unix.BPF_MAP_LOOKUP_BATCH, unix.BPF_OBJ_GET_INFO_BY_FD}
	for kind, may := range map[Calls][]int{
		Attaching: maps, Translating: maps,
		Helping: {unix.BPF_LINK_CREATE, unix.BPF_OBJ_GET_INFO_BY_FD},
	} {
		for command := range 64 {
			want := uint32(retEPERM)
			if slices.Contains(may, command) {
				want = retAllow
			}
			assert.Equal(t, want, askOf(t, Config{Calls: kind, FastPath: true}, auditArch, unix.SYS_BPF, uint64(command)), command)
			assert.EqualValues(t, retEPERM, ask(t, kind, auditArch, unix.SYS_BPF, uint64(command)), command)
		}
	}
}

// A CLAT asks resolvers and has an address on a link; its helper changes settings. Neither
// runs a program, and what each may do is not what the other may.
func TestFilterOfCLAT(t *testing.T) {
	clat, helper := Config{Calls: Translating, Discover: true}, Config{Calls: Helping, Network: true}
	const allow, eperm = retAllow, retEPERM
	for _, test := range []struct {
		name         string
		clat, helper uint32
		nr           uintptr
		args         []uint64
	}{
		{"udp6", allow, eperm, unix.SYS_SOCKET, []uint64{unix.AF_INET6, unix.SOCK_DGRAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK}},
		{"tcp4", allow, eperm, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_CLOEXEC}},
		{"raw6", eperm, eperm, unix.SYS_SOCKET, []uint64{unix.AF_INET6, unix.SOCK_RAW}},
		{"packet", eperm, eperm, unix.SYS_SOCKET, []uint64{unix.AF_PACKET, unix.SOCK_DGRAM}},
		{"unix-stream", eperm, eperm, unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_STREAM}},
		{"route", allow, allow, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}},
		{"netfilter", eperm, allow, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW | unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER}},
		{"audit", eperm, eperm, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT}},
		{"connect", allow, eperm, unix.SYS_CONNECT, nil},
		{"bind-to-device", allow, eperm, unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_SOCKET, unix.SO_BINDTODEVICE}},
		{"join", allow, eperm, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP}},
		{"promiscuous", eperm, eperm, unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP}},
		{"no-delay", allow, eperm, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_TCP, unix.TCP_NODELAY}},
		{"mark", eperm, eperm, unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_SOCKET, unix.SO_MARK}},
		{"filter", eperm, eperm, unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER}},
		{"read-a-file", allow, allow, unix.SYS_READ, []uint64{5, 0, 4096}},
		{"listen", eperm, eperm, unix.SYS_LISTEN, nil},
		{"run", eperm, eperm, unix.SYS_EXECVE, nil},
		{"load", eperm, eperm, unix.SYS_BPF, []uint64{unix.BPF_PROG_LOAD}},
	} {
		t.Run(test.name, func(t *testing.T) {
			assert.Equal(t, test.clat, askOf(t, clat, auditArch, test.nr, test.args...), "the process that translates")
			assert.Equal(t, test.helper, askOf(t, helper, auditArch, test.nr, test.args...), "the helper")
		})
	}
}

// Whatever it is asked, the filter has an answer, and one of its own three.
func TestFilterEnds(t *testing.T) {
	for _, kind := range []Calls{Attaching, Translating, Helping} {
		for nr := range uintptr(1000) {
			for _, arg := range []uint64{0, 1, 1<<64 - 1} {
				assert.Contains(t, []uint32{retAllow, retEPERM, retENOSYS}, ask(t, kind, auditArch, nr, arg, arg, arg, arg, arg, arg))
			}
		}
		assert.Less(t, len(compile(auditArch, calls(1, Config{Calls: kind, FastPath: true, Discover: true, Network: true}))), 4096) // the kernel's limit
	}
}
