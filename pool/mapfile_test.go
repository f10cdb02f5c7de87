package pool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

// load reads a file into a new pool and returns the errors.
func load(t *testing.T, c Config, text string) (p *Pool, n int, errs []string) {
	t.Helper()
	p = newPool(t, c)
	n, err := p.Load(strings.NewReader(text), nil, func(e *LineError) { errs = append(errs, fmt.Sprint(e.Line, ": ", e.Err)) })
	require.NoError(t, err)
	check(t, p)
	return p, n, errs
}

// state tells the lease of a host in one line.
func state(p *Pool, h string) string {
	for l := range p.All() {
		if l.Host == netip.MustParseAddr(h) {
			return fmt.Sprint(l.Addr, " ", start.Unix()-l.Used.Unix(), " ", map[bool]string{true: "held", false: "dormant"}[l.Held])
		}
	}
	return "none"
}

// TestLoad reads what tayga writes, and what it does not.
func TestLoad(t *testing.T) {
	at := func(age int) string { return fmt.Sprint(start.Unix() - int64(age)) }
	tests := []struct {
		name   string
		c      Config
		file   string
		n      int
		errs   []string
		states []string // pairs of host and state
	}{
		{
			name: "as-tayga-wrote-it",
			file: "###\n###  TAYGA\n### Last written: Fri Nov 20 16:49:48 2026\n###\n\n" +
				"172.16.2.12\t2001:db8:1::12\t" + at(0) + "\n172.16.2.255\t2001:db8:1::ff\t" + at(7439) + "\n172.16.2.13\t2001:db8:1::13\t" + at(7440) + "\n",
			n:      3,
			states: []string{"2001:db8:1::12", "172.16.2.12 0 held", "2001:db8:1::ff", "172.16.2.255 7439 held", "2001:db8:1::13", "172.16.2.13 7440 dormant"},
		},
		{name: "empty-file"},
		{name: "no-newline-at-the-end", file: "172.16.2.12 2001:db8::1 " + at(5), n: 1, states: []string{"2001:db8::1", "172.16.2.12 5 held"}},
		{
			name:   "carriage-returns-blanks-comments",
			file:   "\r\n  \t \r\n 172.16.2.12\t \t2001:db8::1  " + at(5) + " # mine\r\n# 172.16.2.13 2001:db8::2 5\r\n",
			n:      1,
			states: []string{"2001:db8::1", "172.16.2.12 5 held", "2001:db8::2", "none"},
		},
		{
			name: "damaged-lines-and-the-rest-kept",
			file: "172.16.2.12\t2001:db8::1\t" + at(1) + "\n" +
				"172.16.2.13\n" +
				"172.16.2.13 2001:db8::2 " + at(1) + " x\n" +
				"172.16.2.013 2001:db8::2 " + at(1) + "\n" +
				"2001:db8::2 172.16.2.13 " + at(1) + "\n" +
				"172.16.2.13 172.16.2.14 " + at(1) + "\n" +
				"172.16.2.13 2001:db8::2%eth0 " + at(1) + "\n" +
				"172.16.2.13 2001:db8::2 0\n" +
				"172.16.2.13 2001:db8::2 -5\n" +
				"172.16.2.13 2001:db8::2 +5\n" +
				"172.16.2.13 2001:db8::2 9999999999999999999\n" +
				"172.16.2.13 2001:db8::2 0x10\n" +
				"\x00\xff\xfe\n" +
				strings.Repeat("9", 5000) + "\n" +
				"172.16.2.14\t2001:db8::3\t" + at(2) + "\n",
			n: 2,
			errs: []string{
				"2: 1 words, want address, host and time", "3: 4 words, want address, host and time", "4: not an IPv4 address",
				"5: not an IPv4 address", "6: not an IPv6 address", "7: not an IPv6 address", "8: not a time in seconds",
				"9: not a time in seconds", "10: not a time in seconds", "11: not a time in seconds", "12: not a time in seconds",
				"13: 1 words, want address, host and time", "14: longer than 510 bytes",
			},
			states: []string{"2001:db8::1", "172.16.2.12 1 held", "2001:db8::2", "none", "2001:db8::3", "172.16.2.14 2 held"},
		},
		{
			// Found by fuzzing: a user who could write the file could have the packets
			// for an address sent to all hosts of a link.
			name: "hosts-that-cannot-be",
			file: "172.16.2.12 ff02::1 " + at(1) + "\n172.16.2.13 fe80::1 " + at(1) + "\n172.16.2.14 ::1 " + at(1) +
				"\n172.16.2.15 :: " + at(1) + "\n172.16.2.16 ::ffff:192.0.2.1 " + at(1) + "\n",
			errs: []string{
				"1: not the address of a host", "2: not the address of a host", "3: not the address of a host",
				"4: not the address of a host", "5: not the address of a host",
			},
		},
		{
			name: "addresses-that-cannot-be-leased",
			c:    Config{Reserved: prefixes("172.16.2.64/26")},
			file: "172.16.3.1 2001:db8::1 " + at(1) + "\n172.16.2.0 2001:db8::2 " + at(1) + "\n172.16.2.65 2001:db8::3 " + at(1) + "\n",
			errs: []string{
				"1: address is not in the pool", "2: address is reserved", "3: address is reserved",
			},
		},
		{
			name: "hosts-that-may-not-lease",
			c:    Config{Clients: prefixes("2001:db8::/32")},
			file: "172.16.2.1 2001:db9::1 " + at(1) + "\n172.16.2.2 2001:db8::1 " + at(1) + "\n",
			n:    1,
			errs: []string{"1: host is not among the clients"},
		},
		{
			name:   "address-twice-latest-wins",
			file:   "172.16.2.12 2001:db8::1 " + at(10) + "\n172.16.2.12 2001:db8::2 " + at(5) + "\n172.16.2.12 2001:db8::3 " + at(7) + "\n",
			n:      1,
			errs:   []string{"1: address has a later lease", "3: address has a later lease"},
			states: []string{"2001:db8::1", "none", "2001:db8::2", "172.16.2.12 5 held"},
		},
		{
			name:   "host-twice-latest-wins",
			file:   "172.16.2.12 2001:db8::1 " + at(10) + "\n172.16.2.13 2001:db8::1 " + at(5) + "\n",
			n:      1,
			errs:   []string{"1: host has a later lease"},
			states: []string{"2001:db8::1", "172.16.2.13 5 held"},
		},
		{
			name:   "one-time-in-the-future-spoils-only-itself",
			file:   "172.16.2.12 2001:db8::1 " + at(-1e9) + "\n172.16.2.13 2001:db8::2 " + at(5) + "\n172.16.2.14 2001:db8::3 " + at(-300) + "\n172.16.2.15 2001:db8::4 " + at(-301) + "\n",
			n:      4,
			states: []string{"2001:db8::1", "172.16.2.12 7440 dormant", "2001:db8::2", "172.16.2.13 5 held", "2001:db8::3", "172.16.2.14 0 held", "2001:db8::4", "172.16.2.15 7440 dormant"},
		},
		{
			name:   "older-than-can-be",
			file:   "172.16.2.12 2001:db8::1 1\n",
			n:      1,
			states: []string{"2001:db8::1", "172.16.2.12 1209600 dormant"},
		},
		{
			name:   "quota",
			c:      Config{MaxPerPrefix: Quota{Len: 64, Leases: 2}},
			file:   "172.16.2.12 2001:db8::1 " + at(30) + "\n172.16.2.13 2001:db8::2 " + at(20) + "\n172.16.2.14 2001:db8::3 " + at(10) + "\n",
			n:      3,
			states: []string{"2001:db8::1", "172.16.2.12 7440 dormant", "2001:db8::2", "172.16.2.13 20 held", "2001:db8::3", "172.16.2.14 10 held"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.Prefixes = prefixes("172.16.2.0/24")
			p, n, errs := load(t, tt.c, tt.file)
			require.Equal(t, tt.n, n)
			slices.SortFunc(errs, func(a, b string) int {
				var i, j int
				fmt.Sscan(a, &i)
				fmt.Sscan(b, &j)
				return i - j
			})
			require.Equal(t, tt.errs, errs)
			for i := 0; i < len(tt.states); i += 2 {
				require.Equal(t, tt.states[i+1], state(p, tt.states[i]), tt.states[i])
			}
		})
	}
}

