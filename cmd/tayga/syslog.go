package main

import (
	"net"
	"os"
	"strconv"
	"time"
)

// syslogSockets are where syslog daemons listen.
var syslogSockets = []string{"/dev/log", "/var/run/syslog", "/var/run/log"}

// sinkPatience is how long a log daemon may take for a line.
const sinkPatience = 500 * time.Millisecond

// A syslog writes to the local syslog daemon: identity tayga, with the process
// id, facility daemon. It is opened at once, since the sockets are out of reach
// in a jail. Without a daemon the lines are lost, as with syslog(3).
type syslog struct {
	sockets []string
	conn    net.Conn
}

func openSyslog() *syslog {
	s := &syslog{sockets: syslogSockets}
	s.dial()
	return s
}

func (s *syslog) dial() (err error) {
	for _, path := range s.sockets {
		if s.conn, err = net.Dial("unixgram", path); err == nil {
			return nil
		}
	}
	s.conn = nil
	return err
}

// writeLine sends one datagram in the form of RFC 3164 §4.1 that local daemons
// take: no host name.
func (s *syslog) writeLine(pri priority, line string) error {
	const daemon = 3 << 3
	b := make([]byte, 0, 64+len(line))
	b = append(b, '<')
	b = strconv.AppendUint(b, daemon|uint64(pri), 10)
	b = append(b, '>')
	b = time.Now().AppendFormat(b, time.Stamp)
	b = append(b, " tayga["...)
	b = strconv.AppendInt(b, int64(os.Getpid()), 10)
	b = append(b, "]: "...)
	b = append(b, line...)
	err := s.send(b)
	if err != nil && s.dial() == nil { // the daemon was started anew
		err = s.send(b)
	}
	return err
}

func (s *syslog) send(b []byte) error {
	if s.conn == nil {
		return net.ErrClosed
	}
	s.conn.SetWriteDeadline(time.Now().Add(sinkPatience))
	_, err := s.conn.Write(b)
	if err != nil {
		s.conn.Close()
		s.conn = nil
	}
	return err
}
