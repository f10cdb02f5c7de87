package tun_test

import (
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/tun"
)

// A process that has no privilege: another one attaches, at the other end of a unix
// socket, and sends the descriptors of the queues by SCM_RIGHTS.
func ExampleOpenAttached() {
	var other *net.UnixConn // to a process that calls sendQueues

	d, err := tun.OpenAttached(tun.Config{Name: "nat64"}, func() (tun.Attached, error) {
		if other == nil {
			return tun.Attached{}, fmt.Errorf("no other process")
		}
		oob := make([]byte, unix.CmsgSpace(4*tun.MaxQueues))
		other.SetReadDeadline(time.Now().Add(time.Second))
		_, n, _, _, err := other.ReadMsgUnix(make([]byte, 1), oob)
		if err != nil {
			return tun.Attached{}, err
		}
		messages, err := unix.ParseSocketControlMessage(oob[:n])
		if err != nil || len(messages) != 1 {
			return tun.Attached{}, fmt.Errorf("no descriptors: %v", err)
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		return tun.Attached{FDs: fds}, err
	})
	if err != nil {
		fmt.Println("cannot attach")
		return
	}
	defer d.Close()
	// Output:
	// cannot attach
}

// The other process, which has the privilege and does not read packets.
func ExampleAttach() {
	sendQueues := func(c *net.UnixConn) error {
		a, err := tun.Attach(tun.Config{Name: "nat64", Plain: true})
		if err != nil {
			return err
		}
		defer a.Close()
		_, _, err = c.WriteMsgUnix([]byte{1}, unix.UnixRights(a.FDs...), nil)
		return err
	}
	_ = sendQueues
}
