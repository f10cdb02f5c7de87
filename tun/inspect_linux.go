package tun

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Inspect queries the kernel about the named device of this network namespace. It needs
// no privilege. The error wraps ENODEV if there is no interface of that name, and
// errors.ErrUnsupported if it is no TUN device, or if the kernel is older than 4.17.
func Inspect(name string) (Info, error) {
	err := checkName(name)
	if err != nil {
		return Info{}, err
	}
	s, err := routeSocket()
	if err != nil {
		return Info{}, err
	}
	defer unix.Close(s)
	i, err := inspect(s, name)
	if err != nil {
		return Info{}, fmt.Errorf("tun: inspect %s: %w", name, err)
	}
	return i, nil
}

// routeSocket opens a route netlink socket for queries.
func routeSocket() (int, error) {
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, fmt.Errorf("tun: netlink socket: %w", err)
	}
	return s, nil
}

// inspect is Inspect on a route netlink socket. The index is also valid with
// ErrUnsupported.
func inspect(s int, name string) (Info, error) {
	i := Info{UID: -1, GID: -1}
	b := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg, 128)
	b = appendString(b, unix.IFLA_IFNAME, name)
	answer, err := talk(s, unix.RTM_GETLINK, 0, b)
	if err != nil {
		return i, err
	}
	if len(answer) < unix.SizeofIfInfomsg {
		return i, errors.ErrUnsupported
	}
	i.Index = int(int32(binary.NativeEndian.Uint32(answer[4:])))
	info := attribute(answer[unix.SizeofIfInfomsg:], unix.IFLA_LINKINFO)
	data := attribute(info, unix.IFLA_INFO_DATA)
	if kind := attribute(info, unix.IFLA_INFO_KIND); string(kind) != "tun\x00" || data == nil {
		return i, errors.ErrUnsupported
	}
	for _, x := range []struct {
		typ uint16
		to  *bool
	}{{unix.IFLA_TUN_MULTI_QUEUE, &i.MultiQueue}, {unix.IFLA_TUN_PERSIST, &i.Persistent}} {
		v := attribute(data, x.typ)
		*x.to = len(v) == 1 && v[0] != 0
	}
	for _, x := range []struct {
		typ uint16
		to  *int
	}{{unix.IFLA_TUN_OWNER, &i.UID}, {unix.IFLA_TUN_GROUP, &i.GID}} {
		if v := attribute(data, x.typ); len(v) >= 4 {
			*x.to = int(binary.NativeEndian.Uint32(v))
		}
	}
	for _, typ := range []uint16{unix.IFLA_TUN_NUM_QUEUES, unix.IFLA_TUN_NUM_DISABLED_QUEUES} {
		if v := attribute(data, typ); len(v) >= 4 {
			i.Queues += int(binary.NativeEndian.Uint32(v))
		}
	}
	return i, nil
}

// removeLink deletes the interface with that index, even if programs have it open.
func removeLink(index int) error {
	s, err := routeSocket()
	if err != nil {
		return err
	}
	defer unix.Close(s)
	m := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(m[unix.SizeofNlMsghdr+4:], uint32(index))
	_, err = talk(s, unix.RTM_DELLINK, unix.NLM_F_ACK, m)
	return err
}

// talk sends the request b, which has room for its header before it, and returns
// what follows the header of the answer: nil for an acknowledgement. The kernel
// answers before sendto returns.
func talk(s int, typ, flags uint16, b []byte) ([]byte, error) {
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], typ)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|flags)
	if err := unix.Sendto(s, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	answer := make([]byte, 1<<15)
	size, _, err := unix.Recvfrom(s, answer, 0)
	if err != nil {
		return nil, err
	}
	if size < unix.SizeofNlMsghdr+4 {
		return nil, errors.ErrUnsupported
	}
	switch binary.NativeEndian.Uint16(answer[4:]) {
	case unix.NLMSG_ERROR:
		if errno := -int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])); errno != 0 {
			return nil, unix.Errno(errno)
		}
		return nil, nil
	case unix.RTM_NEWLINK:
		return answer[unix.SizeofNlMsghdr:size], nil
	}
	return nil, errors.ErrUnsupported
}

// appendString appends a netlink attribute that holds a string.
func appendString(b []byte, typ uint16, s string) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(s)+1))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, s...)
	return append(b, make([]byte, 4-len(s)%4)...) // a zero at least, and up to a multiple of 4
}

// queuesInUse queries how many queues of the named device programs have open. It reports
// false if the kernel is older than 4.17. A device that does not exist has none; nor does
// one with a single queue, which programs cannot share.
func queuesInUse(name string) (n int, ok bool) {
	i, err := Inspect(name)
	if errors.Is(err, unix.ENODEV) {
		return 0, true
	}
	return i.Queues, err == nil
}

// attribute returns the value of a netlink attribute, nil if there is none.
func attribute(b []byte, typ uint16) []byte {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return nil
		}
		if binary.NativeEndian.Uint16(b[2:])&^unix.NLA_F_NESTED == typ {
			return b[4:n]
		}
		b = b[min(len(b), (n+3)&^3):]
	}
	return nil
}
