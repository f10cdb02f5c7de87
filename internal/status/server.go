package status

import (
	"errors"
	"io"
	"net"
	"time"
)

// What clients get at most.
const (
	maxClients = 8               // at a time
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
// the report, on a goroutine of its own, for up to maxClients clients at once.
// A client that is slow is left, one that asks nonsense gets a line, one too
// many gets a line.
func Serve(l net.Listener, answer func(What) *Report) {
	free := make(chan struct{}, maxClients)
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors, most likely
			time.Sleep(100 * time.Millisecond)
			continue
		}
		select {
		case free <- struct{}{}:
			go func() {
				serve(conn, answer)
				<-free
			}()
		default:
			conn.SetDeadline(time.Now().Add(busyTime))
			conn.Write(encodeRefusal(errBusy))
			conn.Close()
		}
	}
}

// serve answers one client.
func serve(conn net.Conn, answer func(What) *Report) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(askTime))
	request := make([]byte, requestLen)
	if _, err := io.ReadFull(conn, request); err != nil {
		return
	}
	what, err := decodeRequest(request)
	reply := encodeRefusal(errUnknown)
	if err == nil {
		if reply, err = encodeAnswer(answer(what)); err != nil {
			reply = encodeRefusal(errBroke)
		}
	}
	conn.SetDeadline(time.Now().Add(answerTime))
	conn.Write(reply)
}
