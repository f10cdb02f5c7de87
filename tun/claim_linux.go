package tun

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// claim takes a lock on the device's name. The kernel lets any number of programs attach
// to a device with multiple queues, and would distribute the packets among them. An
// abstract socket belongs to the network namespace, as the device does, and disappears
// with the process. Programs that do not use the lock are found by queuesInUse. Since any
// local user in the namespace may bind the socket, the kernel's number of queues counts
// more than the socket.
func (d *Device) claim() (err error) {
	d.lock, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("tun: socket: %w", err)
	}
	err = unix.Bind(d.lock, &unix.SockaddrUnix{Name: "@steppe-tun/" + d.name})
	if errors.Is(err, unix.EADDRINUSE) {
		if unused(d.name) {
			return nil
		}
		return explain(d.name, unix.EBUSY)
	}
	if err != nil {
		return fmt.Errorf("tun: lock %s: %w", d.name, err)
	}
	return nil
}

// settle is how long a process that has bound the socket may take to attach.
const settle = 250 * time.Millisecond

// unused reports whether, for as long as settle, the kernel reports no program that is
// attached to the named device.
func unused(name string) bool {
	for end := time.Now().Add(settle); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if n, ok := queuesInUse(name); n > 0 || !ok {
			return false
		}
	}
	return true
}
