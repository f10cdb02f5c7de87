package pool

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

// asRoot skips a test that makes files of other users.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("STEPPE_REQUIRE_NETNS") == "1" {
		t.Fatal("needs root, to make files of other users")
	}
	t.Skip("needs root, to make files of other users")
}

func permOf(t *testing.T, name string) fs.FileMode {
	t.Helper()
	fi, err := os.Lstat(name)
	require.NoError(t, err)
	return fi.Mode()
}

// A file that its owner had closed to others was open to them after the next save.
// With umask 0, every user could write it.
func TestReplaceFileKeepsMode(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077} {
		before := syscall.Umask(umask)
		name := filepath.Join(t.TempDir(), "dynamic.map")
		err := ReplaceFile(name, text("one"))
		syscall.Umask(before)
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o644&^umask), permOf(t, name))
		for _, perm := range []fs.FileMode{0o600, 0o640, 0o664, 0o666, 0o400} {
			require.NoError(t, os.Chmod(name, perm))
			before := syscall.Umask(umask)
			err := ReplaceFile(name, text("two"))
			syscall.Umask(before)
			require.NoError(t, err)
			assert.Equal(t, perm, permOf(t, name), "umask %03o", umask)
		}
	}
	name := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.WriteFile(name, nil, 0o644))
	require.NoError(t, ReplaceFilePerm(name, 0o600, text("")))
	assert.Equal(t, fs.FileMode(0o600), permOf(t, name))
}

// What belonged to another user or group still does.
func TestReplaceFileKeepsOwner(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	name := filepath.Join(dir, "dynamic.map")
	own := func(uid, gid int, mode fs.FileMode) {
		require.NoError(t, os.WriteFile(name, nil, 0o600))
		require.NoError(t, os.Chown(name, uid, gid))
		require.NoError(t, os.Chmod(name, mode))
	}
	has := func(uid, gid int, mode fs.FileMode) {
		t.Helper()
		fi, err := os.Lstat(name)
		require.NoError(t, err)
		st := fi.Sys().(*syscall.Stat_t)
		assert.Equal(t, [2]int{uid, gid}, [2]int{int(st.Uid), int(st.Gid)})
		assert.Equal(t, mode, fi.Mode())
	}
	own(0, 12345, 0o640)
	require.NoError(t, ReplaceFile(name, text("")))
	has(0, 12345, 0o640)
	require.NoError(t, ReplaceFilePerm(name, 0o640, text("")))
	has(0, 0, 0o640)

	require.NoError(t, os.Chown(dir, 12345, 12345))
	own(12345, 12345, 0o600)
	require.NoError(t, ReplaceFile(name, text("")))
	has(12345, 12345, 0o600)

	// Where every user can write, one of them has put his own there.
	require.NoError(t, os.Chmod(dir, 0o777))
	own(12346, 12346, 0o666)
	require.NoError(t, ReplaceFile(name, text("")))
	has(0, 0, 0o644)
	assert.Equal(t, fs.FileMode(0o600), othersOnly(0o640))
	assert.Equal(t, fs.FileMode(0o644), othersOnly(0o664))
	assert.Equal(t, fs.FileMode(0o604), othersOnly(0o604))
}

// A link that the operator had made was replaced by a file, and his own stayed as
// it was.
func TestReplaceFileKeepsLink(t *testing.T) {
	dir := t.TempDir()
	name, store := filepath.Join(dir, "dynamic.map"), filepath.Join(dir, "store")
	require.NoError(t, os.Mkdir(store, 0o755))
	require.NoError(t, os.WriteFile(store+"/leases", []byte("old"), 0o600))
	for _, target := range []string{"store/leases", store + "/leases", "store/again", "store/new"} {
		os.Remove(name)
		os.Remove(store + "/again")
		require.NoError(t, os.Symlink("../store/leases", store+"/again"))
		require.NoError(t, os.Symlink(target, name))
		require.NoError(t, ReplaceFile(name, text(target)))
		to, err := os.Readlink(name)
		require.NoError(t, err)
		assert.Equal(t, target, to)
		got, err := os.ReadFile(name)
		require.NoError(t, err)
		assert.Equal(t, target, string(got))
	}
	assert.Equal(t, fs.FileMode(0o600), permOf(t, store+"/leases"))
	assert.Equal(t, fs.ModeSymlink, permOf(t, store+"/again").Type())
	left, err := filepath.Glob(dir + "/*/*~~")
	require.NoError(t, err)
	assert.Empty(t, left)

	require.NoError(t, os.Remove(name))
	require.NoError(t, os.Symlink(name, name))
	assert.ErrorIs(t, ReplaceFile(name, text("")), syscall.ELOOP)
}

// A link that another user made, or can make, would have his file written.
func TestReplaceFileRefusesForeignLink(t *testing.T) {
	asRoot(t)
	for what, spoil := range map[string]func(dir, link string) error{
		"link-of-a-stranger":      func(_, link string) error { return os.Lchown(link, 12345, 12345) },
		"directory-of-a-stranger": func(dir, _ string) error { return os.Chown(dir, 12345, 12345) },
		"directory-of-everyone":   func(dir, _ string) error { return os.Chmod(dir, 0o777) },
		"directory-of-a-group":    func(dir, _ string) error { return errors.Join(os.Chown(dir, 0, 12345), os.Chmod(dir, 0o775)) },
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			name, precious := filepath.Join(dir, "d", "dynamic.map"), filepath.Join(dir, "precious")
			require.NoError(t, os.Mkdir(dir+"/d", 0o755))
			require.NoError(t, os.WriteFile(precious, []byte("precious"), 0o600))
			require.NoError(t, os.Symlink(precious, name))
			require.NoError(t, spoil(dir+"/d", name))
			assert.ErrorIs(t, ReplaceFile(name, text("x")), errForeignLink)
			got, err := os.ReadFile(precious)
			require.NoError(t, err)
			assert.Equal(t, "precious", string(got))
		})
	}
}
