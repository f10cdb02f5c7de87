package netlab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// maxDatagram is more than any UDP datagram carries.
const maxDatagram = 1 << 16

// ServeUDPEcho sends every datagram back to where it came from, until the
// returned socket or the lab is closed. A host with several addresses that
// listens on all of them may answer from another one than was asked; give it
// the one that matters.
func (h *Host) ServeUDPEcho(addr string) (io.Closer, error) {
	c, err := h.ListenPacket("udp", addr)
	if err != nil {
		return nil, err
	}
	go func() {
		buf := make([]byte, maxDatagram)
		for {
			n, from, err := c.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil { // else an ICMP error about an earlier answer
				c.WriteTo(buf[:n], from)
			}
		}
	}()
	return c, nil
}

// UDPEcho says what Host.UDPEcho sends.
type UDPEcho struct {
	Sizes    []int         // bytes of payload of each datagram, 0 to 65507
	Timeout  time.Duration // for an answer; 0 means 2 s
	Attempts int           // how often a datagram is sent before giving up; 0 means once
}

// UDPResult is what there is to say about datagrams that all came back.
type UDPResult struct {
	Datagrams int           // answered
	Bytes     int64         // payload in one direction
	Lost      int           // sent again after a timeout or an ICMP error
	RTT       time.Duration // mean of the answered ones
}

// String returns the figures in one line.
func (r UDPResult) String() string {
	return fmt.Sprintf("%d datagrams, %d bytes each way, %d lost, %.2f ms",
		r.Datagrams, r.Bytes, r.Lost, r.RTT.Seconds()*1000)
}

// UDPEcho sends pseudo-random datagrams, one after the other, to a host that runs
// ServeUDPEcho. It fails if one does not come back, byte by byte as it was
// sent. A path MTU that is not known yet costs the first large datagram: allow
// for it by Attempts.
func (h *Host) UDPEcho(addr string, e UDPEcho) (UDPResult, error) {
	c, err := h.Dial("udp", addr, time.Second)
	if err != nil {
		return UDPResult{}, err
	}
	defer c.Close()
	if e.Timeout == 0 {
		e.Timeout = 2 * time.Second
	}
	var res UDPResult
	var total time.Duration
	random := stream(rand.Uint64())
	for _, size := range e.Sizes {
		rtt, lost, err := echoUDP(c, random, size, e)
		res.Lost += lost
		if err != nil {
			return res, h.errorf("UDP echo of %d bytes from %s: %w", size, addr, err)
		}
		res.Datagrams++
		res.Bytes += int64(size)
		total += rtt
		res.RTT = total / time.Duration(res.Datagrams)
	}
	return res, nil
}

// echoUDP sends a datagram until it comes back. Every attempt has contents of its
// own, so that a late answer can't be taken for a later one.
func echoUDP(c net.Conn, random io.Reader, size int, e UDPEcho) (rtt time.Duration, lost int, err error) {
	sent, got := make([]byte, size), make([]byte, maxDatagram)
	for ; ; lost++ {
		io.ReadFull(random, sent) // never fails
		begin := time.Now()
		c.SetDeadline(begin.Add(e.Timeout))
		if _, err = c.Write(sent); err == nil {
			err = awaitUDP(c, sent, got)
		}
		switch {
		case err == nil:
			return time.Since(begin), lost, nil
		case lost+1 >= e.Attempts, errors.Is(err, unix.ECONNREFUSED):
			return 0, lost, err
		}
	}
}

// awaitUDP reads until the expected datagram comes. Others are late or wrong; if
// the expected one does not come at all, the last of them is worth a word.
func awaitUDP(c net.Conn, want, buf []byte) error {
	var wrong error
	for {
		n, err := c.Read(buf)
		if err != nil {
			return errors.Join(err, wrong)
		}
		if bytes.Equal(buf[:n], want) {
			return nil
		}
		wrong = fmt.Errorf("%d bytes came that differ from the %d sent", n, len(want))
	}
}
