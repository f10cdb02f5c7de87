package autogw

import (
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Events tells of changes of links, addresses and routes.
type Events struct {
	C      <-chan struct{}
	closed atomic.Bool
}

// Watch begins to tell of changes, in the network namespace of the calling thread.
func Watch() (*Events, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return nil, err
	}
	if err := s.SetReceiveTimeout(&unix.Timeval{Sec: 1}); err != nil { // to see that it is closed
		s.Close()
		return nil, err
	}
	c := make(chan struct{}, 1)
	e := &Events{C: c}
	go func() {
		defer s.Close()
		for !e.closed.Load() {
			messages, _, err := s.Receive()
			switch {
			case err == nil && !slices.ContainsFunc(messages, matters):
				continue
			case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
				continue
			case err != nil && !errors.Is(err, unix.ENOBUFS):
				return
			}
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}()
	return e, nil
}

// Close ends it, within a second.
func (e *Events) Close() { e.closed.Store(true) }

// matters reports whether a message may change a plan. A router with the routes of the whole
// internet gets some each second that do not: those to public addresses.
func matters(m syscall.NetlinkMessage) bool {
	if t := m.Header.Type; t != unix.RTM_NEWROUTE && t != unix.RTM_DELROUTE {
		return true
	}
	if len(m.Data) < unix.SizeofRtMsg {
		return false
	}
	msg := nl.DeserializeRtMsg(m.Data)
	if msg.Dst_len <= halves {
		return true
	}
	attrs, err := nl.ParseRouteAttr(m.Data[msg.Len():])
	if err != nil {
		return false
	}
	for _, a := range attrs {
		dst, ok := netip.AddrFromSlice(a.Value)
		if a.Attr.Type != unix.RTA_DST || !ok {
			continue
		}
		p := netip.PrefixFrom(dst, int(msg.Dst_len))
		if dst.Is6() {
			return Prefix.Overlaps(p)
		}
		return slices.ContainsFunc(private, p.Overlaps)
	}
	return false
}
