package status

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Dir is where sockets are unless a configuration says otherwise.
const Dir = "/run/tayga"

// DefaultPath returns the place of the socket of the daemon on that TUN device.
func DefaultPath(device string) string { return filepath.Join(Dir, device+".sock") }

// A Socket is a listening unix socket with its file.
type Socket struct {
	net.Listener
	path string
	dir  *os.File // to remove the file from wherever the process is by then; may be nil
}

// Listen makes a socket that the process's user and the group gid may open, or
// the process's group if gid is negative. A file that a daemon left behind which
// is no more is replaced; a socket that somebody listens on is not. In a jail
// the process must not hold a directory outside: with jailed the file stays
// behind at the end.
func Listen(path string, gid int, jailed bool) (*Socket, error) {
	l, err := listen(path, gid)
	if errors.Is(err, unix.EADDRINUSE) && stale(path) {
		if err = os.Remove(path); err == nil {
			l, err = listen(path, gid)
		}
	}
	if errors.Is(err, unix.EADDRINUSE) {
		err = errors.New("somebody else is there")
	}
	if err != nil {
		return nil, fmt.Errorf("status: listen on %s: %w", path, err)
	}
	s := &Socket{Listener: l, path: path}
	if !jailed {
		s.dir, _ = os.Open(filepath.Dir(path)) // without it the file stays behind, too
	}
	return s, nil
}

// listen gives the file its group and mode between bind and listen, when nobody
// can connect yet.
func listen(path string, gid int) (net.Listener, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, err
	}
	if gid >= 0 {
		err = unix.Lchown(path, -1, gid)
	}
	if err == nil {
		err = unix.Chmod(path, 0o660)
	}
	if err == nil {
		err = unix.Listen(fd, maxClients)
	}
	if err != nil {
		os.Remove(path)
		return nil, err
	}
	return net.FileListener(f)
}

// stale reports whether path is a socket that nobody listens on any more.
func stale(path string) bool {
	fi, err := os.Lstat(path)
	if err != nil || fi.Mode().Type() != os.ModeSocket {
		return false
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, unix.ECONNREFUSED)
}

// Close ends the service and removes the file if the process still may.
func (s *Socket) Close() error {
	if s.dir != nil {
		unix.Unlinkat(int(s.dir.Fd()), filepath.Base(s.path), 0)
		s.dir.Close()
	}
	return s.Listener.Close()
}
