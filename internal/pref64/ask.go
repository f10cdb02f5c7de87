package pref64

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

const (
	maxServers  = 4
	maxStrays   = 32      // datagrams of an exchange that are not its answer
	maxTCP      = 1 << 14 // bytes of an answer by TCP
	rounds      = 2
	firstWait   = time.Second // for the answer of a resolver; twice that in the second round
	portDomain  = 53
	maxDatagram = 4096 // bytes; none larger was asked for
)

// A Dialer opens a connection to a resolver: network is "udp" or "tcp". The socket has to be
// connected, so that datagrams of others are not received.
type Dialer func(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error)

// Ask asks the resolvers one after the other, the first maxServers of them. The first answer
// with a prefix counts. Without one, the first answer that has none does: one resolver of
// several may have DNS64. The error is that of the last resolver if none has answered.
func Ask(ctx context.Context, dial Dialer, servers []netip.AddrPort) (Answer, error) {
	return askWithin(ctx, dial, servers, firstWait)
}

// askWithin is Ask with another time to wait for a resolver.
func askWithin(ctx context.Context, dial Dialer, servers []netip.AddrPort, wait time.Duration) (Answer, error) {
	var none *Answer
	err := errors.New("pref64: no resolver is known")
	servers = servers[:min(len(servers), maxServers)]
	for round := range rounds {
		for _, s := range servers {
			a, e := askServer(ctx, dial, s, wait<<round)
			if e == nil && len(a.Prefixes) > 0 {
				return a, nil
			}
			if ctx.Err() != nil {
				return Answer{}, ctx.Err()
			}
			if e != nil {
				err = fmt.Errorf("pref64: resolver %s: %w", s, e)
				continue
			}
			if none == nil {
				none = &a
			}
		}
		if none != nil {
			return *none, nil
		}
	}
	return Answer{}, err
}

// askServer asks one resolver: by UDP, and by TCP if the answer does not fit a datagram.
func askServer(ctx context.Context, dial Dialer, server netip.AddrPort, wait time.Duration) (Answer, error) {
	var random [2]byte
	rand.Read(random[:]) // does not fail
	id := binary.BigEndian.Uint16(random[:])
	q, err := query(id)
	if err != nil {
		return Answer{}, err
	}
	a, err := exchange(ctx, dial, "udp", server, wait, func(c net.Conn) (Answer, error) { return overUDP(c, id, q) })
	if errors.Is(err, errTruncated) {
		a, err = exchange(ctx, dial, "tcp", server, wait, func(c net.Conn) (Answer, error) { return overTCP(c, id, q) })
	}
	return a, err
}

// exchange opens a connection, and closes it when f has returned, or after the time to wait,
// or when ctx is done.
func exchange(ctx context.Context, dial Dialer, network string, server netip.AddrPort, wait time.Duration, f func(net.Conn) (Answer, error)) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	c, err := dial(ctx, network, server)
	if err != nil {
		return Answer{}, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	return f(c)
}

// overUDP sends a query and waits for its answer. What is not the answer is ignored: it may
// be there to be taken for it.
func overUDP(c net.Conn, id uint16, q []byte) (Answer, error) {
	if _, err := c.Write(q); err != nil {
		return Answer{}, err
	}
	b := make([]byte, maxDatagram)
	for range maxStrays {
		n, err := c.Read(b)
		if err != nil {
			return Answer{}, err
		}
		if a, err := ParseAnswer(id, b[:n]); !errors.Is(err, errNotAnswer) {
			return a, err
		}
	}
	return Answer{}, errNotAnswer
}

// overTCP is overUDP by TCP: RFC 1035 §4.2.2.
func overTCP(c net.Conn, id uint16, q []byte) (Answer, error) {
	if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)); err != nil {
		return Answer{}, err
	}
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return Answer{}, err
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	if n > maxTCP {
		return Answer{}, fmt.Errorf("an answer of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		return Answer{}, err
	}
	return ParseAnswer(id, b)
}
