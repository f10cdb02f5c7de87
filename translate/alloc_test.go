package translate_test

import (
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// build makes a translator.
func build(t testing.TB, cfg translate.Config, tc translate.TableConfig) *translate.Translator {
	t.Helper()
	tab, err := translate.NewTable(tc)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := translate.New(cfg, tab)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// newWorker makes a worker with the configuration and mappings of packettest.
func newWorker(t testing.TB, edit func(*translate.Config, *translate.TableConfig)) *translate.Worker {
	t.Helper()
	cfg, tc := packettest.Config(), packettest.TableConfig()
	if edit != nil {
		edit(&cfg, &tc)
	}
	return build(t, cfg, tc).NewWorker()
}

func TestNoAllocs(t *testing.T) {
	from4, from6 := packettest.From4(), packettest.From6()
	first4, last4 := from4, from4
	first4.MF, last4.Off8, first4.DF, last4.DF = true, 3, false, false
	hop4, hop6 := from4, from6
	hop4.TTL, hop6.TTL = 1, 1
	big4 := from4
	big4.DF = false
	payload := packettest.Bytes(512, 0)
	quote4 := packettest.IP(packettest.Header{Src: packettest.M4, Dst: packettest.H4}, packettest.UDP(1, 2, payload[:64]))
	quote6 := packettest.IP(packettest.Header{Src: packettest.H4in6, Dst: packettest.M6}, packettest.TCP(1, 2, payload[:64]))

	for _, c := range []struct {
		name    string
		pkt     []byte
		verdict translate.Verdict
	}{
		{"tcp-4to6", packettest.IP(from4, packettest.TCP(1, 2, payload)), translate.Forward},
		{"tcp-6to4", packettest.IP(from6, packettest.TCP(1, 2, payload)), translate.Forward},
		{"udp-4to6", packettest.IP(from4, packettest.UDP(1, 2, payload)), translate.Forward},
		{"udp-6to4", packettest.IP(from6, packettest.UDP(1, 2, payload)), translate.Forward},
		{"echo-4to6", packettest.IP(from4, packettest.EchoRequest(1, 2, payload)), translate.Forward},
		{"echo-6to4", packettest.IP(from6, packettest.EchoRequest(1, 2, payload)), translate.Forward},
		{"error-4to6", packettest.IP(from4, packettest.ICMP(3, 4, 1400, quote4)), translate.Forward},
		{"error-6to4", packettest.IP(from6, packettest.ICMP(2, 0, 1400, quote6)), translate.Forward},
		{"extension-4to6", packettest.IP(from4, packettest.ExtendedError(11, 0, 0, quote4, packettest.MPLS())), translate.Forward},
		{"extension-6to4", packettest.IP(from6, packettest.ExtendedError(3, 0, 0, quote6, packettest.MPLS())), translate.Forward},
		{"first-fragment-4to6", packettest.IP(first4, packettest.UDP(1, 2, payload)), translate.Forward},
		{"last-fragment-4to6", packettest.IP(last4, packettest.Raw(17, payload)), translate.Forward},
		{"first-fragment-6to4", packettest.IP(from6, packettest.Fragment(7, 0, true, packettest.UDP(1, 2, payload))), translate.Forward},
		{"cut-4to6", packettest.IP(big4, packettest.UDP(1, 2, packettest.Bytes(3000, 0))), translate.Split},
		{"hop-limit-4", packettest.IP(hop4, packettest.UDP(1, 2, payload)), translate.Reply},
		{"hop-limit-6", packettest.IP(hop6, packettest.UDP(1, 2, payload)), translate.Reply},
		{"too-big-4", packettest.IP(from4, packettest.UDP(1, 2, packettest.Bytes(1473, 0))), translate.Reply},
		{"too-big-6", packettest.IP(from6, packettest.UDP(1, 2, packettest.Bytes(1473, 0))), translate.Reply},
		{"truncated", packettest.IP(from4, packettest.TCP(1, 2, nil))[:39], translate.Drop},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorker(t, nil)
			p := packettest.Buffer(c.pkt)
			at := p.Off
			more := []translate.Packet{packettest.Buffer(make([]byte, 1500))}
			var res translate.Result
			n := testing.AllocsPerRun(100, func() {
				p.Off, p.Len = at, copy(p.Buf[at:], c.pkt)
				res = w.Translate(0, &p)
				for p.Result.Verdict == translate.Split {
					w.Fragment(&p, more)
				}
			})
			if n != 0 {
				t.Errorf("%v allocations per packet", n)
			}
			if res.Verdict != c.verdict {
				t.Errorf("%v (%v), want %v: the test misses its path", res.Verdict, res.Reason, c.verdict)
			}
		})
	}
}
