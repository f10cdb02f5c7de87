package fastpath

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// An Attachment is the program at a device. It ends when every process that has its
// descriptor has closed it or has ended, whichever way, and with the device.
type Attachment struct{ link link.Link }

// Attach attaches a program, by its descriptor, to the egress of the device with an index, in
// the network namespace of the calling thread, after programs that are there. That takes no
// capability of a process that has the descriptor.
func Attach(program, ifindex int) (*Attachment, error) {
	fd, err := unix.FcntlInt(uintptr(program), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("fastpath: attach: %w", err)
	}
	p, err := ebpf.NewProgramFromFD(fd)
	if err != nil {
		return nil, fmt.Errorf("fastpath: attach: %s", oneLine(err))
	}
	defer p.Close()
	l, err := link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: p, Attach: ebpf.AttachTCXEgress})
	if err != nil {
		return nil, fmt.Errorf("fastpath: attach to device %d: %s", ifindex, oneLine(err))
	}
	return &Attachment{l}, nil
}

// OpenAttachment takes an Attachment that another process has made, by the descriptor that FD
// returned there, which it closes if it fails.
func OpenAttachment(fd int) (*Attachment, error) {
	l, err := link.NewFromFD(fd)
	if err != nil {
		return nil, fmt.Errorf("fastpath: attachment: %s", oneLine(err))
	}
	a := &Attachment{l}
	if info, err := l.Info(); err != nil || info.TCX() == nil {
		a.Close()
		return nil, fmt.Errorf("fastpath: attachment: a descriptor of something else")
	}
	return a, nil
}

// FD returns the descriptor. It stays that of the Attachment.
func (a *Attachment) FD() int { return a.link.(interface{ FD() int }).FD() }

// Device returns the index of the device. It is 0 if the program is not attached any more,
// because the device was deleted or another program has detached it.
func (a *Attachment) Device() int {
	info, err := a.link.Info()
	if err != nil {
		return 0
	}
	return int(info.TCX().Ifindex)
}

// Close closes the descriptor: the program is detached if no other process has it.
func (a *Attachment) Close() error {
	if err := a.link.Close(); err != nil {
		return fmt.Errorf("fastpath: detach: %w", err)
	}
	return nil
}
