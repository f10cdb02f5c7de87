//go:build !linux

package fastpath

import (
	"errors"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// Supported returns errors.ErrUnsupported: the program is for Linux.
func Supported() error { return errors.ErrUnsupported }

// Prove returns errors.ErrUnsupported.
func Prove(translate.Config, ...translate.TableConfig) error { return errors.ErrUnsupported }

// Sizes say how many entries a cache has room for.
type Sizes struct{ Hosts, Sessions int }

// A Path is not to be had.
type Path struct{ *Cache }

// Load returns errors.ErrUnsupported.
func Load(Sizes) (*Path, error) { return nil, errors.ErrUnsupported }

// Program returns -1.
func (*Path) Program() int { return -1 }

// Close does nothing.
func (*Path) Close() error { return nil }

// An Attachment is not to be had.
type Attachment struct{}

// Attach returns errors.ErrUnsupported.
func Attach(program, ifindex int) (*Attachment, error) { return nil, errors.ErrUnsupported }

// OpenAttachment returns errors.ErrUnsupported.
func OpenAttachment(int) (*Attachment, error) { return nil, errors.ErrUnsupported }

// FD returns -1.
func (*Attachment) FD() int { return -1 }

// Device returns 0.
func (*Attachment) Device() int { return 0 }

// Close does nothing.
func (*Attachment) Close() error { return nil }

// A Cache is not to be had.
type Cache struct{}

// Use says when an entry was used last.
type Use time.Duration

func (*Cache) Generation() uint32                       { return 0 }
func (*Cache) SetRules(*Rules, time.Duration) uint32    { return 0 }
func (*Cache) Off()                                     {}
func (*Cache) IdentMemory() *translate.IdentMemory      { return nil }
func (*Cache) Counts() ([]Count, error)                 { return nil, errors.ErrUnsupported }
func (*Cache) Sweep(Use) (int, error)                   { return 0, errors.ErrUnsupported }
func (*Cache) UsedHost6([16]byte, uint8, [4]byte) Use   { return 0 }
func (*Cache) UsedHost4([4]byte, [16]byte) Use          { return 0 }
func (*Cache) DeleteHost6([16]byte, uint8) error        { return errors.ErrUnsupported }
func (*Cache) DeleteHost4([4]byte) error                { return errors.ErrUnsupported }
func (*Cache) Learn(uint32, []byte, []byte, bool) error { return errors.ErrUnsupported }
func (*Cache) Flow(uint32, []byte, []byte) (t6 translate.Tuple6, t4 translate.Tuple4, ok bool) {
	return t6, t4, false
}
func (*Cache) UsedSession(*translate.Tuple6, *translate.Tuple4) (out, in Use) {
	return 0, 0
}
func (*Cache) PutSession(uint32, *translate.Tuple6, *translate.Tuple4) error {
	return errors.ErrUnsupported
}
func (*Cache) DeleteSession(*translate.Tuple6, *translate.Tuple4) error {
	return errors.ErrUnsupported
}

// LearnBytes is how many bytes of a packet Learn looks at, at most.
const LearnBytes = 40 + 20
