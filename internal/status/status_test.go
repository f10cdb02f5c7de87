package status

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sample is a report with something in every field.
var sample = Report{
	Version: "1.0 (steppe)",
	PID:     42,
	Netns:   4026531840,
	Config:  "/etc/tayga.conf",
	Started: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC),
	Uptime:  86400 + 61,
	Device: Device{
		Name: "nat64", Present: true, Up: true, MTU: 1500, Workers: 2,
		Offloads: []string{"checksum", "tso"}, Refused: []uint64{1, 2},
	},
	MSSClamp: 1440,
	Helper:   &Helper{PID: 43, Alive: true},
	Packets: []Count{
		{"4to6", "forward", "translated", 10, 1000},
		{"4to6", "drop", "no-destination", 1, 20},
		{"6to4", "forward", "translated", 3, 300},
	},
	FastPath: &FastPath{
		On: true, Kernel: Share{9, 800}, Daemon: Share{4, 500},
		Counts: []FastCount{
			{"4to6", "by-host", true, 7, 77, 600}, {"6to4", "by-session", true, 2, 2, 200},
			{"6to4", "unknown", false, 3, 3, 300}, {"6to4", "dropped", false, 1, 1, 60},
		},
	},
	ErrorsHeldBack: 5, MTUErrorsHeldBack: 2,
	Pool:    &Pool{Size: 254, Held: 1, Dormant: 2, Refused: 3},
	Maps:    Maps{Config: 1, MapFile: 2},
	Reloads: Reloads{OK: 4, Failed: 1},
}

// sampleShared is the part of a report that a stateful pool adds.
var sampleShared = Shared{
	Sessions: []SessionCount{{"tcp", "established", 90}, {"tcp", "trans", 0}, {"tcp", "v6-init", 10}, {"udp", "udp", 20}},
	Total:    Use{120, 262144}, HalfOpen: Use{10, 65536}, Inbound: Use{1, 65536}, HeldSYN: Use{0, 10},
	Bindings: []BindingCount{{"tcp", 95}, {"udp", 20}}, Static: Maps{2, 1},
	Hosts: 12, Subscribers: 9, Memory: 12 << 20,
	Made:      []Made{{"tcp", 1000}, {"udp", 300}},
	Ended:     []Ended{{"trans", 900}, {"udp", 280}},
	Denied:    []Denial{{"6to4", "no-port", 4}, {"6to4", "session-limit", 3}, {"4to6", "no-binding", 77}},
	Limited:   []Limited{{"per-prefix", 3}},
	Addresses: List[Address]{Entries: []Address{{"203.0.113.7", 12, Use{95, 64512}, Use{20, 64512}, Use{0, 65536}, 5}}, LeftOut: 2},
	Fullest:   []Subscriber{{"2001:db8:1::/64", 3, 70, 8, 1, 0}},
	PrefixLen: 64, PerPrefix: 65536,
}

// sampleSessions are pages of a listing: the second one is empty, and not the last.
var sampleSessions = map[uint32]*SessionList{
	0:      {Entries: []Session{{"tcp", "established", "[2001:db8:1::5]:40000", "203.0.113.7:20001", "198.51.100.9:443", 3, 7437}}, Next: 65536},
	65536:  {Entries: []Session{}, Next: 131072},
	131072: {Entries: []Session{{"icmp", "icmp", "[2001:db8:1::6]:77", "203.0.113.7:4711", "198.51.100.9", 0, 60}}},
}

// tellAsked answers with the sample.
func tellAsked(r Request) *Report {
	answer := tell(r.What)
	if r.What == Sessions {
		answer.Shared, answer.SessionList = &sampleShared, sampleSessions[r.Query.Page]
	}
	return answer
}

// tell is tellAsked without a stateful pool.
func tell(what What) *Report {
	r := sample
	switch what {
	case Leases:
		r.LeaseList = &List[Lease]{Entries: []Lease{{"192.0.2.1", "2001:db8::1", "held", r.Started}}, LeftOut: 7}
	case MapList:
		r.MapList = &List[Map]{Entries: []Map{{"192.0.2.0/24", "2001:db8::/120"}}}
	}
	return &r
}

// serveSample serves the sample on a socket of the test's own.
func serveSample(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "sock")
	s, err := Listen(path, -1, false)
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		Serve(s, tellAsked)
		close(ended)
	}()
	t.Cleanup(func() {
		s.Close()
		<-ended
	})
	return path
}

func TestAsk(t *testing.T) {
	path := serveSample(t)
	for _, what := range whats[:3] {
		got, err := Ask(path, what)
		require.NoError(t, err)
		assert.Equal(t, tell(what), got)
	}
}

// Without a helper, and after it has ended, the table says so.
func TestTableOfHelper(t *testing.T) {
	for want, h := range map[string]*Helper{
		"":                                nil,
		"privileged helper: process 43\n": {PID: 43, Alive: true},
		"privileged helper: process 43 has ended:": {PID: 43},
	} {
		var b strings.Builder
		require.NoError(t, (&Report{Helper: h}).WriteTable(&b))
		assert.Contains(t, b.String(), want)
		assert.Equal(t, h != nil, strings.Contains(b.String(), "helper"))
	}
}

