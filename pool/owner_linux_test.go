package pool

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asUser calls f as a user with a group and further groups. The identity is that of one
// thread, which ends with f.
func asUser(t *testing.T, uid, gid int, groups []uint32, f func()) {
	t.Helper()
	asRoot(t)
	done := make(chan syscall.Errno)
	go func() {
		runtime.LockOSThread() // never unlocked, so that the thread ends
		var list unsafe.Pointer
		if len(groups) > 0 {
			list = unsafe.Pointer(&groups[0])
		}
		_, _, err1 := syscall.RawSyscall(syscall.SYS_SETGROUPS, uintptr(len(groups)), uintptr(list), 0)
		_, _, err2 := syscall.RawSyscall(syscall.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid))
		_, _, err3 := syscall.RawSyscall(syscall.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid))
		if err1|err2|err3 == 0 {
			f()
		}
		done <- err1 | err2 | err3
	}()
	require.Zero(t, <-done)
}

// create makes a file of a user and a group.
func create(t *testing.T, name string, uid, gid int, mode fs.FileMode) fs.FileInfo {
	t.Helper()
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	require.NoError(t, os.Chown(name, uid, gid))
	require.NoError(t, os.Chmod(name, mode))
	fi, err := os.Lstat(name)
	require.NoError(t, err)
	return fi
}

// TestOwned: whose files are trusted, for root and for another user.
func TestOwned(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	files := map[int]fs.FileInfo{}
	for _, uid := range []int{0, 1, 12345, 12346} {
		files[uid] = create(t, filepath.Join(dir, fmt.Sprint(uid)), uid, uid, 0o644)
	}
	owns := func() (uids []int) {
		for _, uid := range []int{0, 1, 12345, 12346} {
			if owned(files[uid]) {
				uids = append(uids, uid)
			}
		}
		return uids
	}
	assert.Equal(t, []int{0}, owns())
	asUser(t, 12345, 12345, nil, func() { assert.Equal(t, []int{0, 12345}, owns()) })
	assert.True(t, ownedBy(files[12345], files[12345]), "of the directory's owner")
	assert.False(t, ownedBy(files[12346], files[12345]))
	assert.True(t, ownedBy(files[0], files[12345]))
}

// TestOthersWrite: by the permissions of a directory and its group.
func TestOthersWrite(t *testing.T) {
	asRoot(t)
	for _, c := range []struct {
		mode fs.FileMode
		gid  int
		want bool
	}{
		{0o755, 0, false}, {0o755, 12345, false}, {0o715, 12345, false}, {0o775, 0, false}, {0o775, 1, true}, {0o775, 12345, true},
		{0o720, 12345, true}, {0o757, 0, true}, {0o702, 0, true}, {0o705, 12345, false}, {0o777, 0, true}, {0o700, 12345, false},
	} {
		dir := filepath.Join(t.TempDir(), "d")
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.Chown(dir, 0, c.gid))
		require.NoError(t, os.Chmod(dir, c.mode))
		fi, err := os.Stat(dir)
		require.NoError(t, err)
		assert.Equal(t, c.want, othersWrite(fi), "%03o of group %d", c.mode, c.gid)
	}
}

