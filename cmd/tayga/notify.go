package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/plain"
)

// A notifier tells systemd about the state of the service: sd_notify(3). The
// zero value notifies no one.
type notifier struct{ conn net.Conn }

// openNotifier connects to the socket that NOTIFY_SOCKET names, and takes the
// variable out of the environment. An empty or absent one is no error; one that
// leads nowhere is, since the service manager would wait in vain.
func openNotifier() (*notifier, error) {
	path, found := os.LookupEnv("NOTIFY_SOCKET")
	os.Unsetenv("NOTIFY_SOCKET")
	if !found || path == "" {
		return &notifier{}, nil
	}
	if path[0] != '/' && path[0] != '@' {
		return nil, fmt.Errorf("NOTIFY_SOCKET %q is neither a path nor an abstract name", path)
	}
	conn, err := net.Dial("unixgram", path) // @ is understood
	if err != nil {
		return nil, fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	return &notifier{conn}, nil
}

// send tells systemd some assignments such as READY=1.
func (n *notifier) send(assignments ...string) error {
	if n == nil || n.conn == nil {
		return nil
	}
	for i := range assignments {
		assignments[i] = plain.Line(assignments[i]) // a line feed would begin another one
	}
	n.conn.SetWriteDeadline(time.Now().Add(sinkPatience))
	_, err := n.conn.Write([]byte(strings.Join(assignments, "\n")))
	return err
}

// monotonic is the time in the form that RELOADING=1 wants beside it.
func monotonic() string {
	return fmt.Sprintf("MONOTONIC_USEC=%d", monotonicNow()/time.Microsecond)
}

// monotonicNow returns the time by CLOCK_MONOTONIC, 0 if the system has none.
func monotonicNow() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// status is a line for systemctl status.
func (d *daemon) status() string {
	s := fmt.Sprintf("STATUS=Translating on %s, %d workers", d.dev.Name(), len(d.queues))
	if d.foreign.queues > 0 {
		s += fmt.Sprintf("; %s", foreignQueues(d.foreign.queues))
	}
	if d.helperLost() {
		s += "; the privileged helper has ended"
	}
	return s
}
