package privsep

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/steppe-nat64/steppe/tun"
)

// An op is an operation that takes privilege. There are no others.
type op uint8

const (
	opAttach    op = 1 + iota // open the queues of the device
	opUp                      // set the device up
	opAddIP                   // add an address to the device
	opAddRoute                // add a route over the device
	opFastPath                // attach the program to the device
	opNetwork                 // make the network of the machine as listed
	opResolvers               // read which resolvers the machine has
)

// A request is an operation and its argument: of addresses and routes a prefix, of opNetwork
// a list of changes.
//
//	operation, 1 byte; prefix length, 1 byte; address, 4 or 16 bytes
//	operation, 1 byte; list in JSON
type request struct {
	op     op
	prefix netip.Prefix
	list   string
}

// maxRequest is the size of the largest request: a CLAT has some twenty changes of 200
// bytes.
const maxRequest = 32 << 10

func (r request) encode() []byte {
	b := []byte{byte(r.op)}
	if r.prefix.IsValid() {
		b = append(b, byte(r.prefix.Bits()))
		b = append(b, r.prefix.Addr().AsSlice()...)
	}
	return append(b, r.list...)
}

var errMalformed = errors.New("malformed message")

// decodeRequest accepts what encode returns and nothing else.
func decodeRequest(b []byte) (r request, err error) {
	if len(b) == 0 {
		return r, errMalformed
	}
	r.op = op(b[0])
	switch r.op {
	case opNetwork:
		r.list = string(b[1:])
		return r, nil
	case opAttach, opUp, opFastPath, opResolvers:
		if len(b) != 1 {
			return r, errMalformed
		}
		return r, nil
	case opAddIP, opAddRoute:
		if len(b) != 1+1+4 && len(b) != 1+1+16 {
			return r, errMalformed
		}
		addr, _ := netip.AddrFromSlice(b[2:])
		if r.prefix = netip.PrefixFrom(addr, int(b[1])); !r.prefix.IsValid() {
			return r, errMalformed
		}
		return r, nil
	}
	return r, fmt.Errorf("no operation has the number %d", b[0])
}

// A code says what kind of error it is that a reply carries.
type code uint8

const (
	codeDone code = iota
	codeFailed
	codeRefused // not an operation, or not in the configuration
	codeBusy
	codeGone
	codeDown
	codeNoDevice
	codeNotPermitted
	codes // how many there are
)

// sentinels are the errors that callers look for.
var sentinels = [codes]error{
	codeBusy:         tun.ErrBusy,
	codeGone:         tun.ErrGone,
	codeDown:         syscall.ENETDOWN,
	codeNoDevice:     syscall.ENODEV,
	codeNotPermitted: syscall.EPERM,
}

// A reply answers a request, in order.
//
//	code, 1 byte; features, 1 byte; text
//
// Descriptors come with codeDone alone. The text is that of the error, and that of the
// sandbox in the reply to the configuration.
type reply struct {
	code     code
	features tun.Features
	text     string
}

const maxReply = 2 + 2048

// replyTo makes a reply of an error, which may be nil.
func replyTo(err error) reply {
	if err == nil {
		return reply{}
	}
	r := reply{code: codeFailed, text: err.Error()}
	for c, sentinel := range sentinels {
		if sentinel != nil && errors.Is(err, sentinel) {
			r.code = code(c)
		}
	}
	return r
}

// encode shortens a text that is too long.
func (r reply) encode() []byte {
	features := byte(0)
	for i, on := range []bool{r.features.Checksum, r.features.TSO, r.features.USO} {
		if on {
			features |= 1 << i
		}
	}
	text := strings.ToValidUTF8(r.text, "�")
	for len(text) > maxReply-2 {
		_, n := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-n]
	}
	return append([]byte{byte(r.code), features}, text...)
}

// decodeReply accepts what encode returns and nothing else.
func decodeReply(b []byte) (r reply, err error) {
	if len(b) < 2 || len(b) > maxReply || code(b[0]) >= codes || b[1] > 7 || !utf8.Valid(b[2:]) {
		return r, errMalformed
	}
	r.code = code(b[0])
	r.features = tun.Features{Checksum: b[1]&1 != 0, TSO: b[1]&2 != 0, USO: b[1]&4 != 0}
	r.text = string(b[2:])
	return r, nil
}

// err returns the error that a reply carries.
func (r reply) err() error {
	switch {
	case r.code == codeDone:
		return nil
	case r.code == codeRefused:
		return fmt.Errorf("%w: %s", ErrRefused, r.text)
	}
	return &remoteError{r.text, sentinels[r.code]}
}

// ErrRefused: the helper was asked for something that it does not do.
var ErrRefused = errors.New("refused by the privileged helper")

// A remoteError reads as it does in the helper, and wraps what callers look for.
type remoteError struct {
	text string
	kind error // may be nil
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }
