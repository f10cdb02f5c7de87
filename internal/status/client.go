package status

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a client waits for its whole answer.
const patience = 10 * time.Second

// Ask gets a report from the daemon that listens at path. The error says in one
// line what is in the way; it wraps os.ErrNotExist or ECONNREFUSED if there is
// no daemon. The report is well-formed and otherwise whatever the other side
// says: WriteTable copes with that.
func Ask(path string, what What) (*Report, error) {
	r, err := ask(path, Request{What: what}, patience)
	if err != nil {
		return nil, fmt.Errorf("status: %s: %w", path, err)
	}
	return r, nil
}

// AskSessions calls page with one page after the other of the sessions that q selects, each
// in a report of its moment, until page returns an error. There is one page at least.
func AskSessions(path string, q Query, page func(*Report) error) error {
	var first *Report
	for {
		r, err := ask(path, Request{Sessions, q}, patience)
		if err == nil {
			err = follows(first, r, q)
		}
		if err != nil {
			return fmt.Errorf("status: %s: %w", path, err)
		}
		if first == nil {
			first = r
		}
		q.Page = r.SessionList.Next
		if err := page(r); err != nil || q.Page == 0 {
			return err
		}
	}
}

// follows checks that a page belongs to the listing that began with first, and brings it
// nearer to its end.
func follows(first, r *Report, q Query) error {
	switch l := r.SessionList; {
	case first != nil && (r.PID != first.PID || !r.Started.Equal(first.Started)):
		return errors.New("tayga was restarted meanwhile: the list is not complete")
	case l == nil:
		return errors.New("the answer has no sessions")
	case l.Next != 0 && l.Next <= q.Page:
		return errors.New("the answer makes no sense: the next page is not after this one")
	}
	return nil
}

func ask(path string, request Request, patience time.Duration) (*Report, error) {
	conn, err := net.DialTimeout("unix", path, patience)
	if err != nil {
		return nil, explain(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	conn.Write(request.encode()) // if this fails, the answer tells why: a busy server does not wait for it
	r, err := decodeAnswer(conn)
	return r, explain(err)
}

// explain says what to do about an error of a socket.
func explain(err error) error {
	var op *net.OpError
	if !errors.As(err, &op) {
		return err
	}
	var call *os.SyscallError
	cause := op.Err
	if errors.As(cause, &call) {
		cause = call.Err
	}
	switch {
	case errors.Is(cause, os.ErrNotExist), errors.Is(cause, unix.ECONNREFUSED):
		return fmt.Errorf("%w: no tayga runs there", cause)
	case errors.Is(cause, os.ErrPermission):
		return fmt.Errorf("%w: it is for root and the group that tayga runs as", cause)
	case errors.Is(cause, os.ErrDeadlineExceeded):
		return errors.New("no whole answer in time")
	}
	return cause
}
