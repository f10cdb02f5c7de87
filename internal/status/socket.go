package status

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/safepath"
)

// Dir is where sockets are unless a configuration says otherwise.
const Dir = "/run/tayga"

// DefaultPath returns the place of the socket of the daemon on that TUN device.
func DefaultPath(device string) string { return filepath.Join(Dir, device+".sock") }

// A Socket is a listening unix socket with its file.
type Socket struct {
	net.Listener
	path string
	name string   // in dir
	dir  *os.File // to remove the file from wherever the process is by then; may be nil
}

// Dir returns the path of the directory that the file is in.
func (s *Socket) Dir() string { return filepath.Dir(s.path) }

// Listen makes a socket that the process's user and the group gid may open, or
// the process's group if gid is negative. A file that a daemon left behind which
// is no more is replaced; a socket on which a program listens is not. In a jail
// the process must not hold a directory outside: with jailed the file stays
// behind at the end.
func Listen(path string, gid int, jailed bool) (*Socket, error) {
	s, err := open(path, gid)
	if err != nil {
		return nil, fmt.Errorf("status: listen on %s: %w", path, err)
	}
	if jailed {
		s.dir.Close()
		s.dir = nil // the file stays behind
	}
	return s, nil
}

func open(path string, gid int) (*Socket, error) {
	dir, name, err := safepath.Resolve(path)
	if err != nil {
		return nil, cause(err)
	}
	l, err := listen(path, dir, name, gid)
	if errors.Is(err, unix.EADDRINUSE) && stale(bindPath(path, dir, name), dir.File, name) {
		if err = unix.Unlinkat(int(dir.Fd()), name, 0); err == nil {
			l, err = listen(path, dir, name, gid)
		}
	}
	if errors.Is(err, unix.EADDRINUSE) {
		err = errors.New("another program listens there")
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return &Socket{Listener: l, path: path, name: name, dir: dir.File}, nil
}

func cause(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// listen gives the file its group between bind and listen, when no client can connect
// yet.
func listen(path string, dir *safepath.Dir, name string, gid int) (net.Listener, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if err := bind(fd, path, dir, name); err != nil {
		return nil, err
	}
	if gid >= 0 {
		err = setGroup(int(dir.Fd()), name, gid)
	}
	if err == nil {
		err = unix.Listen(fd, maxClients)
	}
	if err != nil {
		unix.Unlinkat(int(dir.Fd()), name, 0)
		return nil, err
	}
	return net.FileListener(f)
}

// bind makes the file with mode 0660 from the first. To change it by name later
// would change a file that another program has created there by then.
func bind(fd int, path string, dir *safepath.Dir, name string) error {
	// The umask is that of all threads: nothing else makes files now, and they
	// would get less and not more.
	defer unix.Umask(unix.Umask(0o777 &^ 0o660))
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: bindPath(path, dir, name)}); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || !isSocket(&st) {
		return errors.New("its directory has been exchanged meanwhile")
	}
	return nil
}

func isSocket(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFSOCK }

// stale reports whether name in dir is a socket on which no program listens any more; path
// leads to it, too.
func stale(path string, dir *os.File, name string) bool {
	var st unix.Stat_t
	if unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || !isSocket(&st) {
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
		unix.Unlinkat(int(s.dir.Fd()), s.name, 0)
		s.dir.Close()
	}
	return s.Listener.Close()
}
