package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/testbed"
)

// A disk is a small file system that is mounted nowhere: its path leads through
// a file descriptor of this program, and it is gone when that is closed.
type disk struct{ fd int }

// newDisk makes a disk of so many bytes.
func newDisk(size int) (*disk, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("faults: open a tmpfs: %w", err)
	}
	defer unix.Close(fs)
	if err := errors.Join(
		unix.FsconfigSetString(fs, "size", fmt.Sprint(size)),
		unix.FsconfigCreate(fs),
	); err != nil {
		return nil, fmt.Errorf("faults: make a tmpfs: %w", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("faults: mount a tmpfs: %w", err)
	}
	return &disk{fd}, nil
}

func (d *disk) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), d.fd) }

func (d *disk) close() { unix.Close(d.fd) }

// readOnly switches writing off or on. The kernel refuses while a file is open
// for writing.
func (d *disk) readOnly(on bool) error {
	attr := unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
	if on {
		attr = unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	}
	for range 1000 {
		err := unix.MountSetattr(d.fd, "", unix.AT_EMPTY_PATH, &attr)
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return unix.EBUSY
}

// fill leaves no room.
func (d *disk) fill() error {
	f, err := os.Create(d.ballast())
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			if errors.Is(err, unix.ENOSPC) {
				return nil
			}
			return err
		}
	}
}

func (d *disk) ballast() string { return filepath.Join(d.path(), "ballast") }

// diskFull has the disk fill up while leases are given out.
func (x *trial) diskFull() (string, error) {
	return x.unwritable("no space left on device", (*disk).fill, func(d *disk) error { return os.Remove(d.ballast()) })
}

// diskReadOnly has the disk refuse to be written, as one does that has errors.
func (x *trial) diskReadOnly() (string, error) {
	return x.unwritable("read-only file system",
		func(d *disk) error { return d.readOnly(true) },
		func(d *disk) error { return d.readOnly(false) })
}

