package session_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// A logbed is a bed with a journal.
type logbed struct {
	*bed
	*session.Journal
	file bytes.Buffer
}

func newLogbed(t testing.TB, edit ...func(*session.Config)) *logbed {
	b := newBed(t, edit...)
	return &logbed{bed: b, Journal: session.NewJournal(b.Table)}
}

// begin and append write the file.
func (b *logbed) begin() {
	b.Helper()
	b.file.Reset()
	require.NoError(b, b.Begin(&b.file, b.moment()))
}

func (b *logbed) append() int {
	b.Helper()
	before := b.file.Len()
	n, err := b.Append(&b.file, b.moment())
	require.NoError(b, err)
	require.Equal(b, int64(b.file.Len()-before), n)
	return int(n)
}

// keys are sessions without their times.
func keys(all []session.Session) []session.Session {
	for i := range all {
		all[i].Idle, all[i].Expires = 0, 0
	}
	return all
}

// TestJournal: after a crash the sessions are those of the last call, whatever began, changed
// and ended between the calls.
func TestJournal(t *testing.T) {
	b := newLogbed(t)
	require.True(t, b.Due())
	b.begin()
	require.False(t, b.Due())
	require.Equal(t, blockSize, b.file.Len())
	require.Zero(t, b.append(), "nothing to say")
	for round := range 40 {
		traffic(b.bed, 20+7*round)
		if round%3 == 0 {
			b.now += 100 * time.Second
		}
		b.expire()
		b.append()
		after, l := load(t, b.file.Bytes())
		require.Zero(t, l.Dropped+l.Damaged+l.Ended, "%+v", l)
		require.ElementsMatch(t, keys(b.all()), keys(after.all()))
	}
	b.now += 24 * time.Hour
	b.expire()
	require.Positive(t, b.append())
	require.Zero(t, b.append())
	_, l := load(t, b.file.Bytes())
	require.Equal(t, session.Loaded{}, l)
}

// TestJournalUse: packets are no change, and yet sessions that have some do not end: each
// counts as used when the file was last written to.
func TestJournalUse(t *testing.T) {
	b := newLogbed(t)
	b.begin()
	used, unused := from6(udp, 1000), from6(udp, 2000)
	b.open(used)
	b.now += 3 * time.Minute
	b.open(unused)
	b.append()
	for range 10 {
		b.now += time.Minute
		b.open(used)
		require.LessOrEqual(t, b.append(), 2*blockSize)
	}
	b.expire()
	require.Equal(t, 1, b.Stats().Sessions)
	b.append()
	after, l := loadAfter(t, 4*time.Minute, b.file.Bytes())
	require.Equal(t, session.Loaded{Sessions: 1}, l)
	require.Equal(t, time.Minute, after.all()[0].Expires)
	_, l = loadAfter(t, 5*time.Minute+time.Second, b.file.Bytes())
	require.Equal(t, session.Loaded{Ended: 1}, l)
}

// TestJournalClosing: a connection that was closed does not get another time.
func TestJournalClosing(t *testing.T) {
	b := newLogbed(t)
	b.begin()
	f := from6(tcp, 1000)
	back := b.open(f)
	b.in(back, syn|ack)
	b.append()
	b.in(back, rst)
	b.append()
	b.now += time.Minute
	b.append()
	after, _ := loadAfter(t, time.Minute, b.file.Bytes())
	require.Equal(t, "trans", after.all()[0].State)
	require.Equal(t, 2*time.Minute, after.all()[0].Expires)
}

// TestJournalReuse: a port that another host has got meanwhile is that host's.
func TestJournalReuse(t *testing.T) {
	b := newLogbed(t, ports(5000, 5000))
	b.begin()
	first, second := from6(tcp, 1000), from6(tcp, 1000)
	second.Host = host6(2)
	b.open(first)
	b.append()
	b.now += time.Hour
	b.expire()
	b.open(second)
	b.append()
	after, l := load(t, b.file.Bytes())
	require.Equal(t, session.Loaded{Sessions: 1}, l)
	require.Equal(t, "2001:db8::2", after.all()[0].Host.Addr().String())

	// Also if the end of the first one was lost with its block.
	file := bytes.Clone(b.file.Bytes())
	damaged := 0
	for i := blockSize; i < len(file); i += blockSize {
		for r := range int(file[i+7]) {
			if rec := file[i+blockHead+r*recordLen:]; file[i+4] == 2 && rec[31] == 0 {
				copy(rec[40:44], "\x00\x00\x0f\xff")
				sign(file[i : i+blockSize])
				damaged++
			}
		}
	}
	_, l = load(t, file)
	require.Equal(t, 1, l.Sessions)
	require.LessOrEqual(t, l.Dropped, damaged)
}

// TestJournalErrors: after an error the file has to be written anew.
func TestJournalErrors(t *testing.T) {
	b := newLogbed(t)
	require.Error(t, b.Begin(failing{}, b.moment()))
	require.True(t, b.Due())
	b.begin()
	_, err := b.Append(failing{}, b.moment())
	require.NoError(t, err, "nothing to write")
	require.False(t, b.Due())
	b.open(from6(udp, 1000))
	_, err = b.Append(failing{}, b.moment())
	require.Error(t, err)
	require.True(t, b.Due())
	b.begin()
	_, l := load(t, b.file.Bytes())
	require.Equal(t, 1, l.Sessions)
}

