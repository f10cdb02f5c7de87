package hostnet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// mostJournal is the size of a journal at most, in bytes.
const mostJournal = 1 << 20

// journal is what a Manager has changed, in order.
type journal struct {
	Version int
	Entries []*entry
}

const journalVersion = 1

// An entry is a change that was made or was about to be.
type entry struct {
	Change Change
	// Before is the change of the same place that this one is about to replace. Either of
	// them may be in effect.
	Before *Change `json:",omitempty"`
	Found  bool    `json:",omitempty"` // it was there before, and stays
	Made   bool    `json:",omitempty"` // it was made, though another program may have undone it
	Saved  []saved `json:",omitempty"` // sysctls, in the order in which they are set
	Down   bool    `json:",omitempty"` // the link was down
	MTU    int     `json:",omitempty"` // of the link, as it was; 0: not changed
}

// A saved sysctl has the value Old without us and New with us. One that is not set by
// itself follows another, as conf/eth0 does conf/all.
type saved struct {
	Name, Old, New string
	Follows        bool `json:",omitempty"`
}

func (j *journal) encode() ([]byte, error) {
	j.Version = journalVersion
	b, err := json.Marshal(j)
	return append(b, '\n'), err
}

// other is the policy of the other of the two, CLAT and gateway: an earlier run of the device may
// have been that.
func (p Policy) other() Policy {
	p.Gateway = !p.Gateway
	return p
}

// decode reads a journal that any program may have written.
func decode(b []byte, p Policy) (*journal, error) {
	if len(b) > mostJournal {
		return nil, errors.New("too long")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var j journal
	if err := d.Decode(&j); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, errors.New("text after the end")
	}
	if j.Version != journalVersion {
		return nil, fmt.Errorf("version %d is not known", j.Version)
	}
	if len(j.Entries) > mostChanges {
		return nil, fmt.Errorf("%d entries", len(j.Entries))
	}
	for i, e := range j.Entries {
		if e == nil {
			return nil, fmt.Errorf("entry %d is empty", i)
		}
		if err := e.check(p); err != nil && e.check(p.other()) != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return &j, nil
}

// mostSaved is how many sysctls an entry has: three for each interface.
const mostSaved = 4096

func (e *entry) check(p Policy) error {
	if err := p.Allows(e.Change); err != nil {
		return err
	}
	if e.Before != nil {
		if err := p.Allows(*e.Before); err != nil {
			return err
		}
		if e.Before.kind().place() != e.Change.kind().place() {
			return errors.New("it replaces a change of another place")
		}
	}
	if e.MTU < 0 || e.MTU > 1<<24 {
		return fmt.Errorf("MTU %d", e.MTU)
	}
	if len(e.Saved) > mostSaved || len(e.Saved) > 0 && e.Change.Sysctl == nil {
		return fmt.Errorf("%d sysctls", len(e.Saved))
	}
	for _, s := range e.Saved {
		for _, value := range []string{s.Old, s.New} {
			if err := p.restores(s.Name, value); err != nil {
				return fmt.Errorf("sysctl %q=%q: %w", s.Name, value, err)
			}
		}
	}
	return nil
}
