package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience is how long tests wait for what should come at once.
const patience = 30 * time.Second

// recorder is a sink that remembers.
type recorder struct {
	mu    sync.Mutex
	lines []string
	gate  chan struct{} // if not nil, each line waits for one
}

func (r *recorder) writeLine(pri priority, line string) error {
	if r.gate != nil {
		<-r.gate
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf("%d %s", pri, line))
	return nil
}

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.lines...)
}

func TestLoggerKeepsOrder(t *testing.T) {
	r := &recorder{}
	l := newLogger(r)
	l.infof("one %d", 1)
	l.errorf("two\nlines\x00")
	assert.True(t, l.try(priNotice, "three"))
	l.flush()
	assert.Equal(t, []string{"6 one 1", "3 two lines ", "5 three"}, r.all())
}

// A log that hangs does not block callers that must not wait.
func TestLoggerDoesNotBlockPackets(t *testing.T) {
	r := &recorder{gate: make(chan struct{})}
	l := newLogger(r)
	taken := 0
	start := time.Now()
	for range 2 * logBacklog {
		if l.try(priInfo, "line") {
			taken++
		}
	}
	assert.Less(t, time.Since(start), patience, "a wait for each would take hours")
	assert.InDelta(t, logBacklog, taken, 1) // one more is with the sink
	close(r.gate)
	l.flush()
	assert.Len(t, r.all(), taken)
}

// fill takes all the room that a logger has, while its sink hangs.
func fill(l *logger) (lines int) {
	for quiet := 0; quiet < 10; { // one line more fits once the sink has taken its first
		if l.try(priInfo, "line") {
			lines++
		} else {
			quiet++
			time.Sleep(10 * time.Millisecond)
		}
	}
	return lines
}

// A sink that hangs is waited for once, not at each line, until it takes one.
func TestLoggerWaitsOnce(t *testing.T) {
	r := &recorder{gate: make(chan struct{})}
	l := newLogger(r)
	n := fill(l)
	start := time.Now()
	for range 50 {
		l.infof("lost")
	}
	took := time.Since(start)
	assert.Greater(t, took, 100*time.Millisecond)
	assert.Less(t, took, patience, "a wait for each would take 50 seconds")

	r.gate <- struct{}{} // one line gets through: the next is worth a wait again
	require.Eventually(t, func() bool { return len(r.all()) == 1 && !l.stuck.Load() }, patience, time.Millisecond)
	require.True(t, l.try(priInfo, "line"))
	time.AfterFunc(100*time.Millisecond, func() { close(r.gate) })
	l.infof("kept")
	l.flush()
	lines := r.all()
	assert.Len(t, lines, n+2)
	assert.Equal(t, "6 kept", lines[len(lines)-1])
}

// A sink that takes none of its lines gets none through, however long it takes
// over each: a log daemon that hangs.
func TestLoggerWaitsOnceForFailures(t *testing.T) {
	r := &slowFailure{}
	l := newLogger(r)
	fill(l)
	start := time.Now()
	for range 50 {
		l.infof("lost")
	}
	assert.Less(t, time.Since(start), patience, "a wait for each would take 50 seconds")
}

type slowFailure struct{}

func (*slowFailure) writeLine(priority, string) error {
	time.Sleep(1500 * time.Millisecond)
	return errors.New("i/o timeout")
}

// A reload with a lot to say, while no program reads the log, kept the daemon from
// its end for two minutes.
func TestEndWhileLogHangs(t *testing.T) {
	d, _, _ := inMemory(t, poolConf)
	d.log = newLogger(&recorder{gate: make(chan struct{})})
	require.NoError(t, os.WriteFile("maps", []byte(strings.Repeat("nonsense\n", 1000)), 0o644))
	d.maps = &mapSource{path: "maps", name: "maps"}
	signals, ended := d.inBackground()
	fill(d.log)
	signals <- syscall.SIGHUP
	select {
	case signals <- syscall.SIGTERM:
		require.NoError(t, <-ended)
	case <-time.After(patience):
		t.Fatal("still reloading")
	}
}

func TestTee(t *testing.T) {
	var all, errs strings.Builder
	w := tee{stream{&all}, stream{&errs}}
	w.writeLine(priInfo, "fine")
	w.writeLine(priWarning, "odd")
	w.writeLine(priError, "broken")
	assert.Equal(t, "fine\nodd\nbroken\n", all.String())
	assert.Equal(t, "odd\nbroken\n", errs.String())
}

func listen(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func receive(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 4096)
	n, err := conn.Read(b)
	require.NoError(t, err)
	return string(b[:n])
}

func TestSyslog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	conn := listen(t, path)
	s := &syslog{openDatagrams(path+".absent", path)}
	require.NoError(t, s.writeLine(priNotice, "a line"))
	// Facility daemon is 3, so 3*8 + 5.
	assert.Regexp(t, regexp.MustCompile(fmt.Sprintf(`^<29>[A-Z][a-z]{2} [ 123]\d \d\d:\d\d:\d\d tayga\[%d\]: a line$`, os.Getpid())), receive(t, conn))

	// The daemon is started anew: the next line finds it.
	conn.Close()
	os.Remove(path)
	assert.Error(t, s.writeLine(priError, "lost"))
	conn = listen(t, path)
	require.NoError(t, s.writeLine(priError, "found"))
	assert.Contains(t, receive(t, conn), ": found")
}

func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := &journal{openDatagrams(path)}
	assert.Error(t, j.writeLine(priInfo, "no reader")) // and that is all
	conn := listen(t, path)
	require.NoError(t, j.writeLine(priWarning, "a line = 1"))
	assert.Equal(t, "MESSAGE=a line = 1\nPRIORITY=4\nSYSLOG_IDENTIFIER=tayga\n", receive(t, conn))
}

func TestLeadsToJournal(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("systemd is at home on Linux")
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	require.NoError(t, err)
	defer f.Close()
	out, err := exec.Command("stat", "-c", "%d:%i", f.Name()).Output()
	require.NoError(t, err)
	stream := strings.TrimSpace(string(out))
	assert.True(t, leadsToJournal(f, stream))
	assert.False(t, leadsToJournal(f, stream+"1"))
	assert.False(t, leadsToJournal(f, ""))
}

func TestNotifier(t *testing.T) {
	open := func(value string) (*notifier, error) {
		t.Setenv("NOTIFY_SOCKET", value)
		n, err := openNotifier()
		_, still := os.LookupEnv("NOTIFY_SOCKET")
		assert.False(t, still, "left for children to find")
		return n, err
	}
	n, err := open("")
	require.NoError(t, err)
	assert.NoError(t, n.send("READY=1"))
	assert.NoError(t, (*notifier)(nil).send("READY=1"))

	path := filepath.Join(t.TempDir(), "notify")
	_, err = open(path)
	assert.True(t, errors.Is(err, os.ErrNotExist), err)
	_, err = open("relative")
	assert.ErrorContains(t, err, "neither a path nor an abstract name")

	conn := listen(t, path)
	n, err = open(path)
	require.NoError(t, err)
	require.NoError(t, n.send("READY=1", "STATUS=fine"))
	assert.Equal(t, "READY=1\nSTATUS=fine", receive(t, conn))

	name := fmt.Sprintf("@tayga-test-%d", os.Getpid())
	conn = listen(t, name)
	n, err = open(name)
	require.NoError(t, err)
	require.NoError(t, n.send("RELOADING=1", monotonic()))
	assert.Regexp(t, `^RELOADING=1\nMONOTONIC_USEC=[1-9]\d+$`, receive(t, conn))
}
