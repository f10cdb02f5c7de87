package privsep

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/hostnet"
	"github.com/steppe-nat64/steppe/tun"
)

// A Handler carries out the operations of the helper.
type Handler interface {
	Attach() (tun.Attached, error)
	Up() error
	AddIP(netip.Prefix) error
	AddRoute(netip.Prefix) error
	// FastPath attaches the program, by its descriptor. What it returns is that of the
	// attachment, which the caller closes.
	FastPath(program int) (fd int, err error)
	// Network makes the network of the machine as listed.
	Network([]hostnet.Change) error
	// Resolvers returns the resolvers of the machine.
	Resolvers() []netip.Addr
}

// A Server is the helper's end of the pair of sockets.
type Server struct {
	Config *Config
	fd     int
}

// ErrUnused is the error of Connect if the daemon ended before it needed the helper, and
// has said why.
var ErrUnused = errors.New("the daemon has ended")

// Connect takes what a process that is Marked was started with. The error says that it
// was not started by a daemon.
func Connect() (*Server, error) {
	kind, err := unix.GetsockoptInt(socketFD, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_SEQPACKET {
		return nil, errors.New("only tayga starts its helper")
	}
	peer, err := unix.GetsockoptUcred(socketFD, unix.SOL_SOCKET, unix.SO_PEERCRED)
	switch {
	case err == nil && int(peer.Pid) == os.Getppid():
	case closed(socketFD):
		return nil, ErrUnused
	default:
		return nil, errors.New("only tayga starts its helper, and it has ended")
	}
	unix.CloseOnExec(socketFD)
	unix.CloseOnExec(programFD) // which may not be there
	b, err := io.ReadAll(io.LimitReader(os.Stdin, maxConfig+1))
	if err != nil {
		return nil, fmt.Errorf("configuration of the helper: %w", err)
	}
	if len(b) == 0 {
		return nil, ErrUnused
	}
	if len(b) > maxConfig {
		return nil, errors.New("configuration of the helper: too long")
	}
	c, err := decodeConfig(b)
	if err != nil {
		return nil, fmt.Errorf("configuration of the helper: %w", err)
	}
	return &Server{Config: c, fd: socketFD}, nil
}

// closed reports whether the other end of a socket is closed.
func closed(fd int) bool {
	n, _, err := unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return n == 0 && err == nil
}

// Serve says that the helper is ready, with a text about its sandbox, and answers
// requests until the daemon has ended.
func (s *Server) Serve(h Handler, text string) error {
	if err := s.send(reply{text: text}, nil); err != nil {
		return err
	}
	for {
		b := make([]byte, maxRequest)
		n, flags, err := s.receive(b)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil // the daemon has ended
		}
		if err := s.answer(h, b[:n], flags); err != nil {
			return err
		}
	}
}

// receive reads one message, of no bytes if the peer has exited. There is no room for
// descriptors: the kernel closes those that come with it, and says so in the flags.
func (s *Server) receive(b []byte) (n, flags int, err error) {
	for {
		n, _, flags, _, err = unix.Recvmsg(s.fd, b, nil, unix.MSG_CMSG_CLOEXEC)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ECONNRESET): // and left a reply unread
			return 0, 0, nil
		default:
			return n, flags, err
		}
	}
}

// answer carries out a request, if it is one and the configuration covers it.
func (s *Server) answer(h Handler, b []byte, flags int) error {
	r, err := decodeRequest(b)
	switch {
	case flags&unix.MSG_TRUNC != 0:
		err = errMalformed
	case flags&unix.MSG_CTRUNC != 0:
		err = errors.New("a descriptor came with it")
	}
	if err == nil {
		err = s.Config.allows(r)
	}
	if err != nil {
		return s.send(reply{code: codeRefused, text: err.Error()}, nil)
	}
	switch r.op {
	case opAttach:
		a, err := h.Attach()
		defer a.Close() // the daemon has them
		answer := replyTo(err)
		answer.features = a.Features
		return s.send(answer, a.FDs)
	case opUp:
		err = h.Up()
	case opAddIP:
		err = h.AddIP(r.prefix)
	case opAddRoute:
		err = h.AddRoute(r.prefix)
	case opFastPath:
		var fd int
		if fd, err = h.FastPath(programFD); err == nil {
			defer unix.Close(fd) // the daemon has it
			return s.send(reply{}, []int{fd})
		}
	case opNetwork:
		var list []hostnet.Change
		if list, err = decodeChanges([]byte(r.list)); err == nil {
			err = h.Network(list)
		}
	case opResolvers:
		return s.send(reply{text: encodeAddrs(h.Resolvers())}, nil)
	}
	return s.send(replyTo(err), nil)
}

func (s *Server) send(r reply, fds []int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	for {
		err := unix.Sendmsg(s.fd, r.encode(), rights, nil, unix.MSG_NOSIGNAL)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
			return nil // the next message is the end
		default:
			return err
		}
	}
}
