package hostnet

import (
	"errors"
	"strings"
)

// A Failure is a change that could not be made or undone.
type Failure struct {
	Change Change
	Err    error
}

// A PartialError is returned if some changes failed. The others were made.
type PartialError struct{ Failed []Failure }

func (e *PartialError) Error() string {
	var list []string
	for _, f := range e.Failed {
		list = append(list, f.Err.Error())
	}
	return strings.Join(list, "; ")
}

// Unwrap returns the errors of all changes.
func (e *PartialError) Unwrap() (list []error) {
	for _, f := range e.Failed {
		list = append(list, f.Err)
	}
	return list
}

// ErrLegacy is wrapped by the error of an Accept on a machine that has a filter of
// iptables-legacy, which may drop packets whatever nftables does.
var ErrLegacy = errors.New("the filter of iptables-legacy may drop forwarded packets and can't be changed from here")

// ErrOwned is wrapped by the error of an Accept if a running program alone can change a table
// that may drop packets: firewalld, if it is set up so.
var ErrOwned = errors.New("only the program that has made it can change it")

// ErrBusy is wrapped by the error of Open if another process has the journal.
var ErrBusy = errors.New("another process has it")
