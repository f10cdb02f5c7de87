package translate_test

import (
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// TestEchoReplyOfZeros: an Echo Reply with identifier and sequence number 0, and
// no data but zeros, is nothing but zeros in ICMPv4. Fuzzing found it leaving with
// checksum 0, since RFC 1624 cannot tell a sum of 0 from 0xffff; hosts throw it
// away, as only 0xffff is right. With anything else in it both are.
func TestEchoReplyOfZeros(t *testing.T) {
	self4 := packettest.Header{Src: packettest.H4, Dst: packettest.Config().IPv4}
	for _, c := range []struct {
		name    string
		h       packettest.Header
		p       packettest.Payload
		verdict translate.Verdict
		want    string // checksum
	}{
		{"translated", packettest.From6(), packettest.EchoReply(0, 0, nil), translate.Forward, "\xff\xff"},
		{"translated-with-data", packettest.From6(), packettest.EchoReply(0, 0, make([]byte, 57)), translate.Forward, "\xff\xff"},
		{"translated-sum-of-ffff", packettest.From6(), packettest.EchoReply(0x8000, 0x7fff, nil), translate.Forward, "\x00\x00"},
		{"own", self4, packettest.EchoRequest(0, 0, make([]byte, 8)), translate.Reply, "\xff\xff"},
		{"own-sum-of-ffff", self4, packettest.EchoRequest(0xff00, 0xff, nil), translate.Reply, "\x00\x00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := packettest.Buffer(packettest.IP(c.h, c.p))
			if res := newWorker(t, nil).Translate(0, &p); res.Verdict != c.verdict {
				t.Fatal(res)
			}
			if err := packettest.Check(p.Bytes()); err != nil {
				t.Error(err)
			}
			if got := string(p.Bytes()[22:24]); got != c.want {
				t.Errorf("checksum %x, want %x", got, c.want)
			}
		})
	}
}
