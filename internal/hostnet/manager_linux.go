package hostnet

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Manager changes the machine for one device. Its methods may be called from any
// goroutine in the network namespace of Open.
type Manager struct {
	mu      sync.Mutex
	policy  Policy
	files   *files
	host    *host
	list    []*entry
	written []byte // the journal as it is
}

// host is what a Manager calls the kernel by. All of it is open before a sandbox is closed.
type host struct {
	nl     *netlink.Handle
	routes *netlink.Handle // lists routes
	proc   int             // /proc/sys
	nft    *nft
	nftErr error          // why there is no nft
	legacy map[string]int // the lists of tables of iptables-legacy, by family
	others func() otherList
	sets   func(sysctl string) bool // a change has set it, and not found it so
	step   func()                   // for tests: called around each change and each write of the journal
}

// operations are what each kind of change can do. They are given the machine and the entry
// of the change.
type operations interface {
	// look reports whether the machine is so.
	look(h *host) (bool, error)
	// adopt fills the entry of a change that is in effect already: whether undo leaves it.
	adopt(h *host, e *entry) error
	// note puts into the entry what undo has to know. It is called before the change.
	note(h *host, e *entry) error
	// make makes the change, also instead of the one that it replaces.
	make(h *host, e *entry, instead kind) error
	// undo leaves what is not as the change made it. It is not told whether the change was made.
	undo(h *host, e *entry) error
}

// Open makes a Manager whose journal is in dir, such as /run/tayga, and undoes what the journal lists: an earlier
// run that used the same device in the same network namespace has left it. A journal that
// is damaged, or that lists what the policy does not allow, is removed and reported in the
// error; the Manager can be used nevertheless, as it can if the error is a PartialError.
// Tables of nftables of the device, and rules in those of others, go without a journal, too. All
// files and sockets that Apply and Undo need are open then, but for those below
// /proc/sys/net and dir.
func Open(dir string, p Policy) (*Manager, error) {
	if err := checkDevice(p.Device); err != nil {
		return nil, err
	}
	f, err := openFiles(dir, p.Device)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	h, err := openHost()
	if err != nil {
		f.close()
		return nil, err
	}
	m := &Manager{policy: p, files: f, host: h}
	h.others, h.sets = m.others, m.sets
	return m, m.recover()
}

func openHost() (*host, error) {
	h := &host{step: func() {}}
	var err error
	if h.proc, err = unix.Open("/proc/sys", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("/proc/sys: %w", err)
	}
	if h.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		unix.Close(h.proc)
		return nil, fmt.Errorf("route netlink: %w", err)
	}
	if h.routes, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		h.nl.Close()
		unix.Close(h.proc)
		return nil, fmt.Errorf("route netlink: %w", err)
	}
	_ = h.routes.SetStrictCheck(true) // without it, all tables are sent
	// A change of nftables fails alone where there is no such socket.
	h.nft, h.nftErr = openNFT()
	h.openLegacy()
	return h, nil
}

func (h *host) close() {
	h.nl.Close()
	h.routes.Close()
	unix.Close(h.proc)
	if h.nft != nil {
		h.nft.conn.CloseLasting()
	}
	for _, fd := range h.legacy {
		unix.Close(fd)
	}
}

// recover undoes what an earlier run has left.
func (m *Manager) recover() error {
	unlock, err := m.files.lock()
	if err != nil {
		return err
	}
	defer unlock()
	text, err := m.files.read(m.files.name)
	if err == nil && text != nil {
		err = m.take(text)
	}
	if err != nil {
		err = m.files.error(err)
	}
	return errors.Join(err, m.undoAll(), m.host.sweep(m.policy.Device))
}

// take takes over the journal of an earlier run.
func (m *Manager) take(text []byte) error {
	j, err := decode(text, m.policy)
	if err == nil {
		m.list = j.Entries
	}
	return err
}

// Close undoes all and gives the journal up. The Manager must not be used any more.
func (m *Manager) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	unlock, err := m.files.lock()
	if err != nil {
		return err
	}
	err = m.undoAll()
	m.host.close()
	m.files.end()
	unlock()
	m.files.close()
	return err
}

// Undo undoes all changes, the last one first.
func (m *Manager) Undo() error { return m.Apply(nil) }

