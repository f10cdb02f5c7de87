package repair

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/doctor"
)

// edit is an entry for a command that edits a file.
func edit(path string) Entry {
	return Entry{
		Time: time.Unix(1, 0).UTC(), Boot: "b", Netns: "n", About: "private", Command: "echo x >>" + path,
		Undo: "true", Touches: []doctor.Touch{{Kind: doctor.File, Name: path}},
	}
}

func reopened(t *testing.T, dir string) *Stack {
	t.Helper()
	s, err := Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// What was done is known to a later process, and to one that comes after a crash.
func TestStack(t *testing.T) {
	dir, path := filepath.Join(t.TempDir(), "steppe"), filepath.Join(t.TempDir(), "conf")
	require.NoError(t, os.WriteFile(path, []byte("old\n"), 0o644))
	s := reopened(t, dir)
	defer func(t time.Duration) { lockTime = t }(lockTime)
	lockTime = 0
	_, err := Open(dir)
	assert.ErrorContains(t, err, "another process runs or undoes commands")
	e := edit(path)
	e.Copy, err = s.Copy(path)
	require.NoError(t, err)
	require.NoError(t, s.Begin(e))
	require.NoError(t, s.Close())

	// The process has died while the command ran, which has done nothing yet.
	s = reopened(t, dir)
	require.Len(t, s.Entries, 1)
	standing, _ := s.Entries[0].Standing()
	assert.Equal(t, Gone, standing)
	// Now it has.
	require.NoError(t, os.WriteFile(path, []byte("old\nx\n"), 0o644))
	standing, _ = s.Entries[0].Standing()
	assert.Equal(t, Stands, standing, "it is not known what else changed the file")

	require.NoError(t, s.End(false))
	require.NoError(t, s.Close())
	s = reopened(t, dir)
	standing, _ = s.Entries[0].Standing()
	assert.Equal(t, Stands, standing)
	require.NoError(t, os.WriteFile(path, []byte("something else\n"), 0o644))
	standing, what := s.Entries[0].Standing()
	assert.Equal(t, Changed, standing)
	assert.Equal(t, path, what)

	require.NoError(t, Run(doctor.Words("cp", "-p", filepath.Join(dir, e.Copy), path)))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "old\n", string(text))
	require.NoError(t, s.Remove(0))
	left, err := filepath.Glob(dir + "/*")
	require.NoError(t, err)
	assert.Equal(t, []string{dir + "/" + fileName}, left)
	fi, err := os.Stat(left[0])
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), fi.Mode())
}

// A command that failed and changed nothing is not there to be undone; one that failed
// half-way is.
func TestStackFailure(t *testing.T) {
	dir, path := filepath.Join(t.TempDir(), "steppe"), filepath.Join(t.TempDir(), "conf")
	require.NoError(t, os.WriteFile(path, []byte("old\n"), 0o644))
	s := reopened(t, dir)
	require.NoError(t, s.Begin(edit(path)))
	require.NoError(t, s.End(true))
	assert.Empty(t, s.Entries)
	require.NoError(t, s.Begin(edit(path)))
	require.NoError(t, os.WriteFile(path, []byte("half\n"), 0o644))
	require.NoError(t, s.End(true))
	assert.Len(t, s.Entries, 1)
}

// Two entries with one copy: it stays for the other.
func TestStackSharesCopies(t *testing.T) {
	dir, path := filepath.Join(t.TempDir(), "steppe"), filepath.Join(t.TempDir(), "conf")
	require.NoError(t, os.WriteFile(path, []byte("old\n"), 0o644))
	s := reopened(t, dir)
	for range 2 {
		e := edit(path)
		var err error
		e.Copy, err = s.Copy(path)
		require.NoError(t, err)
		require.NoError(t, s.Begin(e))
	}
	copied := filepath.Join(dir, s.Entries[0].Copy)
	require.NoError(t, s.Remove(1))
	assert.FileExists(t, copied)
	kept, err := s.Keep(0)
	require.NoError(t, err)
	assert.Equal(t, copied, kept)
	assert.FileExists(t, copied)
}

// Namespaces that are gone do not fill the file for ever.
func TestStackMakesRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "conf")
	s := reopened(t, filepath.Join(t.TempDir(), "steppe"))
	here, elsewhere := edit(path), edit(path)
	here.Before, elsewhere.Before = []string{"x"}, []string{"x"}
	elsewhere.Netns = "gone"
	s.Entries = []Entry{here, elsewhere}
	for len(s.Entries) < maxEntries {
		s.Entries = append(s.Entries, here)
	}
	require.NoError(t, s.Begin(here))
	assert.Len(t, s.Entries, maxEntries)
	assert.ErrorContains(t, s.Begin(here), "undo something first")
}

// What is in the file may be what a program of another user has made.
func TestParseHostile(t *testing.T) {
	good := edit("/etc/tayga.conf")
	good.Before = []string{"x"}
	for name, harm := range map[string]func(*Entry){
		"no-command":      func(e *Entry) { e.Command = "" },
		"line-feed":       func(e *Entry) { e.Undo = "true\nid" },
		"escape":          func(e *Entry) { e.About = "\x1b[2J" },
		"no-touches":      func(e *Entry) { e.Touches, e.Before = nil, nil },
		"states":          func(e *Entry) { e.After = []string{"a", "b"} },
		"copy-elsewhere":  func(e *Entry) { e.Copy = "doctor-copy-/../../etc/shadow" },
		"copy":            func(e *Entry) { e.Copy = "shadow" },
		"setting":         func(e *Entry) { e.Touches[0] = doctor.Touch{Kind: doctor.Setting, Name: "ipv4/../../../etc/shadow"} },
		"iptables":        func(e *Entry) { e.Touches[0] = doctor.Touch{Kind: doctor.IPTables, Text: "iptables -C FORWARD; id"} },
		"iptables-rules":  func(e *Entry) { e.Touches[0] = doctor.Touch{Kind: doctor.IPTables, Text: "iptables -F FORWARD"} },
		"another-program": func(e *Entry) { e.Touches[0] = doctor.Touch{Kind: doctor.IPTables, Text: "id -C x"} },
		"kind":            func(e *Entry) { e.Touches[0].Kind = "frobnicate" },
	} {
		e := good
		e.Touches = append([]doctor.Touch{}, good.Touches...)
		harm(&e)
		text, err := json.Marshal(file{version, []Entry{e}})
		require.NoError(t, err)
		_, err = Parse(text)
		assert.ErrorContains(t, err, "entry 1: ", name)
	}
	text, err := json.Marshal(file{version, []Entry{good}})
	require.NoError(t, err)
	_, err = Parse(text)
	assert.NoError(t, err)
	for _, text := range []string{"", "null", "[]", `{"version":1}{}`, `{"version":1,"entries":[{}]}`, `{"version":1,"entries":[],"x":1}`} {
		_, err := Parse([]byte(text))
		assert.Error(t, err, text)
	}
}
