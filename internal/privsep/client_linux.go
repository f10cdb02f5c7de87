package privsep

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/hostnet"
	"github.com/steppe-nat64/steppe/internal/sandbox"
	"github.com/steppe-nat64/steppe/tun"
)

// How long the helper may take: to start on a machine that is busy, to answer, and to end.
const (
	startPatience  = 30 * time.Second
	answerPatience = 10 * time.Second
	endPatience    = time.Second
	// networkPatience is for changes of the network: another Manager may change something
	// (see lockTimeout of hostnet), and a firewall that changes all the time makes some begin
	// again. A helper that is given up undoes all.
	networkPatience = 45 * time.Second
)

// ErrEnded: there is no helper any more.
var ErrEnded = errors.New("the privileged helper has ended")

// A Helper is a process that does what the configuration says and this process may not.
// One request at a time is under way; methods may be called from any goroutine.
type Helper struct {
	queues int // that attach may get
	pid    int
	conn   *net.UnixConn
	stdin  *os.File // the helper's, until it is configured

	mu      sync.Mutex // held from a request to its reply
	replies chan answer
	ended   chan struct{} // closed when the helper has ended
	err     error         // why, before ended is closed
}

// An answer is a reply and the descriptors that came with it.
type answer struct {
	reply
	fds []int
}

// Start starts the helper, from a process that has the capability still. The helper waits
// for Configure. device is for lists of processes. program is the descriptor of a program that
// the helper can attach, less than 0 if there is none.
func Start(device string, program int) (*Helper, error) {
	if err := sandbox.MayRun(inherits()); err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	defer unix.Close(pair[1])
	own := os.NewFile(uintptr(pair[0]), "helper")
	defer own.Close() // FileConn has a copy
	conn, err := net.FileConn(own)
	if err != nil {
		return nil, err
	}
	stdin, in, err := os.Pipe()
	if err != nil {
		conn.Close()
		return nil, err
	}
	defer stdin.Close()
	h := &Helper{conn: conn.(*net.UnixConn), stdin: in, replies: make(chan answer, 1), ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the helper ends with the thread that started it: this one lasts
		var err error
		h.pid, err = spawn(device, int(stdin.Fd()), pair[1], program)
		started <- err
		if err == nil {
			h.listen()
		}
	}()
	if err := <-started; err != nil {
		conn.Close()
		in.Close()
		return nil, err
	}
	// The kernel removes the helper by itself when it has ended: this process may not be
	// able to wait for it by then.
	signal.Ignore(unix.SIGCHLD)
	return h, nil
}

// Configure says what the helper may do, once.
func (h *Helper) Configure(c Config) error {
	defer h.stdin.Close()
	h.queues = max(c.Device.Queues, 1)
	text, err := c.encode()
	if err != nil {
		return err
	}
	h.stdin.SetWriteDeadline(time.Now().Add(startPatience))
	if _, err = h.stdin.Write(text); err != nil {
		return fmt.Errorf("configure the helper: %w", err)
	}
	return nil
}

// Ready waits until the helper works. It returns what it says about its sandbox.
func (h *Helper) Ready() (string, error) {
	a, err := h.wait(startPatience)
	if err == nil && len(a.fds) > 0 {
		err = h.violated(a.fds)
	}
	return a.text, err
}

// PID returns the helper's process id.
func (h *Helper) PID() int { return h.pid }

// Ended is closed when there is no helper any more.
func (h *Helper) Ended() <-chan struct{} { return h.ended }

// Alive reports whether there is a helper.
func (h *Helper) Alive() bool {
	select {
	case <-h.ended:
		return false
	default:
		return true
	}
}

// Close ends the helper and waits a moment until it has.
func (h *Helper) Close() {
	h.conn.CloseWrite()
	select {
	case <-h.ended:
	case <-time.After(endPatience):
	}
	h.conn.Close()
}

// Attach has the helper open the queues of the device.
func (h *Helper) Attach() (tun.Attached, error) {
	a, err := h.ask(request{op: opAttach})
	if err != nil {
		return tun.Attached{}, err
	}
	return tun.Attached{FDs: a.fds, Features: a.features}, nil
}

// Up has the helper set the device up.
func (h *Helper) Up() error { _, err := h.ask(request{op: opUp}); return err }

