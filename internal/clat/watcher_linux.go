package clat

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/pacer"
)

// A watcher receives what changes of the machine's network. The messages say only that there
// is something to look at: some are lost if there are many.
type watcher struct {
	files   []*os.File
	changes chan struct{}
	running sync.WaitGroup
	end     context.CancelFunc

	mu       sync.Mutex
	down     map[int]bool // links that were down since the last call of bounced
	filtered bool         // rules of nftables, or forwarding, have changed
}

// Groups of changes that a snapshot shows, and of the sysctl forwarding.
var routeGroups = []uint{
	unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE,
	unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_IPV6_NETCONF,
}

const nftGroup = 7 // NFNLGRP_NFTABLES of linux/netfilter/nfnetlink.h

// openWatcher opens the sockets, in the network namespace of the calling thread, and begins to
// receive.
func openWatcher() (*watcher, error) {
	w := &watcher{changes: make(chan struct{}, 1), down: map[int]bool{}}
	route, err := openGroups(unix.NETLINK_ROUTE, routeGroups...)
	if err != nil {
		return nil, fmt.Errorf("route netlink: %w", err)
	}
	w.files = append(w.files, route)
	var ctx context.Context
	ctx, w.end = context.WithCancel(context.Background())
	w.running.Go(func() { w.receive(ctx, route, w.routeChanged) })
	// Without CAP_NET_ADMIN, or nftables, changes of its rules are not seen.
	if nft, err := openGroups(unix.NETLINK_NETFILTER, nftGroup); err == nil {
		w.files = append(w.files, nft)
		w.running.Go(func() { w.receive(ctx, nft, w.nftChanged) })
	}
	return w, nil
}

func openGroups(protocol int, groups ...uint) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	var mask uint32
	for _, g := range groups {
		mask |= 1 << (g - 1)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: mask}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

func (w *watcher) close() error {
	w.end()
	var all []error
	for _, f := range w.files {
		f.SetReadDeadline(time.Unix(1, 0))
	}
	w.running.Wait()
	for _, f := range w.files {
		all = append(all, f.Close())
	}
	return errors.Join(all...)
}

// receive calls changed for each message, until w.end is called.
func (w *watcher) receive(ctx context.Context, f *os.File, changed func(kind uint16, body []byte)) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	b := make([]byte, 64<<10)
	for pace := (pacer.Pacer{Limit: maxMessages}); pace.Wait(ctx); {
		var n int
		var err error
		if e := raw.Read(func(fd uintptr) bool {
			n, _, err = unix.Recvfrom(int(fd), b, 0)
			return err != unix.EAGAIN
		}); e != nil {
			return
		}
		switch {
		case err == unix.EINTR:
		case err == unix.ENOBUFS: // some are lost, of any kind
			w.note(func() { w.filtered = true })
		case err != nil:
			return
		}
		messages(b[:n], changed)
	}
}

// maxMessages are the messages that are received in a second: the kernel drops more.
const maxMessages = 1024

// messages calls f with the messages of a packet, up to one that is cut short.
func messages(b []byte, f func(kind uint16, body []byte)) {
	for len(b) >= syscall.NLMSG_HDRLEN {
		n := int(binary.NativeEndian.Uint32(b))
		if n < syscall.NLMSG_HDRLEN || n > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[4:]), b[syscall.NLMSG_HDRLEN:n])
		b = b[min((n+3)&^3, len(b)):]
	}
}

// note notes something, and that there is something to look at.
func (w *watcher) note(f func()) {
	w.mu.Lock()
	f()
	w.mu.Unlock()
	select {
	case w.changes <- struct{}{}:
	default:
	}
}

func (w *watcher) routeChanged(kind uint16, body []byte) {
	w.note(func() {
		switch kind {
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			// A link that goes down and up at once may be on another network after that.
			if l, ok := parseLink(body); ok && (kind == unix.RTM_DELLINK || !l.up || !l.running) && len(w.down) < maxDown {
				w.down[l.index] = true
			}
		case unix.RTM_NEWNETCONF:
			w.filtered = true
		}
	})
}

const maxDown = 1024 // links that are remembered

// nftChanged ignores the elements of sets, which programs change all the time.
func (w *watcher) nftChanged(kind uint16, _ []byte) {
	switch kind & 0xff {
	case unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_DELTABLE, unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_DELCHAIN,
		unix.NFT_MSG_NEWRULE, unix.NFT_MSG_DELRULE:
		w.note(func() { w.filtered = true })
	}
}

// changed has a value when there is something to look at.
func (w *watcher) changed() <-chan struct{} { return w.changes }

// bounced returns the links that were down, and whether rules of nftables or forwarding have
// changed, since the last call.
func (w *watcher) bounced() (down map[int]bool, filtered bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	down, filtered = w.down, w.filtered
	w.down, w.filtered = map[int]bool{}, false
	return down, filtered
}