// Apply makes the machine be as listed. Changes that are not wanted any more are undone, the
// last one first; new ones are made in order. What is as wanted is not touched, and what
// another program has undone is made again. If some changes fail, the error is a
// PartialError; one that fails to guard a device keeps the routes to it that are listed after
// it from being made, so that no packet goes without it. If any is invalid or not allowed, or the journal can't be written, the error
// is another one, and nothing more is changed.
func (m *Manager) Apply(want []Change) error {
	want, err := compact(want)
	if err != nil {
		return err
	}
	for _, c := range want {
		if err := m.policy.Allows(c); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	unlock, err := m.files.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return m.apply(want)
}

func (m *Manager) apply(want []Change) error {
	places := map[string]bool{}
	for _, c := range want {
		places[c.kind().place()] = true
	}
	var failed []Failure
	for _, e := range slices.Backward(slices.Clone(m.list)) {
		if places[e.Change.kind().place()] {
			continue
		}
		if err := m.undo(e); err != nil {
			failed = append(failed, Failure{e.Change, err})
		}
	}
	if err := m.write(); err != nil {
		return err
	}
	unguarded := map[string]bool{}
	for _, c := range want {
		if c.Route != nil && unguarded[c.Route.Device] {
			if err := m.undoPlace(c); err != nil {
				failed = append(failed, Failure{c, err})
			}
			continue
		}
		err := m.set(c)
		var stop *journalError
		if errors.As(err, &stop) {
			return stop.err
		}
		if err == nil && c.Accept != nil {
			err = c.Accept.warnings(m.host)
		}
		if err != nil && c.Guard != nil {
			unguarded[c.Guard.Device] = true
			err = fmt.Errorf("%w: %s is without a guard, and gets no routes", err, c.Guard.Device)
		}
		if err != nil {
			failed = append(failed, Failure{c, err})
		}
	}
	m.sort(want)
	if err := m.write(); err != nil {
		return err
	}
	if failed != nil {
		return &PartialError{failed}
	}
	return nil
}

// undoAll undoes everything that is in the list.
func (m *Manager) undoAll() error { return m.apply(nil) }

// undo undoes a change and takes it off the list, if it can.
func (m *Manager) undo(e *entry) error {
	if !e.Found {
		if e.Before != nil {
			before := *e
			before.Change = *e.Before
			if err := before.Change.kind().undo(m.host, &before); err != nil {
				return fmt.Errorf("undo: %w", err)
			}
		}
		if err := e.Change.kind().undo(m.host, e); err != nil {
			return fmt.Errorf("undo: %w", err)
		}
		m.host.step()
	}
	m.drop(e)
	return nil
}

// sets reports whether a change has set a sysctl that was different before.
func (m *Manager) sets(name string) bool {
	return slices.ContainsFunc(m.list, func(e *entry) bool {
		return e.Change.Sysctl != nil && e.Change.Sysctl.Name == name && !e.Found
	})
}

// undoPlace undoes what was made at the place of a change, if anything was.
func (m *Manager) undoPlace(c Change) error {
	if e := m.at(c); e != nil {
		return m.undo(e)
	}
	return nil
}

// drop takes an entry off the list.
func (m *Manager) drop(e *entry) {
	m.list = slices.DeleteFunc(m.list, func(other *entry) bool { return other == e })
}

// A journalError ends Apply: nothing is changed that is not noted.
type journalError struct{ err error }

func (e *journalError) Error() string { return e.err.Error() }

// A keptError is that of a change that was made in part and is of use so.
type keptError struct{ error }

func (e *keptError) Unwrap() error { return e.error }

// set makes one change, if the machine is not so.
func (m *Manager) set(c Change) error {
	e := m.at(c)
	if e != nil && (e.Before != nil || e.Found && e.Change.key() != c.key()) {
		// A replacement that failed, or what was there before and is not wanted any more.
		if err := m.undo(e); err != nil {
			return err
		}
		e = nil
	}
	there, err := c.kind().look(m.host)
	switch {
	case err != nil:
		return err
	case !there && e != nil && e.Change.key() != c.key():
		return m.replace(c, e)
	case !there && e != nil:
		e.Found = false
		return m.make(e, nil)
	case !there:
		e = &entry{Change: c}
		m.list = append(m.list, e)
		return m.make(e, nil)
	case e != nil && e.Change.key() == c.key():
		return nil
	}
	if e != nil { // another program has made it so, instead of us
		e.Change = c
		return c.kind().note(m.host, e)
	}
	e = &entry{Change: c}
	if err := c.kind().adopt(m.host, e); err != nil {
		return err
	}
	m.list = append(m.list, e)
	return nil
}

// at returns the entry of the place of a change, or nil.
func (m *Manager) at(c Change) *entry {
	place := c.kind().place()
	for _, e := range m.list {
		if e.Change.kind().place() == place {
			return e
		}
	}
	return nil
}

// replace makes a change instead of that of an entry.
func (m *Manager) replace(c Change, e *entry) error {
	before := e.Change
	e.Before, e.Change = &before, c
	if err := m.make(e, before.kind()); err != nil {
		return err
	}
	e.Before = nil
	return nil
}

// make notes a change and makes it.
func (m *Manager) make(e *entry, instead kind) error {
	k := e.Change.kind()
	err := k.note(m.host, e)
	if err == nil {
		if err = m.write(); err != nil {
			return &journalError{err}
		}
		err = k.make(m.host, e, instead)
		m.host.step()
	}
	var kept *keptError
	if err == nil || errors.As(err, &kept) {
		e.Made = true
		return err
	}
	if errors.Is(err, unix.EEXIST) { // another program was faster, or has another one there
		if there, lookErr := k.look(m.host); there && lookErr == nil && instead == nil {
			e.Found = true
			return nil
		}
		m.drop(e)
		return err
	}
	return errors.Join(err, m.undo(e))
}

// write writes the journal, if it has changed.
func (m *Manager) write() error {
	if len(m.list) == 0 {
		m.written = nil
		return m.files.remove()
	}
	text, err := (&journal{Entries: m.list}).encode()
	if err != nil || bytes.Equal(text, m.written) && m.files.there() {
		return err
	}
	m.host.step()
	if err := m.files.write(text); err != nil {
		return err
	}
	m.host.step()
	m.written = text
	return nil
}

// sort brings the list into the order of the changes that are wanted. What could not be
// undone comes first.
func (m *Manager) sort(want []Change) {
	order := map[string]int{}
	for i, c := range want {
		order[c.kind().place()] = i + 1
	}
	slices.SortStableFunc(m.list, func(a, b *entry) int {
		return order[a.Change.kind().place()] - order[b.Change.kind().place()]
	})
}
