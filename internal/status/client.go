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
	r, err := ask(path, what, patience)
	if err != nil {
		return nil, fmt.Errorf("status: %s: %w", path, err)
	}
	return r, nil
}

func ask(path string, what What, patience time.Duration) (*Report, error) {
	conn, err := net.DialTimeout("unix", path, patience)
	if err != nil {
		return nil, explain(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	conn.Write(encodeRequest(what)) // if this fails, the answer tells why: a busy server does not wait for it
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