// AddIP has the helper add an address to the device.
func (h *Helper) AddIP(p netip.Prefix) error {
	_, err := h.ask(request{op: opAddIP, prefix: p})
	return err
}

// AddRoute has the helper add a route over the device.
func (h *Helper) AddRoute(p netip.Prefix) error {
	_, err := h.ask(request{op: opAddRoute, prefix: p})
	return err
}

// FastPath has the helper attach the program to the device. It returns the descriptor of the
// attachment.
func (h *Helper) FastPath() (fd int, err error) {
	a, err := h.ask(request{op: opFastPath})
	if err != nil {
		return -1, err
	}
	return a.fds[0], nil
}

// Network has the helper make the network of the machine as listed: see hostnet.Manager.Apply.
func (h *Helper) Network(list []hostnet.Change) error {
	b, err := encodeChanges(list)
	if err == nil {
		_, err = h.ask(request{op: opNetwork, list: string(b)})
	}
	return err
}

// Resolvers has the helper read which resolvers the machine has.
func (h *Helper) Resolvers() ([]netip.Addr, error) {
	a, err := h.ask(request{op: opResolvers})
	if err != nil {
		return nil, err
	}
	return decodeAddrs(a.text)
}

// ask sends a request and waits for the reply. Without one in time there is no helper any
// more: a reply that came later would be taken for another one's.
func (h *Helper) ask(r request) (answer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.ended:
		return answer{}, h.err
	case a := <-h.replies:
		return answer{}, h.violated(a.fds) // to nothing that was asked
	default:
	}
	h.conn.SetWriteDeadline(time.Now().Add(answerPatience))
	if _, err := h.conn.Write(r.encode()); err != nil {
		h.conn.Close()
		<-h.ended
		return answer{}, h.err
	}
	patience := answerPatience
	if r.op == opNetwork {
		patience = networkPatience
	}
	a, err := h.wait(patience)
	switch {
	case err != nil:
		return answer{}, err
	case !r.fits(a, h.queues):
		return answer{}, h.violated(a.fds)
	}
	return a, a.err()
}

// fits reports whether an answer has as many descriptors as the request leads to.
func (r request) fits(a answer, queues int) bool {
	if r.op == opAttach && a.code == codeDone {
		return len(a.fds) > 0 && len(a.fds) <= queues
	}
	if r.op == opFastPath && a.code == codeDone {
		return len(a.fds) == 1
	}
	return len(a.fds) == 0
}

// wait waits for a reply.
func (h *Helper) wait(patience time.Duration) (answer, error) {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case a := <-h.replies:
		return a, nil
	case <-h.ended:
		return answer{}, h.err
	case <-late.C:
		h.conn.Close()
		<-h.ended
		return answer{}, fmt.Errorf("%w: no answer in time", ErrEnded)
	}
}

// violated ends a helper that does not keep to the protocol.
func (h *Helper) violated(fds []int) error {
	closeAll(fds)
	h.conn.Close()
	<-h.ended
	return fmt.Errorf("%w: %w", ErrEnded, errMalformed)
}

// listen takes replies until the helper has ended, or does not keep to the protocol.
func (h *Helper) listen() {
	b := make([]byte, maxReply+1)
	oob := make([]byte, unix.CmsgSpace(4*tun.MaxQueues))
	for {
		n, oobn, flags, _, err := h.conn.ReadMsgUnix(b, oob)
		if err != nil {
			h.end(err)
			return
		}
		fds, err := descriptors(oob[:oobn])
		a := answer{fds: fds}
		if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
			err = errMalformed
		}
		if err == nil {
			a.reply, err = decodeReply(b[:n])
		}
		if err == nil {
			select {
			case h.replies <- a:
				continue
			default:
				err = errMalformed
			}
		}
		closeAll(fds)
		h.end(err)
		return
	}
}

// end takes note of the end of the helper.
func (h *Helper) end(err error) {
	h.err = ErrEnded
	if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		h.err = fmt.Errorf("%w: %w", ErrEnded, err)
	}
	h.conn.Close()
	close(h.ended)
}

// descriptors returns those of a message. They belong to the caller, with an error, too.
func descriptors(oob []byte) (fds []int, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, errMalformed
	}
	for _, m := range messages {
		rights, rightsErr := unix.ParseUnixRights(&m)
		if rightsErr != nil {
			err = errMalformed
		}
		fds = append(fds, rights...)
	}
	return fds, err
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
