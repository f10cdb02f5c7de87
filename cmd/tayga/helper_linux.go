package main

import (
	"errors"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/privsep"
	"github.com/steppe-nat64/steppe/internal/sandbox"
	"github.com/steppe-nat64/steppe/tun"
)

// help is main in the helper. It does what the daemon asks for until that has ended.
func help() int {
	s, text, err := enterHelper()
	if err == nil {
		err = s.Serve(handlerFor(s), text)
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
func enterHelper() (s *privsep.Server, text string, err error) {
	signal.Ignore(append(handledSignals, unix.SIGPIPE)...)
	if s, err = privsep.Connect(); err != nil {
		return nil, "", err
	}
	privsep.Prepare()
	if !s.Config.Sandbox {
		return s, "no", nil
	}
	c := sandbox.Config{Calls: sandbox.Helping, FastPath: s.Config.FastPath}
	if s.Config.Admin {
		c.Paths = []sandbox.Path{{Name: tunPath, Access: sandbox.UseDevice}}
		c.Keep = sandbox.NetAdmin
	}
	r := sandbox.Enter(c)
	return s, r.String(), nil
}

// A handler carries out the operations of the helper.
type handler struct {
	kernelLink
	device tun.Config
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
	return handler{kernelLink(s.Config.Device.Name), s.Config.Device}
}
