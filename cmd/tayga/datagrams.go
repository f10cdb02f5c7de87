package main

import (
	"errors"
	"net"
	"os"
	"time"
)

// sinkPatience is how long a log daemon may take for a line.
const sinkPatience = 500 * time.Millisecond

// datagrams sends to a daemon of this machine that listens on a unix socket. The
// first socket is connected at once, since paths are out of reach in a jail. The
// sandbox lets no socket connect, so if that daemon is started again, another
// socket names the path in each datagram.
type datagrams struct {
	paths     []string      // the first that takes a datagram is used
	connected *net.UnixConn // nil once it has failed
	free      *net.UnixConn // nil until it is needed
}

// openDatagrams connects to the first path where a daemon listens. If there is
// none, the next datagram tries all paths again.
func openDatagrams(paths ...string) *datagrams {
	d := &datagrams{paths: paths}
	for _, path := range paths {
		conn, err := net.DialUnix("unixgram", nil, unixgram(path))
		if err == nil {
			d.connected = conn
			break
		}
	}
	return d
}

func unixgram(path string) *net.UnixAddr { return &net.UnixAddr{Name: path, Net: "unixgram"} }

// send sends one datagram. It waits for no longer than sinkPatience.
func (d *datagrams) send(b []byte) error {
	deadline := time.Now().Add(sinkPatience)
	if d.connected != nil {
		d.connected.SetWriteDeadline(deadline)
		_, err := d.connected.Write(b)
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		d.connected.Close()
		d.connected = nil
	}
	return d.sendFree(b, deadline)
}

func (d *datagrams) sendFree(b []byte, deadline time.Time) (err error) {
	if d.free == nil {
		if d.free, err = net.ListenUnixgram("unixgram", unixgram("")); err != nil {
			return err
		}
	}
	d.free.SetWriteDeadline(deadline)
	for _, path := range d.paths {
		if _, err = d.free.WriteToUnix(b, unixgram(path)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return err
}