func TestTable(t *testing.T) {
	r := tell(Leases)
	r.MapList = tell(MapList).MapList
	r.LeaseList.Entries[0].Used = r.Started.Local()
	var b strings.Builder
	require.NoError(t, r.WriteTable(&b))
	assert.Equal(t, `tayga 1.0 (steppe), process 42, /etc/tayga.conf, up 1d1m1s
device nat64: up, MTU 1500, workers: 2, offloads: checksum tso, write errors: 3
tcp-mss-clamp: 1440 bytes
privileged helper: process 43
fast path: on: the kernel translates plain packets
maps: 1 in the configuration, 2 in the map-file; reloads: 4, and 1 that failed
dynamic pool: 254 addresses, 1 held, 2 dormant, 3 requests refused
ICMP errors held back by the rate limit: 5
path MTU errors among them: 2

direction  verdict  reason                        packets               bytes
4to6       all                                         11                1020
4to6       forward  translated                         10                1000
4to6       drop     no-destination                      1                  20
6to4       all                                          3                 300
6to4       forward  translated                          3                 300

translated by          packets     share               bytes     share
kernel                       9    69.2 %                 800    61.5 %
daemon                       4    30.8 %                 500    38.5 %

direction  fast path   reason                 packets         segments               bytes
4to6       translated  by-host                      7               77                 600
6to4       translated  by-session                   2                2                 200
6to4       to daemon   unknown                      3                3                 300
6to4       not sent    dropped                      1                1                  60

IPv4             IPv6                                     state    last used
192.0.2.1        2001:db8::1                              held     `+r.Started.Local().Format(time.DateTime)+`
and 7 more

IPv4                IPv6
192.0.2.0/24        2001:db8::/120
`, b.String())

	b.Reset()
	require.NoError(t, (&Report{Device: Device{Name: "nat64"}}).WriteTable(&b))
	assert.Contains(t, b.String(), "device nat64: deleted, and waited for\n")
	assert.Contains(t, b.String(), "no dynamic pool\n")
	assert.Contains(t, b.String(), "no packets yet\n")
	assert.ErrorIs(t, r.WriteTable(brokenWriter{}), io.ErrClosedPipe)
}

// TestTableOfFastPath: off, the table has the reason; with a daemon that knows of no fast path,
// nothing; and no figures of a server make it anything but a table.
func TestTableOfFastPath(t *testing.T) {
	const most = 1<<64 - 1
	for _, c := range []struct {
		name    string
		f       *FastPath
		want    []string
		wantNot string
	}{
		{"none", nil, nil, "fast path"},
		{"on", &FastPath{On: true, Kernel: Share{3, 300}, Daemon: Share{1, 100}}, []string{"fast path: on", " 75.0 %"}, "segments"},
		{"off", &FastPath{Off: "fast-path off"}, []string{"fast path: off: fast-path off\n"}, "kernel"},
		{"no-packets", &FastPath{On: true}, []string{"kernel                       0         -"}, "%"},
		{"hostile-off", &FastPath{Off: "a\x1b[2J\nb" + strings.Repeat("x", 1000)}, []string{"fast path: off: a?[2J b", "…\n"}, "\x1b"},
		{"sum-overflows", &FastPath{On: true, Kernel: Share{most, most}, Daemon: Share{1, most}}, []string{" 100.0 %", " 50.0 %"}, "-"},
		{"hostile-counts", &FastPath{Counts: []FastCount{{"\x9b", "\u202e\n", true, most, most, most}}}, []string{"translated"}, "\u202e"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b strings.Builder
			require.NoError(t, (&Report{FastPath: c.f}).WriteTable(&b))
			for _, want := range c.want {
				assert.Contains(t, b.String(), want)
			}
			_, rest, _ := strings.Cut(b.String(), "held back")
			assert.NotContains(t, rest, c.wantNot)
		})
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestListIsBounded(t *testing.T) {
	var l List[int]
	made := 0
	for range MaxList + 3 {
		l.Add(func() int { made++; return made })
	}
	assert.Len(t, l.Entries, MaxList)
	assert.Equal(t, 3, l.LeftOut)
	assert.Equal(t, MaxList, made, "what is left out is not made")

	// The longest list there can be fits an answer.
	r := sample
	r.LeaseList = new(List[Lease])
	for range MaxList {
		r.LeaseList.Add(func() Lease {
			return Lease{"255.255.255.255", strings.Repeat("ffff:", 7) + "ffff", "dormant", time.Now()}
		})
	}
	b, err := encodeAnswer(&r)
	require.NoError(t, err)
	assert.Less(t, len(b), maxAnswer/4)
}

func TestSocketFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	gid := -1
	if os.Geteuid() == 0 {
		gid = 65534
	}
	s, err := Listen(path, gid, false)
	require.NoError(t, err)
	fi, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.ModeSocket|0o660, fi.Mode())
	if gid >= 0 {
		assert.EqualValues(t, gid, fi.Sys().(*syscall.Stat_t).Gid)
	}

	// A socket in use is not replaced.
	_, err = Listen(path, -1, false)
	assert.EqualError(t, err, "status: listen on "+path+": another program listens there")
	require.NoError(t, s.Close())
	assert.NoFileExists(t, path)

	// What is left behind is replaced: by a daemon in a jail, or one that was killed.
	s, err = Listen(path, -1, true)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	assert.FileExists(t, path)
	s, err = Listen(path, -1, false)
	require.NoError(t, err)
	require.NoError(t, s.Close())

	// Other files are not.
	require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
	_, err = Listen(path, -1, false)
	assert.Error(t, err)
	assert.FileExists(t, path)
	_, err = Listen(filepath.Join(path, "beyond"), -1, false)
	assert.Error(t, err)
	_, err = Listen("/"+strings.Repeat("x", 200), -1, false)
	assert.Error(t, err)
}