// TestReplaceFileOfUsers: owner, group and permissions of a file before and after, for
// root and for a user who may give a file some groups and not others.
func TestReplaceFileOfUsers(t *testing.T) {
	asRoot(t)
	const user, own, may, other = 12345, 12345, 12346, 12347 // own, may and other are groups
	defer syscall.Umask(syscall.Umask(0o022))
	for name, c := range map[string]struct {
		uid, gid int // who replaces the file; a user also has the group may
		dirUID   int
		dirGID   int
		dirMode  fs.FileMode
		oldUID   int
		oldGID   int
		old      fs.FileMode
		newUID   int
		newGID   int
		new      fs.FileMode
	}{
		"root-its-own":              {0, 0, 0, 0, 0o755, 0, 0, 0o660, 0, 0, 0o660},
		"root-of-a-group":           {0, 0, 0, 0, 0o755, 0, own, 0o660, 0, own, 0o660},
		"root-of-the-owner":         {0, 0, user, own, 0o755, user, own, 0o660, user, own, 0o660},
		"root-of-the-owner-group-0": {0, 0, user, own, 0o755, user, 0, 0o666, user, 0, 0o666},
		"root-of-a-stranger":        {0, 0, 0, 0, 0o777, user, own, 0o666, 0, 0, 0o644},
		"root-of-a-stranger-closed": {0, 0, 0, 0, 0o777, user, own, 0o640, 0, 0, 0o640},
		"user-its-own":              {user, own, user, own, 0o755, user, own, 0o660, user, own, 0o660},
		"user-of-a-group-it-has":    {user, own, user, own, 0o755, user, may, 0o660, user, may, 0o660},
		"user-of-another-group":     {user, own, user, own, 0o755, user, other, 0o660, user, own, 0o600},
		"user-of-another-group-644": {user, own, user, own, 0o755, user, other, 0o664, user, own, 0o644},
		"user-in-setgid":            {user, own, user, other, 0o755 | fs.ModeSetgid, user, other, 0o660, user, other, 0o660},
		"user-in-setgid-own-group":  {user, own, user, may, 0o755 | fs.ModeSetgid, user, own, 0o660, user, may, 0o600},
		"user-of-root":              {user, own, user, own, 0o755, 0, 0, 0o664, user, own, 0o644},
	} {
		t.Run(name, func(t *testing.T) {
			tmp := t.TempDir()
			require.NoError(t, os.Chmod(filepath.Dir(tmp), 0o755))
			require.NoError(t, os.Chmod(tmp, 0o755))
			dir := filepath.Join(tmp, "d")
			require.NoError(t, os.Mkdir(dir, 0o700))
			require.NoError(t, os.Chown(dir, c.dirUID, c.dirGID))
			require.NoError(t, os.Chmod(dir, c.dirMode))
			file := filepath.Join(dir, "dynamic.map")
			create(t, file, c.oldUID, c.oldGID, c.old)
			if c.uid == 0 {
				require.NoError(t, ReplaceFile(file, text("new")))
			} else {
				asUser(t, c.uid, c.gid, []uint32{may}, func() { assert.NoError(t, ReplaceFile(file, text("new"))) })
			}
			fi, err := os.Lstat(file)
			require.NoError(t, err)
			st := stat(fi)
			assert.Equal(t, [2]int{c.newUID, c.newGID}, [2]int{int(st.Uid), int(st.Gid)})
			assert.Equal(t, c.new.String(), fi.Mode().String())
		})
	}
}

// TestFirstPermissions: until a file has its group, the group that it begins with may
// not do more than others; a file that begins with its group has its permissions at once.
func TestFirstPermissions(t *testing.T) {
	asRoot(t)
	for _, c := range []struct {
		dirGID  int
		dirMode fs.FileMode
		oldGID  int
		want    fs.FileMode
	}{
		{0, 0o755, 0, 0o660}, {0, 0o755, 12345, 0o600}, {12345, 0o755, 12345, 0o600}, {12345, 0o755, 0, 0o660},
		{12345, 0o755 | fs.ModeSetgid, 12345, 0o660}, {12345, 0o755 | fs.ModeSetgid, 0, 0o600},
	} {
		name := t.TempDir()
		require.NoError(t, os.Chown(name, 0, c.dirGID))
		require.NoError(t, os.Chmod(name, c.dirMode))
		in, err := os.Stat(name)
		require.NoError(t, err)
		like := attributes{perm: 0o660, of: create(t, filepath.Join(name, "old"), 0, c.oldGID, 0o660), dir: in}
		assert.Equal(t, c.want, like.first(), "group %d in a directory of group %d, %v", c.oldGID, c.dirGID, c.dirMode)
	}
	assert.Equal(t, fs.FileMode(0o660), (&attributes{perm: 0o660}).first(), "no owner to keep")
}

// TestOthersOnly: the group may do what it might before and all others may.
func TestOthersOnly(t *testing.T) {
	for perm := range fs.FileMode(0o1000) {
		want := perm&0o707 | perm&0o070&(perm&7<<3)
		require.Equal(t, want, othersOnly(perm), "%03o", perm)
	}
}

// TestClosedFiles: what cannot be looked at has neither group nor order on disk.
func TestClosedFiles(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	f, err := os.Open(name)
	require.NoError(t, err)
	fi, err := f.Stat()
	require.NoError(t, err)
	require.True(t, keepOwner(f, fi))
	require.NoError(t, f.Close())
	require.False(t, keepOwner(f, fi))

	dir, err := os.OpenRoot(filepath.Dir(name))
	require.NoError(t, err)
	require.NoError(t, syncDir(dir))
	require.NoError(t, dir.Close())
	require.ErrorIs(t, syncDir(dir), os.ErrClosed)
}

// TestLongChains: as many symbolic links are followed as the kernel follows.
func TestLongChains(t *testing.T) {
	for _, n := range []int{0, 1, 39, 40, 41} {
		dir := t.TempDir()
		last := filepath.Join(dir, "0")
		require.NoError(t, os.WriteFile(last, nil, 0o600))
		for i := range n {
			next := filepath.Join(dir, fmt.Sprint(i+1))
			require.NoError(t, os.Symlink(last, next))
			last = next
		}
		_, err := os.ReadFile(last)
		require.Equal(t, n > 40, err != nil, "%d links", n)
		require.Equal(t, err != nil, ReplaceFile(last, text("new")) != nil, "%d links: %v", n, err)
	}
}
