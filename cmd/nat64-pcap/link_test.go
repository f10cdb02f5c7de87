package main

import (
	"bytes"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
)

// The line of many subscribers is PPPoE, whose captures gave no packets. What lies
// between a link and IP, in any order that occurs, is decoded by gopacket as well.
func TestFramesInFrames(t *testing.T) {
	six := bytes.Join([][]byte{{0x60, 0, 0, 0, 0, 4, 59, 64}, make([]byte, 32), {1, 2, 3, 4}}, nil)
	four := bytes.Join([][]byte{{0x45, 0, 0, 24, 0, 0, 0, 0, 64, 253, 0, 0}, make([]byte, 8), {1, 2, 3, 4}}, nil)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	macs := make([]byte, 12)
	session, session4 := []byte{0x88, 0x64, 0x11, 0, 0, 7, 0, 46}, []byte{0x88, 0x64, 0x11, 0, 0, 7, 0, 26}
	for _, test := range []struct {
		name  string
		link  linkType
		frame []byte
		want  []byte // nil: none
		peer  bool   // gopacket can decode it, too
	}{
		{"pppoe-6", linkEthernet, join(macs, session, []byte{0, 0x57}, six), six, true},
		{"pppoe-4-and-padding", linkEthernet, join(macs, session4, []byte{0, 0x21}, four, make([]byte, 9)), four, true},
		{"pppoe-in-vlan", linkEthernet, join(macs, []byte{0x81, 0, 0, 7}, session, []byte{0, 0x57}, six), six, true},
		{"pppoe-in-qinq", linkEthernet, join(macs, []byte{0x88, 0xa8, 0, 7, 0x81, 0, 0, 9}, session4, []byte{0, 0x21}, four), four, true},
		{"pppoe-short-protocol", linkEthernet, join(macs, session, []byte{0x21}, four), four, false},
		{"pppoe-lcp", linkEthernet, join(macs, session, []byte{0xc0, 0x21}, four), nil, false},
		{"pppoe-padt", linkEthernet, join(macs, []byte{0x88, 0x64, 0x11, 0xa7, 0, 7, 0, 46, 0, 0x57}, six), nil, false},
		{"pppoe-discovery", linkEthernet, join(macs, []byte{0x88, 0x63, 0x11, 0x09, 0, 0, 0, 46, 0, 0x57}, six), nil, false},
		{"pppoe-cut", linkEthernet, join(macs, session), nil, false},
		{"pppoe-cooked", linkSLL, join(make([]byte, 14), session, []byte{0, 0x57}, six), six, false},
		{"pppoe-cooked-2", linkSLL2, join(session[:2], make([]byte, 18), session[2:], []byte{0, 0x21}, four), four, false},
		{"pppoe-bare", linkPPPoE, join(session[2:], []byte{0, 0x57}, six), six, false},
		{"ppp", linkPPP, join([]byte{0, 0x57}, six), six, true},
		{"ppp-in-hdlc", linkPPPHDLC, join([]byte{0xff, 3, 0, 0x21}, four), four, false},
		{"ppp-by-pppd", linkPPPD, join([]byte{0xff, 3, 0x57}, six), six, false},
		{"ppp-ipcp", linkPPP, join([]byte{0x80, 0x21}, four), nil, false},
		{"ppp-empty", linkPPP, []byte{0}, nil, false},
		{"hdlc", linkHDLC, join([]byte{0x0f, 0, 0x86, 0xdd}, six), six, false},
		{"hdlc-keepalive", linkHDLC, join([]byte{0x8f, 0, 0x80, 0x35}, six), nil, false},
		{"enc", linkEnc, join(make([]byte, 12), four), four, false},
		{"mpls", linkEthernet, join(macs, []byte{0x88, 0x47, 0, 1, 0x41, 64}, six), six, true},
		{"mpls-stack", linkEthernet, join(macs, []byte{0x88, 0x47, 0, 1, 0x40, 64, 0, 2, 0x41, 64}, four), four, true},
		{"mpls-pseudowire", linkEthernet, join(macs, []byte{0x88, 0x47, 0, 1, 0x41, 64, 0, 0, 0, 0}, four), nil, false},
		{"mpls-without-bottom", linkEthernet, join(macs, []byte{0x88, 0x48}, make([]byte, 64)), nil, false},
		{"snap", linkEthernet, join(macs, []byte{0, 52, 0xaa, 0xaa, 3, 0, 0, 0, 0x86, 0xdd}, six), six, true},
		{"llc-of-others", linkEthernet, join(macs, []byte{0, 52, 0x42, 0x42, 3, 0, 0, 0, 0x86, 0xdd}, six), nil, false},
		{"arp", linkEthernet, join(macs, []byte{8, 6}, six), nil, false},
		{"vlan-cut", linkEthernet, join(macs, []byte{0x81, 0, 0}), nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok := test.link.ip(bytes.Clone(test.frame))
			require.Equal(t, test.want != nil, ok)
			if ok {
				assert.True(t, bytes.HasPrefix(got, test.want), "%x", got)
			}
			if test.peer {
				p := gopacket.NewPacket(test.frame, layers.LinkType(test.link), gopacket.Default)
				require.NotNil(t, p.NetworkLayer())
				assert.Equal(t, got[:len(p.NetworkLayer().LayerContents())], p.NetworkLayer().LayerContents())
			}
		})
	}
}

// A frame of any length is read to its end and not further.
func FuzzFrames(f *testing.F) {
	f.Add(uint16(linkEthernet), append(make([]byte, 12), 0x88, 0x64, 0x11, 0, 0, 7, 0, 46, 0, 0x57, 0x60))
	f.Add(uint16(linkEthernet), append(make([]byte, 12), 0x88, 0x47, 0, 1, 0x41, 64, 0x45))
	f.Add(uint16(linkPPP), []byte{0xff, 3, 0, 0x21, 0x45})
	f.Fuzz(func(t *testing.T, link uint16, b []byte) {
		if linkType(link).check() != nil {
			return
		}
		if got, ok := linkType(link).ip(b); ok && (len(got) == 0 || !bytes.HasSuffix(b, got)) {
			t.Errorf("%x of %x", got, b)
		}
	})
}

// A capture of a PPPoE session, to the end.
func TestPPPoECapture(t *testing.T) {
	all, err := packettest.Goldens()
	require.NoError(t, err)
	g := all[0]
	b := newBench(t, goldenConf)
	for _, s := range g.Settings {
		b.write("tayga.conf", []byte(goldenConf+settings[s]))
	}
	frame := append(make([]byte, 12), 0x88, 0x64, 0x11, 0, 0, 7, byte((len(g.In)+2)>>8), byte(len(g.In)+2))
	said, status := b.tool(capture(t, false, layers.LinkTypeEthernet, append(frame, ppp(g.In)...)), "out.pcap")
	require.Equal(t, 0, status, said)
	list, _ := b.packets("out.pcap")
	require.Len(t, list, 1, said)
	assert.Empty(t, g.Diff(list[0]))
}
