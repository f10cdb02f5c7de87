package repair

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What is read at most of /proc.
const (
	maxAncestors = 64
	maxProc      = 4 << 20
)

// Connections finds those over which this process may be run: that of SSH_CONNECTION, and
// the TCP connections that this process and those that have started it have in this
// network namespace. Where a program stands between that outlives connections (tmux,
// screen), or a connection comes from the machine itself or has no addresses there, it may be
// any of sshd's.
func Connections() []Connection {
	s := search{sockets: established(), own: namespace("self")}
	s.environment("self")
	for pid, n := os.Getpid(), 0; pid > 0 && n < maxAncestors; n++ {
		name := strconv.Itoa(pid)
		if namespace(name) == s.own {
			s.environment(name)
			s.files(name)
		}
		pid = parent(name)
	}
	if s.any {
		s.daemons()
	}
	return s.found
}

// A search collects connections.
type search struct {
	own     string                // network namespace
	sockets map[string]Connection // by the number of the socket
	found   []Connection
	any     bool
}

func (s *search) add(c Connection) {
	c.Peer, c.Local = c.Peer.Unmap().WithZone(""), c.Local.Unmap().WithZone("")
	if c.Peer.IsLoopback() || c.Peer == c.Local {
		s.any = true
		return
	}
	if !slices.Contains(s.found, c) {
		s.found = append(s.found, c)
	}
}

// environment looks at the environment of a process.
func (s *search) environment(pid string) {
	for v := range bytes.SplitSeq(read("/proc/"+pid+"/environ"), []byte{0}) {
		name, value, _ := strings.Cut(string(v), "=")
		switch f := strings.Fields(value); {
		case (name == "TMUX" || name == "STY") && value != "":
			s.any = true
		case name == "SSH_CONNECTION" && len(f) == 4:
			peer, err1 := netip.ParseAddr(f[0])
			local, err2 := netip.ParseAddr(f[2])
			if err1 != nil || err2 != nil { // UNKNOWN
				s.any = true
				continue
			}
			s.add(Connection{peer, local})
		}
	}
}

// files looks at the sockets of a process.
func (s *search) files(pid string) {
	list, _ := filepath.Glob("/proc/" + pid + "/fd/*")
	for _, path := range list {
		target, _ := os.Readlink(path)
		if c, found := s.sockets[target]; found {
			s.add(c)
		}
	}
}

// daemons looks at those of all daemons for SSH.
func (s *search) daemons() {
	s.any = false
	list, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, path := range list {
		switch strings.TrimSpace(string(read(path))) {
		case "sshd", "sshd-session", "dropbear":
			if pid := filepath.Base(filepath.Dir(path)); namespace(pid) == s.own {
				s.files(pid)
			}
		}
	}
}

// established lists the TCP connections of this network namespace.
func established() map[string]Connection {
	all := make(map[string]Connection)
	for _, name := range []string{"tcp", "tcp6"} {
		lines := bufio.NewScanner(bytes.NewReader(read("/proc/self/net/" + name)))
		for lines.Scan() {
			f := strings.Fields(lines.Text())
			const up = "01" // TCP_ESTABLISHED
			if len(f) < 10 || f[3] != up {
				continue
			}
			local, ok1 := address(f[1])
			peer, ok2 := address(f[2])
			if ok1 && ok2 {
				all["socket:["+f[9]+"]"] = Connection{Peer: peer, Local: local}
			}
		}
	}
	return all
}

// address reads an address of /proc/net/tcp: words in the order of the machine.
func address(text string) (a netip.Addr, ok bool) {
	host, _, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(host)
	if err != nil || len(b)%4 != 0 {
		return a, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, ok = netip.AddrFromSlice(b)
	return a.Unmap(), ok
}

// parent returns the process that has started one, 0 if that is not known.
func parent(pid string) int {
	text := string(read("/proc/" + pid + "/stat"))
	f := strings.Fields(text[strings.LastIndex(text, ")")+1:])
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(f[1])
	return n
}

// namespace names the network namespace of a process.
func namespace(pid string) string {
	name, _ := os.Readlink("/proc/" + pid + "/ns/net")
	return name
}

// read reads a file of /proc.
func read(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, maxProc))
	return text
}

// Here names the network namespace of this process, by a number that no later one gets
// until the next boot.
func Here() string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(fd)
		if cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE); err == nil {
			return "cookie " + strconv.FormatUint(cookie, 10)
		}
	}
	return namespace("self")
}

// Boot names the time since the machine was started.
func Boot() string {
	return strings.TrimSpace(string(read("/proc/sys/kernel/random/boot_id")))
}

// IsTerminal reports whether a file is a terminal.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
