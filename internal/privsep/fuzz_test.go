package privsep

import (
	"bytes"
	"net/netip"
	"reflect"
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
		case request{op: opAttach}, request{op: opUp}, request{opAddIP, c.IPs[0]}, request{opAddRoute, c.Routes[0]}, request{op: opFastPath}:
		default:
			t.Errorf("%+v is allowed", r)
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
