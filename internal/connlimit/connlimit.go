// Package connlimit bounds how many connections a server has at a time, so that slow
// clients cannot keep others out: when one too many comes, the one that has waited
// longest to send its request is closed.
package connlimit

import (
	"net"
	"slices"
	"sync"
)

// A Listener accepts connections. What it accepts is a *Conn.
type Listener struct {
	net.Listener
	most  int
	evict func(net.Conn)
	mu    sync.Mutex
	conns []*Conn // in the order in which they came
}

// New returns a listener with at most so many connections. evict, which may be nil,
// is called with a connection that is about to be closed; it has to be quick.
func New(l net.Listener, most int, evict func(net.Conn)) *Listener {
	return &Listener{Listener: l, most: most, evict: evict}
}

// Accept waits for the next connection, and makes room for it.
func (l *Listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &Conn{Conn: conn, from: l}
	if old := l.admit(c); old != nil {
		if l.evict != nil {
			l.evict(old.Conn)
		}
		old.Close()
	}
	return c, nil
}

// admit takes c in and returns the connection that has to go for it, if any.
func (l *Listener) admit(c *Conn) (old *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) >= l.most {
		i := max(0, slices.IndexFunc(l.conns, func(c *Conn) bool { return !c.asked }))
		old = l.conns[i]
		l.conns = slices.Delete(l.conns, i, i+1)
	}
	l.conns = append(l.conns, c)
	return old
}

// A Conn is a connection that counts until it is closed.
type Conn struct {
	net.Conn
	from  *Listener
	asked bool // guarded by from.mu
}

// Asked says that the whole request is here. From now on the connection has to go
// only if all others have asked, too, and came later.
func (c *Conn) Asked() {
	c.from.mu.Lock()
	defer c.from.mu.Unlock()
	c.asked = true
}

// Close closes the connection. It may be called more than once.
func (c *Conn) Close() error {
	c.from.mu.Lock()
	if i := slices.Index(c.from.conns, c); i >= 0 {
		c.from.conns = slices.Delete(c.from.conns, i, i+1)
	}
	c.from.mu.Unlock()
	return c.Conn.Close()
}
