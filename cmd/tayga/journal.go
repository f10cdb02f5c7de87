package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const journalSocket = "/run/systemd/journal/socket"

// A journal writes to the systemd journal in its native protocol: a datagram
// of FIELD=value lines. A missing socket is no error; the lines are lost.
type journal struct {
	path string
	conn net.Conn
}

func openJournal() *journal {
	j := &journal{path: journalSocket}
	j.dial()
	return j
}

func (j *journal) dial() (err error) {
	j.conn, err = net.Dial("unixgram", j.path)
	return err
}

// writeLine sends the fields that TAYGA sends, but for the place in its source.
func (j *journal) writeLine(pri priority, line string) error {
	if j.conn == nil && j.dial() != nil {
		return net.ErrClosed
	}
	var b strings.Builder
	b.WriteString("MESSAGE=")
	b.WriteString(line) // holds no line feed: see oneLine
	b.WriteString("\nPRIORITY=")
	b.WriteString(strconv.Itoa(int(pri)))
	b.WriteString("\nSYSLOG_IDENTIFIER=tayga\n")
	j.conn.SetWriteDeadline(time.Now().Add(sinkPatience))
	_, err := j.conn.Write([]byte(b.String()))
	if err != nil {
		j.conn.Close()
		j.conn = nil
	}
	return err
}

// leadsToJournal reports whether a file is the one that systemd has connected to
// the journal: JOURNAL_STREAM holds its device and inode numbers, systemd.exec(5).
func leadsToJournal(f *os.File, stream string) bool {
	fi, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}
