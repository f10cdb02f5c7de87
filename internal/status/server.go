package status

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/steppe-nat64/steppe/internal/connlimit"
)

// What clients get at most.
const (
	maxClients = 32              // at a time
	maxMaking  = 4               // reports, which no client can slow down
	askTime    = 2 * time.Second // to send their request
	answerTime = 5 * time.Second // to take the answer
	// busyTime is for a line that has room in an empty socket buffer at once.
	busyTime = 10 * time.Millisecond
)

var (
	errBusy  = errors.New("too many clients at once: try again")
	errBroke = errors.New("the report could not be made")
)

// Serve answers clients until l is closed. Each gets one answer; answer makes
// the report, on a goroutine of its own, for up to maxMaking clients at once.
// A client that is slow is left, and one that asks nonsense gets a line. If there
// are too many, the slowest one gets a line and goes.
func Serve(l net.Listener, answer func(Request) *Report) {
	l = connlimit.New(l, maxClients, func(conn net.Conn) {
		conn.SetDeadline(time.Now().Add(busyTime))
		conn.Write(encodeRefusal(errBusy))
	})
	making := make(chan struct{}, maxMaking)
	one := func(r Request) *Report {
		making <- struct{}{}
		defer func() { <-making }()
		return answer(r)
	}
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors, most likely
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go serve(conn.(*connlimit.Conn), one)
	}
}

// serve answers one client.
func serve(conn *connlimit.Conn, answer func(Request) *Report) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(askTime))
	request, err := readRequest(conn)
	if err != nil && !errors.Is(err, errUnknown) && !errors.Is(err, errBadQuery) {
		return // less than a request came
	}
	conn.Asked()
	var reply []byte
	if err == nil {
		if reply, err = encodeAnswer(answer(request)); err != nil {
			err = errBroke
		}
	}
	if err != nil {
		reply = encodeRefusal(err)
	}
	conn.SetDeadline(time.Now().Add(answerTime))
	conn.Write(reply)
}

// readRequest reads what a client asks for. The error is errUnknown or errBadQuery if the
// request makes no sense.
func readRequest(r io.Reader) (Request, error) {
	b := make([]byte, requestLen)
	if _, err := io.ReadFull(r, b); err != nil {
		return Request{}, err
	}
	what, err := decodeRequest(b)
	if err != nil || what != Sessions {
		return Request{What: what}, err
	}
	b = make([]byte, queryLen)
	if _, err := io.ReadFull(r, b); err != nil {
		return Request{}, err
	}
	q, err := decodeQuery(b)
	return Request{what, q}, err
}