// TestJournalDue: a file that has grown to more than twice of what it says is written anew.
func TestJournalDue(t *testing.T) {
	b := newLogbed(t)
	b.open(from6(udp, 1000))
	b.begin()
	n := 0
	for !b.Due() {
		b.append()
		n++
	}
	require.Equal(t, 1<<20/blockSize, n)
	b.begin()
	require.False(t, b.Due())
	cfg := config()
	cfg.Prefixes = []netip.Prefix{prefix("64:ff9b::/96")}
	require.NoError(t, b.Update(b.now, cfg))
	require.True(t, b.Due(), "the file does not have that prefix")
}

// TestLoadTime: the time that has passed since counts, also past the end of the established
// state.
func TestLoadTime(t *testing.T) {
	b := newBed(t)
	b.open(from6(udp, 1000))
	b.now += time.Minute
	b.in(b.open(from6(tcp, 1000)), syn|ack)
	file := b.saved()
	states := func(d time.Duration) map[string]time.Duration {
		after, l := loadAfter(t, d, file)
		require.Equal(t, 2, l.Sessions+l.Ended)
		m := map[string]time.Duration{}
		for _, s := range after.all() {
			m[s.State] = s.Expires
		}
		return m
	}
	require.Equal(t, map[string]time.Duration{"udp": 4 * time.Minute, "established": 2 * time.Hour}, states(0))
	require.Equal(t, map[string]time.Duration{"udp": 0, "established": 116 * time.Minute}, states(4*time.Minute))
	require.Equal(t, map[string]time.Duration{"established": 115 * time.Minute}, states(5*time.Minute))
	require.Equal(t, map[string]time.Duration{"trans": 3 * time.Minute}, states(2*time.Hour+time.Minute))
	require.Empty(t, states(2*time.Hour+4*time.Minute+time.Second))
}

// TestLoadClocks: a wall clock that is set changes nothing while the machine has not booted
// again; if it has, one that went back gives no session more time than it had.
func TestLoadClocks(t *testing.T) {
	b := newBed(t)
	b.open(from6(udp, 1000))
	b.now += time.Minute
	saved := session.Moment{Now: b.now, Wall: clock, Boot: [16]byte{1}, Uptime: time.Hour}
	var w bytes.Buffer
	require.NoError(t, b.Save(&w, saved))
	for _, c := range []struct {
		name string
		wall time.Duration // that the wall clock went on
		boot byte
		up   time.Duration
		left time.Duration // 0: ended
	}{
		{"wall-forward", 1000 * time.Hour, 1, time.Hour + 3*time.Minute, time.Minute},
		{"wall-back", -1000 * time.Hour, 1, time.Hour + 3*time.Minute, time.Minute},
		{"ended", 0, 1, time.Hour + 5*time.Minute, 0},
		{"boot", 3 * time.Minute, 2, time.Minute, time.Minute},
		{"boot-ended", 5 * time.Minute, 2, time.Minute, 0},
		{"boot-back", -1000 * time.Hour, 2, 0, 4 * time.Minute},
		{"boot-unknown", 3 * time.Minute, 0, time.Hour, time.Minute},
		{"boot-far", 1 << 62, 2, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			after := newBed(t)
			l := after.read(w.Bytes(), session.Moment{Wall: clock.Add(c.wall), Boot: [16]byte{c.boot}, Uptime: c.up})
			if c.left == 0 {
				require.Equal(t, session.Loaded{Ended: 1}, l)
				return
			}
			require.Equal(t, session.Loaded{Sessions: 1}, l)
			after.now = 0
			require.Equal(t, c.left, after.all()[0].Expires)
		})
	}
}

// TestLoadPrefixes: a session keeps its prefix, whatever its number is now, and is dropped if
// there is no such prefix: the host would see another peer.
func TestLoadPrefixes(t *testing.T) {
	wellKnown, own, third := prefix("64:ff9b::/96"), prefix("2001:db8:64::/96"), prefix("2001:db8:65::/96")
	with := func(p ...netip.Prefix) func(*session.Config) {
		return func(c *session.Config) { c.Prefixes = p }
	}
	b := newBed(t, with(wellKnown, own))
	for pref64 := range uint8(4) {
		f := from6(udp, 1000+uint16(pref64))
		f.Pref64 = pref64
		b.open(f)
	}
	file := b.saved()
	for _, c := range []struct {
		name string
		now  []netip.Prefix
		want []uint8
	}{
		{"same", []netip.Prefix{wellKnown, own}, []uint8{0, 1, 2}},
		{"swapped", []netip.Prefix{own, wellKnown}, []uint8{0, 2, 1}},
		{"gone", []netip.Prefix{third, own}, []uint8{0, 2}},
		{"none", nil, []uint8{0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			after, l := load(t, file, with(c.now...))
			require.Equal(t, session.Loaded{Sessions: len(c.want), Dropped: 4 - len(c.want)}, l)
			var got []uint8
			for port := range uint16(4) {
				for _, s := range after.all() {
					if s.Host.Port() == 1000+port {
						got = append(got, s.Pref64)
					}
				}
			}
			require.Equal(t, c.want, got)
		})
	}
	_, err := session.New(session.Config{Pools: config().Pools, Prefixes: make([]netip.Prefix, translate.MaxPref64)})
	require.Error(t, err)
	_, err = session.New(session.Config{Pools: config().Pools, Prefixes: make([]netip.Prefix, 1)})
	require.Error(t, err)
}
