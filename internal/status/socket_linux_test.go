package status

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/safepath"
)

// The mode of the file was set by its name after it was made: with a directory of
// another user, a link in its place had any file opened to the group.
func TestSocketModeIsThereFromTheFirst(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077} {
		dir := t.TempDir()
		require.NoError(t, os.Chmod(dir, 0o777))
		before := syscall.Umask(umask)
		d, err := safepath.Open(dir)
		require.NoError(t, err)
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		require.NoError(t, err)
		err = bind(fd, filepath.Join(dir, "sock"), d, "sock")
		assert.Equal(t, umask, syscall.Umask(before))
		require.NoError(t, err)
		fi, err := os.Lstat(filepath.Join(dir, "sock"))
		require.NoError(t, err)
		assert.Equal(t, os.ModeSocket|0o660, fi.Mode())
		unix.Close(fd)
		d.Close()
	}
}

// A file that another program has created in place of the socket does not get its group.
func TestSocketGroupIsTheSockets(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("STEPPE_REQUIRE_NETNS") != "" {
			t.Fatal("needs root, to change groups")
		}
		if os.Getenv("STEPPE_REQUIRE_NETNS") == "1" {
			t.Fatal("needs root, to change groups")
		}
		t.Skip("needs root, to change groups")
	}
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	require.NoError(t, os.WriteFile(victim, nil, 0o600))
	require.NoError(t, os.Symlink("victim", dir+"/link"))
	require.NoError(t, os.Link(victim, dir+"/hard"))
	s, err := Listen(dir+"/sock", -1, true)
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, os.Link(dir+"/sock", dir+"/second"))
	require.NoError(t, os.Mkdir(dir+"/d", 0o755))
	d, err := os.Open(dir)
	require.NoError(t, err)
	defer d.Close()
	for _, name := range []string{"link", "hard", "sock", "d"} {
		assert.EqualError(t, setGroup(int(d.Fd()), name, 12345), "another program has created a file there", name)
	}
	for _, name := range []string{"victim", "sock", "d"} {
		fi, err := os.Lstat(filepath.Join(dir, name))
		require.NoError(t, err)
		assert.Zero(t, fi.Sys().(*syscall.Stat_t).Gid)
	}
	require.NoError(t, os.Remove(dir+"/second"))
	require.NoError(t, setGroup(int(d.Fd()), "sock", 12345))
}
