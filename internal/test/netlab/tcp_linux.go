package netlab

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Server accepts TCP connections inside a host.
type Server struct {
	l  net.Listener
	mu sync.Mutex
	// conns are the connections being served; nil after Close.
	conns map[net.Conn]struct{}
}

// ServeTCP listens on addr (":80" for all addresses of both families) inside the
// host and calls handle for each connection, in a goroutine of its own. The
// connection is closed when handle returns.
func (h *Host) ServeTCP(addr string, handle func(net.Conn)) (*Server, error) {
	l, err := h.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &Server{l: l, conns: make(map[net.Conn]struct{})}
	h.lab.closeAtEnd(s)
	go s.serve(handle)
	return s, nil
}

func (s *Server) serve(handle func(net.Conn)) {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		if !s.add(c) {
			c.Close()
			return
		}
		go func() {
			defer s.remove(c)
			handle(c)
		}()
	}
}

func (s *Server) add(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) remove(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	c.Close()
}

// Close stops listening and closes the connections being served.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
	s.conns = nil
	return s.l.Close()
}

// ServeTCPEcho sends everything back that a client sends.
func (h *Host) ServeTCPEcho(addr string) (*Server, error) {
	return h.ServeTCP(addr, func(c net.Conn) { io.Copy(c, c) })
}

// ServeTransfers serves Download and Upload.
func (h *Host) ServeTransfers(addr string) (*Server, error) {
	return h.ServeTCP(addr, serveTransfer)
}

// Transfer is what there is to say about a finished Download or Upload.
type Transfer struct {
	Bytes    int64         // in one direction, without headers
	Duration time.Duration // from the request to the last byte or its confirmation
	SHA256   [sha256.Size]byte
	// SeenAs is the client's address and port in the eyes of the server.
	SeenAs netip.AddrPort
	// MTU is the path MTU in bytes that the client's kernel held in the end.
	MTU int
}

// Rate returns the goodput in bit/s.
func (t Transfer) Rate() float64 { return float64(t.Bytes) * 8 / t.Duration.Seconds() }

// String returns the figures in one line.
func (t Transfer) String() string {
	return fmt.Sprintf("%.1f MiB in %v, %.0f Mbit/s, SHA-256 %x…",
		float64(t.Bytes)/(1<<20), t.Duration.Round(time.Millisecond), t.Rate()/1e6, t.SHA256[:4])
}

// The protocol of transfers. A request is one byte for the direction, the size
// and the seed of the stream. Then the sender sends the stream, and the server
// at last a trailer: the hash of the stream, and address and port of the client.
const (
	opDownload = 'D'
	opUpload   = 'U'

	requestLen = 1 + 8 + 8
	trailerLen = sha256.Size + 16 + 2
)

// Download fetches size pseudo-random bytes from a host that runs
// ServeTransfers and compares their SHA-256 with the one that the server
// computed. It fails if connecting and everything after it is not done within
// timeout.
func (h *Host) Download(addr string, size int64, timeout time.Duration) (Transfer, error) {
	return h.transfer(opDownload, addr, size, timeout)
}

// Upload is Download in the other direction.
func (h *Host) Upload(addr string, size int64, timeout time.Duration) (Transfer, error) {
	return h.transfer(opUpload, addr, size, timeout)
}

func (h *Host) transfer(op byte, addr string, size int64, timeout time.Duration) (Transfer, error) {
	end := time.Now().Add(timeout)
	c, err := h.Dial("tcp", addr, timeout)
	if err != nil {
		return Transfer{}, err
	}
	defer c.Close()
	c.SetDeadline(end)

	t, err := runTransfer(c, op, size)
	if err != nil {
		return t, h.errorf("transfer with %s: %w", addr, err)
	}
	if t.MTU, err = PathMTU(c); err != nil {
		return t, h.errorf("path MTU to %s: %w", addr, err)
	}
	return t, nil
}

// errHash is a transfer whose two ends disagree about what was transferred.
var errHash = errors.New("SHA-256 differs")

func runTransfer(c net.Conn, op byte, size int64) (Transfer, error) {
	seed := rand.Uint64()
	begin := time.Now()
	req := binary.BigEndian.AppendUint64([]byte{op}, uint64(size))
	if _, err := c.Write(binary.BigEndian.AppendUint64(req, seed)); err != nil {
		return Transfer{}, err
	}
	t := Transfer{Bytes: size}
	var err error
	if op == opDownload {
		t.SHA256, err = receive(c, size)
	} else {
		t.SHA256, err = send(c, size, seed)
	}
	if err != nil {
		return t, err
	}
	var trailer [trailerLen]byte
	if _, err := io.ReadFull(c, trailer[:]); err != nil {
		return t, fmt.Errorf("read the server's hash: %w", err)
	}
	t.Duration = time.Since(begin)
	if [sha256.Size]byte(trailer[:]) != t.SHA256 {
		return t, fmt.Errorf("%w: %x here, %x at the server", errHash, t.SHA256, trailer[:sha256.Size])
	}
	addr := netip.AddrFrom16([16]byte(trailer[sha256.Size:])).Unmap()
	t.SeenAs = netip.AddrPortFrom(addr, binary.BigEndian.Uint16(trailer[trailerLen-2:]))
	return t, nil
}

func serveTransfer(c net.Conn) {
	var req [requestLen]byte
	if _, err := io.ReadFull(c, req[:]); err != nil {
		return
	}
	size := int64(binary.BigEndian.Uint64(req[1:]))
	seed := binary.BigEndian.Uint64(req[9:])
	var sum [sha256.Size]byte
	var err error
	switch req[0] {
	case opDownload:
		sum, err = send(c, size, seed)
	case opUpload:
		sum, err = receive(c, size)
	default:
		return
	}
	if err != nil {
		return
	}
	from := c.RemoteAddr().(*net.TCPAddr).AddrPort()
	addr := from.Addr().As16()
	trailer := append(sum[:], addr[:]...)
	c.Write(binary.BigEndian.AppendUint16(trailer, from.Port()))
}

// send writes size bytes of the stream with the given seed and returns their
// hash.
func send(w io.Writer, size int64, seed uint64) ([sha256.Size]byte, error) {
	n, sum, err := hashCopy(w, stream(seed), size)
	if err != nil {
		err = fmt.Errorf("sent %d of %d bytes: %w", n, size, err)
	}
	return sum, err
}

// receive reads size bytes and returns their hash.
func receive(r io.Reader, size int64) ([sha256.Size]byte, error) {
	n, sum, err := hashCopy(io.Discard, r, size)
	if err != nil {
		err = fmt.Errorf("received %d of %d bytes: %w", n, size, err)
	}
	return sum, err
}

func hashCopy(w io.Writer, r io.Reader, size int64) (int64, [sha256.Size]byte, error) {
	digest := sha256.New()
	// The writer is wrapped to keep io.CopyBuffer from finding a ReadFrom that
	// would use a buffer of its own.
	n, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(digest, w)},
		io.LimitReader(r, size), make([]byte, 256<<10))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	return n, [sha256.Size]byte(digest.Sum(nil)), err
}

// stream returns an endless pseudo-random stream, the same for the same seed.
func stream(seed uint64) io.Reader {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}