// TestLoadedOrder has leases of a file taken over in the order of their use,
// also those whose times are all in the future, as after booting in 1970.
func TestLoadedOrder(t *testing.T) {
	for _, ahead := range []int64{-1e4, 1e9} {
		base := start.Unix() + ahead
		p, n, _ := load(t, Config{Prefixes: prefixes("10.0.0.0/30")}, fmt.Sprintf(
			"10.0.0.2 2001:db8::2 %d\n10.0.0.3 2001:db8::3 %d\n10.0.0.1 2001:db8::1 %d\n", base+2, base+3, base+1))
		require.Equal(t, 3, n)
		require.Equal(t, "10.0.0.1", assign(p, "2001:db8::11"))
		require.Equal(t, "10.0.0.2", assign(p, "2001:db8::12"))
		require.Equal(t, "10.0.0.3", assign(p, "2001:db8::13"))
	}
}

func TestLoadCheck(t *testing.T) {
	mapped := errors.New("host has an explicit map")
	p := newPool(t, Config{Prefixes: prefixes("172.16.2.0/24")})
	var got []*LineError
	n, err := p.Load(strings.NewReader(fmt.Sprintf("172.16.2.1 2001:db8::1 %d\n172.16.2.2 2001:db8::2 %d\n", start.Unix(), start.Unix()-7440)),
		func(l Lease) error {
			if l.Host == netip.MustParseAddr("2001:db8::1") {
				require.Equal(t, Lease{l.Host, netip.MustParseAddr("172.16.2.1"), start, true}, l)
				return mapped
			}
			require.False(t, l.Held)
			return nil
		},
		func(e *LineError) { got = append(got, e) })
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Len(t, got, 1)
	require.ErrorIs(t, got[0], mapped)
	require.True(t, got[0].Lease)
	require.Equal(t, `line 1: host has an explicit map: "172.16.2.1 2001:db8::1 1795193388"`, got[0].Error())
}

