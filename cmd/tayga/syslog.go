package main

import (
	"os"
	"strconv"
	"time"
)

// syslogSockets are where syslog daemons listen.
var syslogSockets = []string{"/dev/log", "/var/run/syslog", "/var/run/log"}

// A syslog writes to the local syslog daemon: identity tayga, with the process
// id, facility daemon. Without a daemon the lines are lost, as with syslog(3).
type syslog struct{ to *datagrams }

func openSyslog() *syslog { return &syslog{openDatagrams(syslogSockets...)} }

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
	return s.to.send(b)
}
