package packettest_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/internal/test/refxlat"
	"github.com/steppe-nat64/steppe/translate"
)

func TestGenValid(t *testing.T) {
	for _, s := range packettest.Setups() {
		g := packettest.NewGen(1, s)
		for range 500 {
			pkt := g.Valid()
			require.NoError(t, packettest.Check(pkt), "%s: %x", s.Name, pkt)
		}
	}
}

func TestGenIsDetermined(t *testing.T) {
	s := packettest.Setups()[1]
	a, b, c := packettest.NewGen(1, s), packettest.NewGen(1, s), packettest.NewGen(2, s)
	same := 0
	for range 200 {
		pkt := a.Packet()
		require.Equal(t, pkt, b.Packet())
		if string(pkt) == string(c.Packet()) {
			same++
		}
	}
	require.Less(t, same, 10)
}

// TestGenReaches demands that the generator finds every verdict and every
// reason that a plain packet can earn, and that most of its packets get past
// the header checks. What is forwarded from a valid packet has to be well formed.
func TestGenReaches(t *testing.T) {
	const perSetup = 3000
	var reasons [translate.NumReasons]int
	verdicts := make(map[translate.Verdict]int)
	for i, s := range packettest.Setups() {
		x, err := refxlat.New(s.Config, s.Table)
		require.NoError(t, err, s.Name)
		_, err = translate.NewTable(s.Table)
		require.NoError(t, err, s.Name)
		g := packettest.NewGen(uint64(i), s)
		for range perSetup {
			_, res := x.Translate(g.Packet())
			reasons[res.Reason]++
			verdicts[res.Verdict]++
		}
		for range perSetup / 10 {
			pkt := g.Valid()
			out, res := x.Translate(pkt)
			for _, b := range out {
				err := packettest.Check(b)
				if errors.Is(err, packettest.ErrNoChecksum) && s.Config.UDPZero == translate.UDPZeroForward {
					err = nil
				}
				require.NoError(t, err, "%s: %s: %x becomes %x", s.Name, res.Reason, pkt, b)
			}
		}
	}
	for r, n := range reasons {
		t.Logf("%-20s %6d", translate.Reason(r), n)
		switch translate.Reason(r) {
		case translate.NotChecked, translate.BadOffload:
		case translate.NoSession, translate.UnsolicitedSYN, translate.SessionLimit, translate.Waiting,
			translate.FragmentRoom, translate.FragmentOverlap, translate.FragmentTimeout,
			translate.Filtered, translate.NoBinding, translate.NoPort, translate.OtherProtocol: // none shares an address
		default:
			require.NotZero(t, n, translate.Reason(r).String())
		}
	}
	all := 0
	for v, n := range verdicts {
		t.Logf("%-20s %6d", v, n)
		all += n
	}
	require.Len(t, verdicts, 4)
	require.Greater(t, reasons[translate.Translated]+reasons[translate.Hairpinned], all/4)
}