// unwritable spoils the disk and fixes it, in one life of the binary and from
// one to the next. What was saved before stays, and what was given out meanwhile
// is saved as soon as it can be.
func (x *trial) unwritable(message string, spoil, repair func(*disk) error) (string, error) {
	b, done, err := x.open("203.0.112.0/23")
	if err != nil {
		return "", err
	}
	defer done()
	d, err := newDisk(64 << 10)
	if err != nil {
		return "", err
	}
	defer d.close()
	b.DataDir = d.path()
	if err := b.Start(); err != nil {
		return "", err
	}
	rounds := x.n(5, 2)
	all, next := make(testbed.Leases), uint32(0)
	grow := func() error {
		more, err := lease(b, next, 20)
		next += 20
		for host, addr := range more {
			all[host] = addr
		}
		return err
	}
	for range rounds {
		if err := errors.Join(grow(), b.Reload()); err != nil {
			return "", err
		}
		before, err := b.Saved()
		if err != nil {
			return "", err
		}
		from := b.Said()
		if err := errors.Join(x.keep(all, before), spoil(d), grow(), b.Reload(), b.Await(from, message)); err != nil {
			return "", err
		}
		x.inputs++
		now, err := b.Saved()
		if err := errors.Join(err, x.keep(before, now), b.Check(), x.seen(b, all)); err != nil {
			return "", err
		}
		// It ends and starts again with the disk as it is, and so without what it
		// could not save.
		if err := errors.Join(b.Stop(), b.Start()); err != nil {
			return "", err
		}
		now, err = b.Saved()
		if err := errors.Join(err, x.keep(before, now), x.seen(b, before)); err != nil {
			return "", err
		}
		all = maps.Clone(before)
		if err := errors.Join(grow(), x.seen(b, all), repair(d), b.Reload()); err != nil {
			return "", err
		}
		if now, err = b.Saved(); err != nil {
			return "", err
		}
		if err := x.keep(all, now); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d times; what was saved stayed, %d leases in the end", rounds, len(all)), b.Stop()
}

// dataDirRemoved takes the directory away under the binary.
func (x *trial) dataDirRemoved() (string, error) {
	b, leases, done, err := x.living(50)
	if err != nil {
		return "", err
	}
	defer done()
	if err := b.Reload(); err != nil {
		return "", err
	}
	if err := os.RemoveAll(b.DataDir); err != nil {
		return "", err
	}
	x.inputs++
	from := b.Said()
	more, err := lease(b, 50, 50)
	if err := errors.Join(err, b.Reload(), b.Await(from, "no such file or directory")); err != nil {
		return "", err
	}
	// The next life finds a directory that it has to make.
	if err := errors.Join(x.seen(b, leases), x.seen(b, more), b.Check(), b.Stop(), b.Start(), b.Check(), b.Reload()); err != nil {
		return "", err
	}
	if _, err := b.Saved(); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d leases went on, the next life made it anew", len(leases)+len(more)), b.Stop()
}

const nobody = 65534

// dataDirOfAnother makes another user the owner of the directory, before the start and
// while the binary runs, which does so without privilege, and as root.
func (x *trial) dataDirOfAnother() (string, error) {
	b, done, err := x.open(smallPool)
	if err != nil {
		return "", err
	}
	defer done()
	if err := errors.Join(os.Chmod(b.Path(""), 0o755), os.Mkdir(b.DataDir, 0o755)); err != nil {
		return "", err
	}
	own := func(uid int) error { return os.Chown(b.DataDir, uid, uid) }

	if err := b.Start("-u", "nobody"); err != nil {
		return "", err
	}
	leases, err := lease(b, 0, 30)
	if err := errors.Join(err, b.Reload(), b.Await(0, "permission denied"), b.Check()); err != nil {
		return "", err
	}
	if err := errors.Join(own(nobody), b.Reload()); err != nil {
		return "", err
	}
	saved, err := b.Saved()
	if err := errors.Join(err, x.keep(leases, saved), own(0)); err != nil {
		return "", err
	}
	from := b.Said()
	more, err := lease(b, 30, 30)
	if err := errors.Join(err, b.Reload(), b.Await(from, "permission denied"), x.seen(b, leases), x.seen(b, more), b.Stop()); err != nil {
		return "", err
	}
	saved, err = b.Saved()
	if err := errors.Join(err, x.keep(leases, saved)); err != nil {
		return "", err
	}
	// Root may write where no other user may.
	if err := errors.Join(own(nobody), b.Start(), x.seen(b, leases)); err != nil {
		return "", err
	}
	more, err = lease(b, 60, 30)
	if err := errors.Join(err, b.Stop()); err != nil {
		return "", err
	}
	saved, err = b.Saved()
	if err := errors.Join(err, x.keep(leases, saved), x.keep(more, saved)); err != nil {
		return "", err
	}
	x.inputs += 3
	return fmt.Sprintf("3 times; saved as soon as it was allowed, %d leases in the end", len(saved)), nil
}

// fileUnreadable has the binary start where it may not read what it saved. It
// must not take the place of what it could not read.
func (x *trial) fileUnreadable() (string, error) {
	b, done, err := x.open(smallPool)
	if err != nil {
		return "", err
	}
	defer done()
	file := filepath.Join(b.DataDir, "dynamic.map")
	if err := errors.Join(os.Chmod(b.Path(""), 0o755), os.Mkdir(b.DataDir, 0o755), os.Chown(b.DataDir, nobody, nobody),
		b.Start("-u", "nobody")); err != nil {
		return "", err
	}
	leases, err := lease(b, 0, 100)
	if err := errors.Join(err, b.Stop(), os.Chown(file, 0, 0), os.Chmod(file, 0o600)); err != nil {
		return "", err
	}
	x.inputs++
	if err := errors.Join(b.Start("-u", "nobody"), b.Await(0, "permission denied"), b.Check(), b.Stop()); err != nil {
		return "", err
	}
	kept := b.DataDir + "/dynamic.map.damaged"
	text, err := os.ReadFile(kept)
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.WriteFile(file, text, 0o644), os.Chown(file, nobody, nobody), b.Start("-u", "nobody")); err != nil {
		return "", err
	}
	return fmt.Sprintf("set aside, with %d leases in it", len(leases)), errors.Join(x.seen(b, leases), b.Stop())
}

