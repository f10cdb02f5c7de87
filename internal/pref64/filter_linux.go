package pref64

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// onInterface accepts what has been received on an interface.
func onInterface(index uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: index, SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	}
}

func anything() []bpf.Instruction { return []bpf.Instruction{bpf.RetConstant{Val: 1 << 16}} }

func nothing() []bpf.Instruction { return []bpf.Instruction{bpf.RetConstant{Val: 0}} }

// filter says what the sockets receive. Unlike to bind a socket to another interface, that
// needs no privilege, and it may be changed at any time.
func (s *sockets) filter(program []bpf.Instruction) error {
	code, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	list := make([]unix.SockFilter, len(code))
	for i, c := range code {
		list[i] = unix.SockFilter{Code: c.Op, Jt: c.Jt, Jf: c.Jf, K: c.K}
	}
	raw, err := s.raw()
	if err != nil {
		return err
	}
	var attached error
	if err := raw.Control(func(fd uintptr) {
		attached = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(list)), Filter: &list[0]})
	}); err != nil {
		return err
	}
	return attached
}
