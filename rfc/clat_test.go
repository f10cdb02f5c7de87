package rfc

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	daemon "github.com/steppe-nat64/steppe/internal/gateway"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// A machine is one with a CLAT that follows its network: what the daemon translates by.
type machine struct {
	*testing.T
	*daemon.Gateway
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	c, problems := taygaconf.Read(strings.NewReader("clat yes\n"), "tayga.conf", nil)
	if problems.Failed() {
		t.Fatal(problems)
	}
	g, err := daemon.Install(daemon.Config{Conf: c, Now: time.Unix(1_800_000_000, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return &machine{t, g}
}

// find has the machine find a prefix.
func (m *machine) find(prefix string) {
	m.Helper()
	_, err := m.Update(daemon.Changes{CLAT: &daemon.CLAT{
		Prefix: netip.MustParsePrefix(prefix), Host4: addr("192.0.0.1"), Host6: addr("2001:db8:c::464"), IPv6: addr("2001:db8:c::2"),
	}})
	if err != nil {
		m.Fatal(err)
	}
}

func (m *machine) send(in []byte) ([]byte, translate.Verdict) {
	out, res := m.Worker(0).Append(0, nil, in)
	return out, res.Verdict
}

// forwards checks that a packet leaves between two addresses.
func (m *machine) forwards(in []byte, ends string) {
	m.Helper()
	out, v := m.send(in)
	is(m.T, "verdict", v, translate.Forward)
	if v == translate.Forward {
		wantEnds(m.T, out, ends)
	}
}

// rejects checks that a program is told that its packet goes nowhere.
func (m *machine) rejects(src, dst string) {
	m.Helper()
	out, v := m.send(pt.IP(between(src, dst), pt.UDP(1, 2, nil)))
	is(m.T, "verdict", v, translate.Reply)
	if v == translate.Reply {
		wantEnds(m.T, out, "192.0.0.2 > "+src)
		is(m.T, "ICMP type", out[20], 3)
	}
}

func TestRFC6877Machine(t *testing.T) {
	row(t, "6877-6.1-01", func(t *testing.T) {
		m := newMachine(t)
		for prefix, v6 := range map[string]string{
			"2001:db9::/32": "2001:db9:909:102::", "2001:db8:100::/40": "2001:db8:109:901:2::", "2001:db8:122::/48": "2001:db8:122:909:1:200::",
			"2001:db8:122:300::/56": "2001:db8:122:309:9:102::", "2001:db8:122:344::/64": "2001:db8:122:344:9:901:200:0", "64:ff9b::/96": "64:ff9b::909:102",
		} {
			m.find(prefix)
			m.forwards(pt.IP(between("192.0.0.1", "9.9.1.2"), ping), "2001:db8:c::464 > "+v6)
			m.forwards(pt.IP(between(v6, "2001:db8:c::464"), ping), "9.9.1.2 > 192.0.0.1")
		}
	})
	row(t, "6877-6.2-01", func(t *testing.T) {
		m := newMachine(t)
		m.find("64:ff9b::/96")
		out, _ := m.send(pt.IP(between("192.0.0.1", "9.9.1.2"), pt.UDP(40000, 123, nil)))
		wantBytes(t, "ports", out[40:44], []byte{40000 >> 8, 40000 & 0xff, 0, 123})
		// No packet went the other way before.
		out, _ = m.send(pt.IP(between("64:ff9b::808:808", "2001:db8:c::464"), pt.UDP(1000, 2000, nil)))
		wantEnds(t, out, "8.8.8.8 > 192.0.0.1")
		wantBytes(t, "ports", out[20:24], []byte{1000 >> 8, 1000 & 0xff, 2000 >> 8, 2000 & 0xff})
	})
	row(t, "6877-6.3-05", func(t *testing.T) {
		m := newMachine(t)
		m.rejects("192.0.0.1", "9.9.1.2")
		m.find("64:ff9b::/96")
		m.forwards(pt.IP(between("192.0.0.1", "9.9.1.2"), ping), "2001:db8:c::464 > 64:ff9b::909:102")
		m.find("2001:db8:64::/96")
		m.forwards(pt.IP(between("192.0.0.1", "9.9.1.2"), ping), "2001:db8:c::464 > 2001:db8:64::909:102")
		if _, v := m.send(pt.IP(between("64:ff9b::909:102", "2001:db8:c::464"), ping)); v == translate.Forward {
			t.Error("the prefix of before is translated")
		}
	})
	row(t, "6877-6.3-06", func(t *testing.T) {
		m := newMachine(t)
		for _, prefix := range []string{"64:ff9b::/96", "2001:db8:64::/96"} {
			m.find(prefix)
			m.rejects("192.168.1.7", "9.9.1.2")
			m.rejects("172.17.0.2", "9.9.1.2")
		}
	})
	row(t, "6877-6.4-01", func(t *testing.T) {
		m := newMachine(t)
		m.find("64:ff9b::/96")
		m.forwards(pt.IP(between("192.0.0.1", "9.9.9.9"), pt.UDP(40000, 53, nil)), "2001:db8:c::464 > 64:ff9b::909:909")
		m.forwards(pt.IP(between("192.0.0.1", "9.9.9.9"), pt.TCP(40000, 53, nil)), "2001:db8:c::464 > 64:ff9b::909:909")
	})
}

func TestRFC7335(t *testing.T) {
	row(t, "7335-4-01", func(t *testing.T) {
		m := newMachine(t)
		for _, prefix := range []string{"64:ff9b::/96", "2001:db8:64::/96"} {
			m.find(prefix)
			for a := addr("192.0.0.3"); netip.MustParsePrefix("192.0.0.0/29").Contains(a); a = a.Next() {
				m.rejects("192.0.0.1", a.String())
				m.rejects(a.String(), "9.9.1.2")
			}
		}
	})
}