// A damage turns a good file of leases into a bad one.
type damage struct {
	name string
	do   func(good []byte) []byte
	// whole says that all leases can still be told from the file.
	whole bool
}

// damages are of many kinds. Those that are left to chance are tried several
// times.
var damages = []damage{
	{"empty", func([]byte) []byte { return nil }, false},
	{"cut", func(good []byte) []byte { return good[:rand.IntN(len(good))] }, false},
	{"front-gone", func(good []byte) []byte { return good[rand.IntN(len(good)):] }, false},
	{"bytes", func(good []byte) []byte {
		b := bytes.Clone(good)
		for range 1 + rand.IntN(50) {
			b[rand.IntN(len(b))] = byte(rand.Uint32())
		}
		return b
	}, false},
	{"zeros", func(good []byte) []byte { return make([]byte, len(good)) }, false},
	{"tail-of-zeros", func(good []byte) []byte { return append(bytes.Clone(good), make([]byte, 4096)...) }, true},
	{"binary", func(good []byte) []byte { return noise(len(good)) }, false},
	{"binary-after", func(good []byte) []byte { return append(append(bytes.Clone(good), '\n'), noise(4096)...) }, true},
	{"twice", func(good []byte) []byte { return append(bytes.Clone(good), good...) }, true},
	{"another-system", func(good []byte) []byte { return bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")) }, true},
	{"blanks", func(good []byte) []byte { return bytes.ReplaceAll(good, []byte("\t"), []byte("  ")) }, true},
	{"no-end", func(good []byte) []byte { return bytes.TrimRight(good, "\n") }, true},
	{"long-line", func(good []byte) []byte {
		return append([]byte(strings.Repeat("203.0.113.9 ", 10000)+"\n"), good...)
	}, true},
	{"foreign", func(good []byte) []byte {
		return append([]byte("0.0.0.0\t::\t1\n255.255.255.255\tff02::1\t1\n127.0.0.1\t::1\t1\n192.0.2.1\t2001:db8:64::1\t1\n-1\t-1\t-1\n"+
			"203.0.113.300\t2001:db8::1\t1\n203.0.113.9\t2001:db8::%eth0\t99999999999999999999999\n"), good...)
	}, true},
}

func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// fileDamaged has the binary start with files that are no good. It uses what can
// be told from them and keeps a copy.
func (x *trial) fileDamaged() (string, error) {
	b, leases, done, err := x.living(200)
	if err != nil {
		return "", err
	}
	defer done()
	if err := b.Stop(); err != nil {
		return "", err
	}
	file := filepath.Join(b.DataDir, "dynamic.map")
	good, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	files := 0
	for range x.n(8, 1) {
		for _, d := range damages {
			if err := os.WriteFile(file, d.do(good), 0o644); err != nil {
				return "", err
			}
			files++
			if err := x.damaged(b, d, leases); err != nil {
				return "", fmt.Errorf("%s: %w", d.name, err)
			}
		}
	}
	x.inputs += int64(files)
	return fmt.Sprintf("%d files of %d kinds", files, len(damages)), nil
}

// damaged is one life of the binary with a damaged file.
func (x *trial) damaged(b *testbed.Bed, d damage, leases testbed.Leases) error {
	if err := errors.Join(b.Start(), b.PingThrough(), b.Stop()); err != nil {
		return err
	}
	now, err := b.Saved()
	if err != nil || !d.whole {
		return err
	}
	return x.keep(leases, now)
}

// fileHuge has the binary start with files that are far larger than the pool. It
// must neither keep all that in memory nor take the day for it.
func (x *trial) fileHuge() (string, error) {
	b, done, err := x.open(smallPool)
	if err != nil {
		return "", err
	}
	defer done()
	if err := b.Start(); err != nil {
		return "", err
	}
	usual, err := b.Usage()
	if err := errors.Join(err, b.Stop()); err != nil {
		return "", err
	}
	size := x.n(32<<20, 8<<20)
	file := filepath.Join(b.DataDir, "dynamic.map")
	now := time.Now().Unix()
	worst, block := int64(0), string(noise(1<<16))
	for name, line := range map[string]func(i int) string{
		"zeros": func(int) string { return string(make([]byte, 4096)) },
		"noise": func(int) string { return block },
		"same":  func(int) string { return fmt.Sprintf("203.0.113.7\t%v\t%d\n", testbed.Host(7), now) },
		"others": func(i int) string {
			return fmt.Sprintf("203.0.113.%d\t%v\t%d\n", i%256, testbed.Host(uint32(i)), now-10000+int64(i%300))
		},
		"foreign": func(i int) string {
			return fmt.Sprintf("10.%d.%d.%d\t%v\t%d\n", i>>16&255, i>>8&255, i&255, testbed.Host(uint32(i)), now)
		},
		"remarks": func(int) string { return "#\n" },
	} {
		if err := writeLines(file, size, line); err != nil {
			return "", err
		}
		if err := errors.Join(b.Start(), b.PingThrough()); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		u, err := b.Usage()
		if err := errors.Join(err, b.Stop()); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		if u.Peak > usual.Peak+spare {
			return "", fmt.Errorf("%s: took %d MiB of memory, %d are usual", name, u.Peak>>20, usual.Peak>>20)
		}
		worst = max(worst, u.Peak)
		if _, err := b.Saved(); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		x.inputs++
	}
	return fmt.Sprintf("6 files of %d MiB, at most %d MiB of memory, %d without", size>>20, worst>>20, usual.Peak>>20), nil
}

// writeLines writes a file of so many bytes, or a little more.
func writeLines(name string, size int, line func(i int) string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	var buf bytes.Buffer
	for i := 0; size > 0; i++ {
		n, _ := buf.WriteString(line(i))
		if size -= n; buf.Len() > 1<<20 || size <= 0 {
			if _, err := io.Copy(f, &buf); err != nil {
				return err
			}
		}
	}
	return f.Close()
}

// clockStepped has the wall clock be another one from one life of the binary to
// the next. It is the file that is changed, not the clock: a clock that went back
// by days sees times that lie ahead by days. (What happens to a clock that is
// stepped while the binary runs is shown in package pool: ages are measured by
// the monotonic clock.)
func (x *trial) clockStepped() (string, error) {
	b, leases, done, err := x.living(100)
	if err != nil {
		return "", err
	}
	defer done()
	if err := b.Stop(); err != nil {
		return "", err
	}
	const day = 24 * 60 * 60
	steps := []int64{-3 * day, 3 * day, -40 * 365 * day, 13 * day, -400, 400, -day, day}
	for _, step := range steps {
		if err := stepFile(filepath.Join(b.DataDir, "dynamic.map"), step); err != nil {
			return "", err
		}
		x.inputs++
		if err := errors.Join(b.Start(), b.Await(0, "Loaded 100 dynamic maps"), x.seen(b, leases), b.Signal(syscall.SIGHUP), b.Stop()); err != nil {
			return "", fmt.Errorf("after %d s: %w", step, err)
		}
		now, err := b.Saved()
		if err := errors.Join(err, x.keep(leases, now)); err != nil {
			return "", fmt.Errorf("after %d s: %w", step, err)
		}
	}
	return fmt.Sprintf("%d times by up to 40 years, between two lives; %d leases kept", len(steps), len(leases)), nil
}

// stepFile makes the times in a file of leases what a clock that was stepped by
// so many seconds sees in it.
func stepFile(name string, step int64) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		var addr, host string
		var used int64
		if n, _ := fmt.Sscanf(line, "%s\t%s\t%d\n", &addr, &host, &used); n == 3 && line[0] != '#' {
			line = fmt.Sprintf("%s\t%s\t%d\n", addr, host, max(1, used-step))
		}
		out.WriteString(line)
	}
	return os.WriteFile(name, []byte(out.String()), 0o644)
}