// TestLoadKeepsWhatIsThere loads into a pool with a lease: that one wins.
func TestLoadKeepsWhatIsThere(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("172.16.2.0/24")})
	a := assign(p, "2001:db8::1")
	bad := 0
	n, err := p.Load(strings.NewReader(fmt.Sprintf("%s 2001:db8::2 %d\n172.16.2.200 2001:db8::1 %d\n", a, start.Unix(), start.Unix())), nil,
		func(*LineError) { bad++ })
	require.NoError(t, err)
	require.Equal(t, [2]int{0, 2}, [2]int{n, bad})
	require.Equal(t, a, assign(p, "2001:db8::1"))
	check(t, p)
}

func TestLoadReadError(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("172.16.2.0/24")})
	broken := errors.New("disk on fire")
	r := io.MultiReader(strings.NewReader("172.16.2.1 2001:db8::1 1795193388\n172.16.2.2 2001:db8::2 179519"), iotest.ErrReader(broken))
	n, err := p.Load(r, nil, nil)
	require.ErrorIs(t, err, broken)
	require.EqualError(t, err, "pool: read leases: disk on fire")
	require.Equal(t, 1, n, "but not half a line")
}

// lines is a file that is made while it is read. At its end it looks how much
// memory is in use.
type lines struct {
	n    int
	line func(i int) string
	rest strings.Reader
	i    int
	heap uint64
}

func (l *lines) Read(b []byte) (int, error) {
	if l.rest.Len() == 0 {
		if l.i == l.n {
			l.heap = liveHeap()
			return 0, io.EOF
		}
		l.rest.Reset(l.line(l.i))
		l.i++
	}
	return l.rest.Read(b)
}

func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A file of 8 MiB made tayga take 53 MiB, since all its lines were kept until the
// end; one of a gigabyte would have ended it.
func TestLoadOfAHugeFileIsBounded(t *testing.T) {
	const n = 300_000
	for name, line := range map[string]func(i int) string{
		"one-lease": func(i int) string { return fmt.Sprintf("172.16.2.7 2001:db8::7 %d\n", start.Unix()-n+int64(i)) },
		"many-hosts": func(i int) string {
			return fmt.Sprintf("172.16.2.%d 2001:db8::%x:%x %d\n", 1+i%255, i>>16, i&0xffff, start.Unix()-n+int64(i))
		},
		"same-time": func(i int) string {
			return fmt.Sprintf("172.16.2.%d 2001:db8::%x:%x %d\n", 1+i%255, i>>16, i&0xffff, start.Unix())
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, Config{Prefixes: prefixes("172.16.2.0/24")})
			file := &lines{n: n, line: line}
			before := liveHeap()
			reported := make([]bool, n+1)
			loaded, err := p.Load(file, nil, func(e *LineError) {
				require.False(t, reported[e.Line], "line %d is reported twice", e.Line)
				reported[e.Line] = true
			})
			require.NoError(t, err)
			check(t, p)
			require.Less(t, file.heap, before+4<<20)
			// Of each address the latest use, or the first line of those.
			first := 1
			if name != "same-time" {
				first = n - loaded + 1
			}
			require.Equal(t, map[bool]int{true: 1, false: 255}[name == "one-lease"], loaded)
			for i := 1; i <= n; i++ {
				require.Equal(t, i < first || i >= first+loaded, reported[i], "line %d", i)
			}
		})
	}
}

