package main

import (
	"errors"
	"net/netip"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/hostnet"
	"github.com/steppe-nat64/steppe/internal/plain"
	"github.com/steppe-nat64/steppe/internal/privsep"
	"github.com/steppe-nat64/steppe/internal/sandbox"
	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/tun"
)

// help is main in the helper. It does what the daemon asks for until that has ended.
func help() int {
	s, h, text, err := enterHelper()
	if err == nil {
		err = s.Serve(h, text)
		err = errors.Join(err, h.undo())
	}
	if errors.Is(err, privsep.ErrUnused) {
		return 1
	}
	if err != nil {
		printError(os.Stderr, err)
		return 1
	}
	return 0
}

// enterHelper makes this process the helper, which drops all privileges but that for which
// it is there. The text says what its sandbox is. The signals that end or reload the
// daemon are not for the helper.
func enterHelper() (s *privsep.Server, h handler, text string, err error) {
	signal.Ignore(append(handledSignals, unix.SIGPIPE)...)
	if s, err = privsep.Connect(); err != nil {
		return nil, h, "", err
	}
	h = handlerFor(s)
	p := s.Config.Network
	privsep.Prepare(p != nil)
	if p != nil {
		h.manager, err = hostnet.Open(status.Dir, *p)
		if h.manager == nil {
			return nil, h, "", err
		}
		if err != nil { // what an earlier run has left is not all undone
			text, err = "\n"+plain.Line(err.Error()), nil
		}
	}
	if !s.Config.Sandbox {
		return s, h, "no" + text, nil
	}
	c := sandbox.Config{Calls: sandbox.Helping, FastPath: s.Config.FastPath, Network: p != nil}
	if s.Config.Admin {
		c.Paths = []sandbox.Path{{Name: tunPath, Access: sandbox.UseDevice}}
		c.Keep = sandbox.NetAdmin
	}
	if p != nil {
		c.Paths = append(c.Paths, networkPaths()...)
	}
	r := sandbox.Enter(c)
	return s, h, r.String() + text, nil
}

// networkPaths are what a helper opens that changes settings of the network: the settings,
// its journal, and what says which resolvers there are. That file is replaced by other
// programs, so its directory counts.
func networkPaths() []sandbox.Path {
	list := []sandbox.Path{{Name: "/proc/sys/net", Access: sandbox.KeepFiles}, {Name: status.Dir, Access: sandbox.KeepFiles}}
	for _, dir := range resolvConfDirs() {
		list = append(list, sandbox.Path{Name: dir, Access: sandbox.ReadFiles})
	}
	return list
}

// A handler carries out the operations of the helper.
type handler struct {
	kernelLink
	device  tun.Config
	manager *hostnet.Manager // nil: the network is none of its business
}

// Network makes the network of the machine as listed.
func (h handler) Network(list []hostnet.Change) error { return h.manager.Apply(list) }

// Resolvers returns the resolvers of the machine.
func (h handler) Resolvers() []netip.Addr { return readResolvConf() }

// undo makes the network as it was, when the daemon has ended, however that was.
func (h handler) undo() error {
	if h.manager == nil {
		return nil
	}
	return h.manager.Close()
}

// Attach opens the queues of the device.
func (h handler) Attach() (tun.Attached, error) { return tun.Attach(h.device) }

// FastPath attaches the program to the device.
func (h handler) FastPath(program int) (fd int, err error) {
	a, err := attachProgram(program, h.device.Name)
	if err != nil {
		return -1, err
	}
	defer a.Close()
	return unix.FcntlInt(uintptr(a.FD()), unix.F_DUPFD_CLOEXEC, 0)
}

func handlerFor(s *privsep.Server) handler {
	return handler{kernelLink: kernelLink(s.Config.Device.Name), device: s.Config.Device}
}