// Clients that send nonsense, too little, or nothing are left with a line at
// most, and there is always room for others in the end.
func TestBadClients(t *testing.T) {
	path := serveSample(t)
	dial := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("unix", path)
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		return conn
	}
	for _, request := range []string{
		"GET / HTTP/1.1\r\n", "summary        \x00", "summaryy       \n", " summary       \n",
		"               \n", "leases\n\n\n\n\n\n\n\n\n\n", strings.Repeat("\xff", 16),
	} {
		conn := dial()
		conn.Write([]byte(request))
		reply, err := io.ReadAll(conn)
		assert.NoError(t, err, "%q", request)
		assert.Equal(t, string(encodeRefusal(errUnknown)), string(reply), "%q", request)
	}
	short := dial()
	short.Write([]byte("summary"))
	short.(*net.UnixConn).CloseWrite()
	reply, err := io.ReadAll(short)
	assert.NoError(t, err)
	assert.Empty(t, reply)

	// As many as there is room for, all silent: they kept others out for as long as
	// they had time to ask. Now the one that has been silent longest goes, with a line.
	var silent []net.Conn
	dialed := time.Now()
	for range maxClients {
		silent = append(silent, dial())
	}
	_, err = Ask(path, Summary)
	assert.NoError(t, err)
	reply, err = io.ReadAll(silent[0])
	assert.NoError(t, err)
	assert.Equal(t, string(encodeRefusal(errBusy)), string(reply), "its time was not up")
	for _, conn := range silent[1:] {
		reply, err := io.ReadAll(conn)
		assert.NoError(t, err)
		assert.Empty(t, reply)
	}
	assert.GreaterOrEqual(t, time.Since(dialed), askTime*9/10, "the others had their time")
	assert.Less(t, time.Since(dialed), askTime+time.Minute)
}

// A server that lies, stops half-way or never answers is worth one clean line.
func TestBadAnswers(t *testing.T) {
	dir := t.TempDir()
	long := bytes.Repeat([]byte("x"), 1<<20)
	for _, test := range []struct {
		name   string
		answer func(net.Conn)
		want   string
	}{
		{"nothing", func(c net.Conn) {}, "no answer"},
		{"cut-short", func(c net.Conn) { c.Write([]byte(`{"version":"1`)) }, "the answer was cut short"},
		{"no-json", func(c net.Conn) { c.Write([]byte("\x1b[2J\n")) }, `the answer makes no sense: invalid character '\x1b' looking for beginning of value`},
		{"other-json", func(c net.Conn) { c.Write([]byte(`{"pid":"many"}` + "\n")) }, "the answer makes no sense: json: cannot unmarshal string into Go struct field Report.pid of type int"},
		{"refusal", func(c net.Conn) { c.Write([]byte("error: go\x1b[31m away\n")) }, "refused: go?[31m away"},
		{"long-refusal", func(c net.Conn) { c.Write([]byte("error: " + strings.Repeat("x", 1000) + "\n")) }, "refused: " + strings.Repeat("x", 200) + "…"},
		{"endless", func(c net.Conn) {
			for {
				if _, err := c.Write(long); err != nil {
					return
				}
			}
		}, "the answer is longer than 8 MiB"},
		{"silent", func(c net.Conn) { time.Sleep(time.Second) }, "no whole answer in time"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(dir, test.name)
			l, err := net.Listen("unix", path)
			require.NoError(t, err)
			defer l.Close()
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				io.ReadFull(conn, make([]byte, requestLen))
				test.answer(conn)
			}()
			wait := patience
			if test.name == "silent" {
				wait = 500 * time.Millisecond
			}
			_, err = ask(path, Request{What: Summary}, wait)
			assert.EqualError(t, err, test.want)
		})
	}
	_, err := Ask(filepath.Join(dir, "absent"), Summary)
	assert.EqualError(t, err, "status: "+dir+"/absent: no such file or directory: no tayga runs there")
	assert.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	_, err = Ask(filepath.Join(dir, "file"), Summary)
	assert.EqualError(t, err, "status: "+dir+"/file: connection refused: no tayga runs there")
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	_, err = ParseWhat("\x1b]0;x")
	assert.EqualError(t, err, `status: "?]0;x" is none of summary, leases, maps, sessions`)
}
