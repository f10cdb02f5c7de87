package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

const journalSocket = "/run/systemd/journal/socket"

// A journal writes to the systemd journal in its native protocol: a datagram
// of FIELD=value lines. A missing socket is no error; the lines are lost.
type journal struct{ to *datagrams }

func openJournal() *journal { return &journal{openDatagrams(journalSocket)} }

// writeLine sends the fields that TAYGA sends, but for the place in its source.
func (j *journal) writeLine(pri priority, line string) error {
	var b strings.Builder
	b.WriteString("MESSAGE=")
	b.WriteString(line) // holds no line feed: see newLogger
	b.WriteString("\nPRIORITY=")
	b.WriteString(strconv.Itoa(int(pri)))
	b.WriteString("\nSYSLOG_IDENTIFIER=tayga\n")
	return j.to.send([]byte(b.String()))
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
