package autogw

import (
	"net/netip"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// sh runs commands of ip(8) on a host.
func sh(t *testing.T, h *netlab.Host, commands string) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		t.Fatalf("this test needs iproute2: %v", err)
	}
	out, err := h.Command("sh", "-ec", commands).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestLook plans for a machine that the kernel describes.
func TestLook(t *testing.T) {
	lab := netlab.New(t)
	gw := lab.Host("gw")
	sh(t, gw, `
		ip link add eth0 type veth peer name far
		ip link add eth1 type veth peer name port
		ip link add br0 type bridge
		ip tuntap add vpn mode tun
		ip link set port master br0
		for i in eth0 eth1 port br0 vpn; do ip link set $i up; done
		ip address add 198.51.100.2/24 dev eth0
		ip -6 address add 2001:db8:ffff::2/64 dev eth0 nodad
		ip -6 address add 2001:db8:1::1/64 dev eth1 nodad
		ip -6 address add 2001:db8:2::1/64 dev br0 nodad
		ip -6 address add 2001:db8:3::1/64 dev vpn nodad
		ip route add default via 198.51.100.1 metric 50
		ip route add default via 198.51.100.7 metric 500 table 7
		ip route add unreachable 10.0.0.0/8
		ip route add blackhole 9.9.7.8/29
		ip -6 route add default via fe80::9 dev eth0`)
	var m *Machine
	require.NoError(t, gw.Do(func() (err error) { m, err = Look(); return err }))

	kinds := map[string]string{"lo": "", "eth0": "veth", "eth1": "veth", "port": "veth", "br0": "bridge", "vpn": "tuntap"}
	for name, kind := range kinds {
		l, ok := m.link(name)
		require.True(t, ok, name)
		assert.Equal(t, kind, l.Kind, name)
		assert.True(t, l.Up || name == "lo", name)
	}
	port, _ := m.link("port")
	assert.Equal(t, "br0", port.Master)
	vpn, _ := m.link("vpn")
	assert.True(t, vpn.tunnel())

	p, err := New(m, Options{})
	assert.Equal(t, "wan eth0 lan eth1 lan br0 share 9.9.7.8/29", summary(p, err))
	require.NoError(t, err)
	assert.Len(t, p.Notes, 1)
	valid(t, p)
	for _, bits := range []string{"10.0.0.0/8", "9.9.7.8/29"} {
		assert.Contains(t, join(m.taken()), bits)
	}
}

// TestWatch tells of what may change a plan.
func TestWatch(t *testing.T) {
	lab := netlab.New(t)
	gw := lab.Host("gw")
	sh(t, gw, "ip link add eth0 type veth peer name far; ip link set eth0 up; ip link set far up; ip address add 198.51.100.2/24 dev eth0")
	var e *Events
	require.NoError(t, gw.Do(func() (err error) { e, err = Watch(); return err }))
	defer e.Close()
	for _, c := range []string{
		"ip address add 198.51.100.3/24 dev eth0", "ip -6 address add 2001:db8::1/64 dev eth0 nodad",
		"ip route add default via 198.51.100.1", "ip route add 10.0.0.0/8 via 198.51.100.1",
		"ip -6 route add 64:ff9b::/96 dev eth0", "ip link add eth1 type bridge", "ip link set eth1 up",
	} {
		select {
		case <-e.C: // of what the kernel did after the command before
		default:
		}
		sh(t, gw, c)
		select {
		case <-e.C:
		case <-time.After(10 * time.Second):
			t.Errorf("nothing is told of: %s", c)
		}
	}
}

// TestMatters: a router gets routes to the internet each second, which change no plan.
func TestMatters(t *testing.T) {
	for dst, want := range map[string]bool{
		"9.9.9.0/24": false, "20.0.0.0/8": false, "2001:db8:5::/48": false, "64:ff9a::/32": false,
		"0.0.0.0/0": true, "128.0.0.0/1": true, "::/0": true, "2000::/3": true,
		"10.1.2.3/32": true, "192.0.0.0/8": true, "64:ff9b::/96": true, "64:ff9b::/32": true,
	} {
		p := netip.MustParsePrefix(dst)
		msg := nl.NewRtMsg()
		msg.Dst_len = uint8(p.Bits())
		data := msg.Serialize()
		if p.Bits() > 0 {
			data = append(data, nl.NewRtAttr(unix.RTA_DST, p.Addr().AsSlice()).Serialize()...)
		}
		m := syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: unix.RTM_NEWROUTE}, Data: data}
		assert.Equal(t, want, matters(m), dst)
		for n := range data { // cut short
			m.Data = data[:n]
			matters(m)
		}
	}
	assert.True(t, matters(syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: unix.RTM_NEWADDR}}))
}
