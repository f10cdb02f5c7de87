package privsep

import (
	"bytes"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/steppe-nat64/steppe/tun"
)

// FuzzRequest: what is taken for a request is one, written as we do, and nothing that the
// configuration does not cover is allowed.
func FuzzRequest(f *testing.F) {
	c := &Config{Up: true, IPs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}, Routes: []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96")}, FastPath: true}
	for _, r := range requests {
		f.Add(r.encode())
	}
	for _, b := range malformedRequests {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRequest(b)
		if err != nil {
			return
		}
		if !bytes.Equal(r.encode(), b) {
			t.Errorf("%x taken for %+v", b, r)
		}
		if c.allows(r) != nil {
			return
		}
		switch r {
		case request{op: opAttach}, request{op: opUp}, request{op: opAddIP, prefix: c.IPs[0]}, request{op: opAddRoute, prefix: c.Routes[0]}, request{op: opFastPath}:
		default:
			t.Errorf("%+v is allowed", r)
		}
	})
}

// FuzzNetwork: what is taken for a list of changes, or of addresses, is the same after it was
// sent on.
func FuzzNetwork(f *testing.F) {
	f.Add([]byte(`[{"Sysctl":{"Name":"net/ipv6/conf/eth0/accept_ra","Value":"2"}}]`))
	f.Add([]byte("192.0.2.53 2001:db8::53 fe80::1%eth0"))
	f.Add([]byte("[]"))
	f.Add([]byte("[]]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, err := decodeChanges(b); err == nil {
			again, err := encodeChanges(list)
			if err != nil {
				return // too long by now
			}
			other, err := decodeChanges(again)
			if err != nil || !reflect.DeepEqual(list, other) {
				t.Errorf("%q: %v, %+v, %+v", b, err, list, other)
			}
		}
		if addrs, err := decodeAddrs(string(b)); err == nil {
			other, err := decodeAddrs(encodeAddrs(addrs))
			if err != nil || !slices.Equal(addrs, other) {
				t.Errorf("%q: %v, %v, %v", b, err, addrs, other)
			}
		}
	})
}

// FuzzReply: what is taken for a reply is one, written as we do.
func FuzzReply(f *testing.F) {
	for _, err := range []error{nil, tun.ErrBusy, tun.ErrGone, errMalformed} {
		f.Add(replyTo(err).encode())
	}
	f.Add(reply{features: tun.Features{Checksum: true, TSO: true, USO: true}}.encode())
	for _, b := range malformedReplies {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeReply(b)
		if err != nil {
			return
		}
		if !bytes.Equal(r.encode(), b) {
			t.Errorf("%x taken for %+v", b, r)
		}
		if (r.err() == nil) != (r.code == codeDone) {
			t.Errorf("%+v: %v", r, r.err())
		}
	})
}

// FuzzConfig: what is taken for a configuration has an owner and prefixes, and is the same
// after it was sent on.
func FuzzConfig(f *testing.F) {
	b, err := sample().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	for _, text := range malformedConfigs {
		f.Add([]byte(text))
	}
	f.Add([]byte(strings.Replace(string(b), "nat64", "\u202e", 1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeConfig(b)
		if err != nil {
			return
		}
		again, err := c.encode()
		if err != nil {
			t.Fatal(err)
		}
		other, err := decodeConfig(again)
		if err != nil || other.Device.Owner == nil || !reflect.DeepEqual(c.Device, other.Device) ||
			len(c.IPs) != len(other.IPs) || len(c.Routes) != len(other.Routes) {
			t.Errorf("%q: %v, %+v, %+v", b, err, c, other)
		}
	})
}
