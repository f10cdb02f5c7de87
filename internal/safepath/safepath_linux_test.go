package safepath

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const stranger = 12345

// place makes a directory of the test's own whose path no other user can change.
func place(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("STEPPE_REQUIRE_NETNS") != "" {
			t.Fatal("needs root, to make files of another user")
		}
		if os.Getenv("STEPPE_REQUIRE_NETNS") == "1" {
			t.Fatal("needs root, to make files of another user")
		}
		t.Skip("needs root, to make files of another user")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	return dir
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

// A link of root is followed, one of another user is not, nor is any link in a
// directory that another user can write: it may be root's, hard linked or renamed.
func TestLinks(t *testing.T) {
	for _, test := range []struct {
		name  string
		dir   func(path string) error // changes the directory of the link
		owner int
		want  string // in the error; empty: followed
	}{
		{"of-root", func(string) error { return nil }, 0, ""},
		{"of-a-stranger", func(string) error { return nil }, stranger, "it belongs to user 12345"},
		{"directory-of-a-stranger", func(dir string) error { return os.Chown(dir, stranger, 0) }, 0, "belongs to user 12345"},
		{"directory-of-a-group", func(dir string) error {
			return firstError(os.Chown(dir, 0, stranger), os.Chmod(dir, 0o775))
		}, 0, "can be written by group 12345"},
		{"directory-of-everyone", func(dir string) error { return os.Chmod(dir, 0o777) }, 0, "can be written by every user"},
		{"sticky-of-root", func(dir string) error { return os.Chmod(dir, 0o777|os.ModeSticky) }, 0, ""},
		{"sticky-of-a-stranger", func(dir string) error { return os.Chmod(dir, 0o777|os.ModeSticky) }, stranger, "it belongs to user 12345"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := place(t)
			must(t, os.Mkdir(dir+"/links", 0o755), os.Mkdir(dir+"/store", 0o755),
				os.WriteFile(dir+"/store/file", []byte("content"), 0o644),
				os.Symlink("../store/file", dir+"/links/file"), os.Symlink(dir+"/store", dir+"/links/store"),
				os.Lchown(dir+"/links/file", test.owner, 0), os.Lchown(dir+"/links/store", test.owner, 0),
				test.dir(dir+"/links"))
			for _, path := range []string{dir + "/links/file", dir + "/links/store/file"} {
				f, err := OpenRegular(nil, path)
				if test.want != "" {
					assert.ErrorContains(t, err, test.want, path)
					continue
				}
				require.NoError(t, err, path)
				text, err := io.ReadAll(f)
				assert.NoError(t, err)
				assert.Equal(t, "content", string(text))
				f.Close()
			}
			d, err := Open(dir + "/links/store")
			if test.want != "" {
				assert.ErrorContains(t, err, test.want)
				return
			}
			require.NoError(t, err)
			assert.Empty(t, d.Writers)
			d.Close()
			d, name, err := Resolve(dir + "/links/file")
			require.NoError(t, err)
			assert.Equal(t, "file", name)
			var held, store unix.Stat_t
			must(t, unix.Fstat(int(d.Fd()), &held), unix.Stat(dir+"/store", &store))
			assert.Equal(t, store.Ino, held.Ino)
			d.Close()
		})
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Who can write a directory, or one on the way to it, is known.
func TestWriters(t *testing.T) {
	dir := place(t)
	must(t, os.MkdirAll(dir+"/a/b/c", 0o755), os.Chown(dir+"/a/b", stranger, 0))
	d, err := Open(dir + "/a/b/c")
	require.NoError(t, err)
	d.Close()
	assert.Equal(t, []Writer{{dir + "/a/b", stranger, -1, false}}, d.Writers)
	assert.Equal(t, dir+"/a/b belongs to user 12345", d.Writers[0].String())
	assert.False(t, d.Writers[0].Anyone())

	must(t, os.Chown(dir+"/a/b", 0, 0), os.Chmod(dir+"/a/b/c", 0o777|os.ModeSticky))
	d, err = Open(dir + "/a/b/c/")
	require.NoError(t, err)
	d.Close()
	assert.Equal(t, []Writer{{dir + "/a/b/c", -1, -1, true}}, d.Writers)
	assert.True(t, d.Writers[0].Anyone())

	t.Chdir(dir + "/a")
	d, err = Open("b")
	require.NoError(t, err)
	d.Close()
	assert.Empty(t, d.Writers)
}

// A second name may be that of a private file of its owner, put there by a user
// who cannot read it; elsewhere it is a backup.
func TestHardLinks(t *testing.T) {
	dir := place(t)
	must(t, os.WriteFile(dir+"/private", nil, 0o600), os.Mkdir(dir+"/d", 0o755), os.Link(dir+"/private", dir+"/d/file"))
	f, err := OpenRegular(nil, dir+"/d/file")
	require.NoError(t, err)
	f.Close()
	must(t, os.Chmod(dir+"/d", 0o777))
	_, err = OpenRegular(nil, dir+"/d/file")
	assert.ErrorContains(t, err, "has 2 names (hard links) in a directory that others can write")
	d, err := Open(dir + "/d")
	require.NoError(t, err)
	defer d.Close()
	_, err = d.OpenFile("file", unix.O_RDWR|unix.O_CREAT, 0o644)
	assert.ErrorContains(t, err, "has 2 names")
	f, err = d.OpenFile("new", unix.O_RDWR|unix.O_CREAT, 0o640)
	require.NoError(t, err)
	f.Close()
}

func TestWhatIsNoFile(t *testing.T) {
	dir := place(t)
	must(t, os.Symlink("loop", dir+"/loop"), os.Symlink("nowhere", dir+"/dangling"), unix.Mkfifo(dir+"/pipe", 0o600),
		os.WriteFile(dir+"/file", nil, 0o600))
	for path, want := range map[string]string{
		dir + "/loop":       "open " + dir + "/loop: too many levels of symbolic links",
		dir + "/loop/x":     "open " + dir + "/loop/x: too many levels of symbolic links",
		dir + "/dangling":   "open " + dir + "/dangling: no such file or directory",
		dir + "/absent/x":   "open " + dir + "/absent/x: no such file or directory",
		dir + "/file/x":     "open " + dir + "/file/x: not a directory",
		dir + "/pipe":       "open " + dir + "/pipe: is not a regular file",
		dir:                 "open " + dir + ": is a directory",
		"/":                 "open /: is a directory",
		"":                  "open : no such file or directory",
		dir + "/../../////": "open " + dir + "/../../////: is a directory",
	} {
		_, err := OpenRegular(nil, path)
		assert.EqualError(t, err, want)
	}
	_, err := OpenIn(nil, dir+"/loop", unix.O_RDONLY, 0)
	assert.ErrorContains(t, err, "is a symbolic link")
	_, err = Open("")
	assert.Error(t, err)
	_, err = Open(dir + "/file")
	assert.ErrorIs(t, err, unix.ENOTDIR)

	// A path may count from a directory that is held.
	d, err := os.Open(dir)
	require.NoError(t, err)
	defer d.Close()
	f, err := OpenRegular(d, "file")
	require.NoError(t, err)
	f.Close()
}

// A file that is made where others can write was that of another user, or his link.
func TestCreate(t *testing.T) {
	dir := place(t)
	for _, mode := range []os.FileMode{0o755, 0o777 | os.ModeSticky} {
		must(t, os.Chmod(dir, mode))
		for range 2 {
			f, err := Create(dir + "/out")
			require.NoError(t, err)
			_, err = f.WriteString("text")
			must(t, err, f.Close())
			got, err := os.ReadFile(dir + "/out")
			require.NoError(t, err)
			assert.Equal(t, "text", string(got))
		}
	}
	must(t, os.Symlink("out", dir+"/link"), os.Link(dir+"/out", dir+"/second"),
		os.WriteFile(dir+"/other", []byte("text"), 0o666), os.Chown(dir+"/other", stranger, stranger))
	for name, want := range map[string]string{
		"link": "is a symbolic link", "second": "has 2 names", "out": "has 2 names", "other": "belongs to user 12345",
	} {
		_, err := Create(dir + "/" + name)
		assert.ErrorContains(t, err, want)
		got, err := os.ReadFile(dir + "/" + name)
		require.NoError(t, err)
		assert.Equal(t, "text", string(got))
	}
	_, err := Create(dir + "/absent/out")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// What a link of /proc leads to may have no path: a disk that is not mounted was taken
// for /, which is the text of the link.
func TestLinksOfProc(t *testing.T) {
	dir := place(t)
	must(t, os.Mkdir(dir+"/d", 0o755), os.WriteFile(dir+"/d/file", []byte("content"), 0o644))
	held, err := os.Open(dir + "/d")
	require.NoError(t, err)
	defer held.Close()
	file, err := os.Open(dir + "/d/file")
	require.NoError(t, err)
	defer file.Close()
	must(t, os.Rename(dir+"/d", dir+"/e"), os.Mkdir(dir+"/d", 0o755), os.Remove(dir+"/e/file"), os.WriteFile(dir+"/e/other", nil, 0o644))

	for _, self := range []string{"self", fmt.Sprint(os.Getpid())} {
		link := fmt.Sprintf("/proc/%s/fd/%d", self, held.Fd())
		d, err := Open(link)
		require.NoError(t, err)
		var got, want unix.Stat_t
		must(t, unix.Fstat(int(d.Fd()), &got), unix.Fstat(int(held.Fd()), &want))
		assert.Equal(t, want.Ino, got.Ino)
		d.Close()
		f, err := OpenRegular(nil, link+"/other")
		require.NoError(t, err)
		f.Close()
		f, err = OpenRegular(nil, fmt.Sprintf("/proc/%s/fd/%d", self, file.Fd()))
		require.NoError(t, err)
		text, err := io.ReadAll(f)
		must(t, err, f.Close())
		assert.Equal(t, "content", string(text))
	}
}