func TestSave(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("172.16.2.0/24")})
	assign(p, "2001:db8:77::3")
	p.Tick(start.Add(5 * time.Second))
	assign(p, "2001:db8:77::2")
	p.Expire(start.Add(3 * time.Hour))
	assign(p, "2001:db8:77::1")
	p.Tick(start.Add(3*time.Hour + 7*time.Second))
	assign(p, "2001:db8:78::1")

	var b bytes.Buffer
	require.NoError(t, p.Save(&b))
	var leases []string
	for line := range strings.Lines(b.String()) {
		if !strings.HasPrefix(line, "#") && line != "\n" {
			leases = append(leases, line)
		}
	}
	require.Equal(t, []string{
		"172.16.2.98\t2001:db8:78::1\t1795204195\n", // .96 and .97 being taken
		"172.16.2.95\t2001:db8:77::1\t1795204188\n",
		"172.16.2.96\t2001:db8:77::2\t1795193393\n",
		"172.16.2.97\t2001:db8:77::3\t1795193388\n",
	}, leases)
	require.Contains(t, b.String(), "### Written: Fri Nov 20 19:49:55 2026\n\n")

	require.EqualError(t, p.Save(failingWriter{}), "pool: write leases: no space")
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestReplaceFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "dynamic.map")
	content := func() string {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		return string(b)
	}
	write := func(s string) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := io.WriteString(w, s)
			return err
		}
	}
	require.NoError(t, ReplaceFile(name, write("one")))
	require.Equal(t, "one", content())

	// Left behind by a crash, or put there to be written through.
	other := filepath.Join(dir, "other")
	require.NoError(t, os.WriteFile(other, []byte("precious"), 0o600))
	require.NoError(t, os.Symlink(other, name+"~~"))
	require.NoError(t, ReplaceFile(name, write("two")))
	require.Equal(t, "two", content())
	b, err := os.ReadFile(other)
	require.NoError(t, err)
	require.Equal(t, "precious", string(b))

	full := errors.New("no space")
	err = ReplaceFile(name, func(w io.Writer) error {
		io.WriteString(w, "thr")
		return full
	})
	require.ErrorIs(t, err, full)
	require.Equal(t, "two", content())
	require.NoFileExists(t, name+"~~")

	err = ReplaceFile(filepath.Join(dir, "missing", "dynamic.map"), write("x"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// FuzzLoad reads anything: no panic, the books agree, and what was loaded
// survives a round through Save.
func FuzzLoad(f *testing.F) {
	f.Add([]byte("### x\n\n10.0.0.1\t2001:db8::1\t1795193388\n10.0.0.2\t2001:db8::2\t1\n"))
	f.Add([]byte("10.0.0.1 2001:db8::1 1795193388\n10.0.0.1 2001:db8::2 1795193389\n10.0.0.2 2001:db8::1 1795193390"))
	f.Add([]byte("10.0.0.0 :: 1\n10.0.0.15 ::ffff:1.2.3.4 9223372036854775807\n"))
	f.Add(bytes.Repeat([]byte("a"), 1025))
	f.Fuzz(func(t *testing.T, file []byte) {
		c := Config{Prefixes: prefixes("10.0.0.0/28"), Reserved: prefixes("10.0.0.4/30"), MaxPerPrefix: Quota{96, 3}}
		p := newPool(t, c)
		n, err := p.Load(bytes.NewReader(file), nil, nil)
		require.NoError(t, err)
		check(t, p)
		want := slices.Collect(p.All())
		require.Len(t, want, n)

		var b bytes.Buffer
		require.NoError(t, p.Save(&b))
		q := newPool(t, c)
		_, err = q.Load(&b, nil, func(e *LineError) { t.Error(e) })
		require.NoError(t, err)
		require.Equal(t, want, slices.Collect(q.All()))
	})
}
