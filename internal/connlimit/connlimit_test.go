package connlimit

import (
	"errors"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// accept makes a client and returns it with the server's side of it.
func accept(t *testing.T, l *Listener) (client net.Conn, server *Conn) {
	t.Helper()
	client, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	conn, err := l.Accept()
	require.NoError(t, err)
	return client, conn.(*Conn)
}

// closed reports whether the server has closed the connection: its end can be read.
func closed(t *testing.T, c *Conn) bool {
	t.Helper()
	_, err := c.Write(nil)
	return errors.Is(err, net.ErrClosed)
}

// The one that goes is the oldest of those that have not asked, then the oldest.
func TestWhoGoes(t *testing.T) {
	under, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer under.Close()
	l := New(under, 3, func(c net.Conn) { io.WriteString(c, "busy") })

	first, one := accept(t, l)
	_, two := accept(t, l)
	_, three := accept(t, l)
	one.Asked()
	_, four := accept(t, l)
	assert.True(t, closed(t, two))
	assert.False(t, closed(t, one) || closed(t, three) || closed(t, four))

	require.NoError(t, four.Close())
	assert.ErrorIs(t, four.Close(), net.ErrClosed)
	_, five := accept(t, l)
	assert.False(t, closed(t, one) || closed(t, three) || closed(t, five), "there was room")

	three.Asked()
	five.Asked()
	_, six := accept(t, l)
	assert.True(t, closed(t, one))
	assert.False(t, closed(t, three) || closed(t, five) || closed(t, six))
	said, err := io.ReadAll(first)
	assert.NoError(t, err)
	assert.Equal(t, "busy", string(said))

	under.Close()
	_, err = l.Accept()
	assert.ErrorIs(t, err, net.ErrClosed)
}
