package tun

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Any program that can open /dev/net/tun may attach to a device with several queues
// until that has an owner or a group: tun_not_capable in drivers/net/tun.c. Between
// the call that makes the device and the one that gives it an owner there is a
// moment. A program that attaches then stays attached, also with a detached queue
// that comes back unchecked (TUNSETQUEUE). So the queues are counted after that, and
// a device that has more than ours is deleted and made anew.

// makeTries is how often that is tried.
const makeTries = 200

// errRaced: a program was attached before the device had its owner.
var errRaced = errors.New("another process attaches to the device as soon as it is made")

// makeOrAttach opens the first queue of the named device. It makes the device for
// own if there is none, and reports whether it did.
func makeOrAttach(name string, flags uint16, own Owner) (q *Queue, made bool, err error) {
	for range makeTries {
		if q, err = attach(name, flags|unix.IFF_TUN_EXCL); err == nil {
			err = give(q.fd, name, own)
			if err == nil {
				err = onlyOurs(name, 1)
			}
			if err == nil {
				return q, true, nil
			}
			discard(q, name)
			if errors.Is(err, errRaced) {
				continue
			}
			return nil, false, err
		}
		if !errors.Is(err, unix.EBUSY) {
			return nil, false, err
		}
		// There is a device, or was: one that goes now must not be made without an owner.
		var before int
		if before, err = indexOf(name); errors.Is(err, unix.ENODEV) {
			continue
		} else if err != nil {
			return nil, false, err
		}
		if q, err = attach(name, flags); err != nil {
			return nil, false, err
		}
		after, err := indexOf(name)
		if err == nil && after == before {
			return q, false, nil
		}
		unix.Close(q.fd)
	}
	return nil, false, errRaced
}

// onlyOurs checks a device that this process has just made. A program that was
// attached and has gone may have left it persistent.
func onlyOurs(name string, queues int) error {
	i, err := Inspect(name)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return nil // before 4.17
	case err != nil:
		return err
	case i.Queues > queues || i.Persistent:
		return errRaced
	}
	return nil
}

// discard takes away a device that this process has made: others may have it open.
func discard(q *Queue, name string) {
	if index, err := indexOf(name); err == nil {
		_ = removeLink(index)
	}
	unix.Close(q.fd)
}

// give makes a device one user's and one group's, by a queue of it. A negative
// number leaves one of them out.
func give(fd int, name string, own Owner) error {
	if own.UID >= 0 {
		if err := unix.IoctlSetInt(fd, unix.TUNSETOWNER, own.UID); err != nil {
			return fmt.Errorf("tun: set owner of %s: %w", name, err)
		}
	}
	if own.GID >= 0 {
		if err := unix.IoctlSetInt(fd, unix.TUNSETGROUP, own.GID); err != nil {
			return fmt.Errorf("tun: set group of %s: %w", name, err)
		}
	}
	return nil
}

// ownerOf returns whom a configuration wants a device to be made for.
func ownerOf(c Config) Owner {
	if c.Owner != nil {
		return *c.Owner
	}
	return Owner{UID: os.Geteuid(), GID: os.Getegid()}
}

// indexOf returns the index of an interface of this network namespace.
func indexOf(name string) (int, error) {
	s, err := routeSocket()
	if err != nil {
		return 0, err
	}
	defer unix.Close(s)
	i, err := inspect(s, name)
	if i.Index > 0 {
		return i.Index, nil
	}
	return 0, err
}
