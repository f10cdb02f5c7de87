package pref64

import (
	"errors"
	"sync"
)

// maxFinders is how many Finders may use one Listener at a time.
const maxFinders = 8

// A Listener has the sockets for Finders that are opened later, when the process may have
// no privilege any more: each Finder takes one of them, for any interface, and gives it
// back when it is closed. So neighbours on one uplink can fill the queue of that one alone.
// Its methods, and Open with it, may be called at once by several goroutines.
type Listener struct {
	mu     sync.Mutex
	free   []*sockets
	closed bool
}

// Listen opens the sockets of up to 8 Finders in the network namespace of the calling
// thread. It needs no privilege; see Open for what CAP_NET_RAW changes.
func Listen() (*Listener, error) { return openListener(maxFinders, false) }

func openListener(n int, withoutICMP bool) (*Listener, error) {
	l := new(Listener)
	for range n {
		s, err := openSockets(withoutICMP)
		if err != nil {
			l.Close()
			return nil, err
		}
		l.free = append(l.free, s)
	}
	return l, nil
}

// Close closes the sockets. Those that Finders have are closed with these.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []error
	for _, s := range l.free {
		all = append(all, s.close())
	}
	l.free, l.closed = nil, true
	return errors.Join(all...)
}

// take returns sockets that receive on an interface.
func (l *Listener) take(name string) (*sockets, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) == 0 {
		return nil, errors.New("no socket is left")
	}
	s := l.free[len(l.free)-1]
	if err := s.use(name); err != nil {
		return nil, err
	}
	l.free = l.free[:len(l.free)-1]
	return s, nil
}

// giveBack takes sockets that a Finder does not need any more.
func (l *Listener) giveBack(s *sockets) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return s.close()
	}
	if err := s.rest(); err != nil {
		return errors.Join(err, s.close())
	}
	l.free = append(l.free, s)
	return nil
}
