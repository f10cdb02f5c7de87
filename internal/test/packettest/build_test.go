package packettest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// payloads are one of each builder, with data of n bytes.
func payloads(n int) map[string]Payload {
	data := Bytes(n, 1)
	return map[string]Payload{
		"udp":         UDP(1000, 2000, data),
		"udp-lite":    UDPLite(1000, 2000, 8, data),
		"udp-lite-0":  UDPLite(1000, 2000, 0, data),
		"tcp":         TCP(1000, 2000, data),
		"dccp":        DCCP(1000, 2000, data),
		"echo":        EchoRequest(1, 2, data),
		"reply":       EchoReply(1, 2, data),
		"sctp":        Raw(132, data),
		"hop-by-hop":  HopByHop(8, UDP(1, 2, data)),
		"dest-opts":   DestOpts(24, TCP(1, 2, data)),
		"long-opts":   DestOpts(2048, TCP(1, 2, data)),
		"routing":     Routing(1, UDP(1, 2, data)),
		"chain":       HopByHop(16, DestOpts(264, Routing(0, UDP(1, 2, data)))),
		"atomic":      Fragment(7, 0, false, EchoRequest(1, 2, data)),
		"atomic-skip": HopByHop(8, Fragment(7, 0, false, UDP(1, 2, data))),
	}
}

func TestBuildersMakeWellFormedPackets(t *testing.T) {
	for _, n := range []int{0, 1, 2, 7, 8, 1000, 1001} {
		for name, p := range payloads(n) {
			t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
				require.NoError(t, Check(IP(From6(), p)))
				h := From4()
				h.Options = []byte{7, 3, 4, 0}
				require.NoError(t, Check(IP(h, p)))
			})
		}
	}
}

func TestBuildersMakeWellFormedErrors(t *testing.T) {
	quote4 := IP(Header{Src: M4, Dst: H4, TTL: 1}, UDP(1, 2, Bytes(300, 0)))
	quote6 := IP(Header{Src: H4in6, Dst: M6, TTL: 1}, UDP(1, 2, Bytes(300, 0)))
	for _, n := range []int{48, 100, 127, 128, 129, 300} {
		require.NoError(t, Check(IP(From4(), ICMP(11, 0, 0, quote4[:n]))))
		require.NoError(t, Check(IP(From6(), ICMP(3, 0, 0, quote6[:n]))))
		require.NoError(t, Check(IP(From4(), ExtendedError(3, 4, 1400, quote4[:n], MPLS()))))
		require.NoError(t, Check(IP(From6(), ExtendedError(1, 4, 0, quote6[:n], MPLS()))))
	}
}

func TestGoldensAreWellFormed(t *testing.T) {
	goldens, err := Goldens()
	require.NoError(t, err)
	require.Len(t, goldens, 18)
	for i, g := range goldens {
		require.Equal(t, fmt.Sprintf("V%02d", i+1), g.ID)
		require.NoError(t, Check(g.In), g.ID)
		require.NoError(t, Check(g.Out), g.ID)
		_, err := g.Apply(Config())
		require.NoError(t, err)
		require.Empty(t, g.Diff(g.Out))
	}
}

func TestGoldenFilesWithMistakesAreRefused(t *testing.T) {
	const good = "id: V99\nname: x\ndirection: 4to6\nin:\n45 # c\nout:\n60\n"
	_, err := parseGolden(good)
	require.NoError(t, err)
	for _, bad := range []string{
		"", "nonsense\n" + good, "colour: red\n" + good, "free: 1-x\n" + good, "free: x\n" + good,
		good + "6\n", good + "zz\n", "id: V99\nname: x\ndirection: 4to6\nin:\n45\n",
	} {
		_, err := parseGolden(bad)
		require.Error(t, err, bad)
	}
	g := Golden{Settings: []string{"no-such=thing"}}
	_, err = g.Apply(Config())
	require.Error(t, err)
}

func TestFragmentsReassemble(t *testing.T) {
	for _, h := range []Header{From4(), From6()} {
		for _, n := range []int{0, 1, 500, 1300, 4000} {
			pkt := IP(h, UDP(1, 2, Bytes(n, 0)))
			pieces := Fragments(pkt, 576, 0xbeef)
			for _, p := range pieces {
				require.LessOrEqual(t, len(p), 576)
				require.NoError(t, Check(p))
			}
			if len(pieces) == 1 {
				require.Equal(t, pkt, pieces[0])
				continue
			}
			whole, err := Reassemble(pieces)
			require.NoError(t, err)
			require.NoError(t, Check(whole))
			require.Equal(t, pkt[len(pkt)-n:], whole[len(whole)-n:])

			_, err = Reassemble(pieces[1:])
			require.Error(t, err)
			_, err = Reassemble(pieces[:len(pieces)-1])
			require.Error(t, err)
		}
	}
	_, err := Reassemble(nil)
	require.Error(t, err)
	_, err = Reassemble([][]byte{IP(From6(), UDP(1, 2, nil))})
	require.Error(t, err)
}
