package packaging

import (
	"bytes"
	_ "embed"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

//go:embed chroot.sh
var chrootScript string

// suite is the Debian to install on: the older of those that are looked after,
// which has a tayga to take the place of. The recipes run on the newer one.
const suite = "bookworm"

// need skips the test, with a message, where it can't be run. Asked for by make deb-check,
// it fails instead.
func need(t *testing.T) {
	t.Helper()
	asked := os.Getenv("STEPPE_DEB") != ""
	missing := ""
	for _, tool := range []string{"debootstrap", "dpkg-deb", "unshare"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing = tool + " is not installed"
		}
	}
	if os.Getuid() != 0 {
		missing = "installing a package needs root"
	}
	switch {
	case asked && missing != "":
		t.Fatal(missing)
	case missing != "":
		t.Skip(missing)
	case !asked:
		t.Skip("make deb-check runs this: it downloads a Debian")
	}
}

// image returns the directory of a freshly installed Debian, which is kept beside
// those of the recipes. It must not be written to.
func image(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	dir := filepath.Join(cache, "steppe-packaging")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	lock, err := os.Create(filepath.Join(dir, "lock"))
	require.NoError(t, err)
	defer lock.Close()
	require.NoError(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	root := filepath.Join(dir, suite)
	if _, err := os.Stat(root); err == nil {
		return root
	}
	require.NoError(t, os.RemoveAll(root+".new"))
	out, err := exec.Command("debootstrap", "--variant=minbase", suite, root+".new", "http://deb.debian.org/debian").CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, os.Rename(root+".new", root))
	return root
}

// build runs scripts/deb and returns the path of the package.
func build(t *testing.T, env ...string) string {
	t.Helper()
	c := exec.Command("../scripts/deb", t.TempDir())
	c.Env = append(os.Environ(), env...)
	c.Stderr = os.Stderr
	out, err := c.Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// A debian is an installed system without a service manager.
type debian struct {
	*testing.T
	image, dir string
}

func (d *debian) args(script string) []string {
	return []string{"--mount", "--pid", "--fork", "--kill-child", "sh", "-c", chrootScript, "chroot.sh", d.image, d.dir, "sh", "-ec", script}
}

// sh runs a script inside, with the network of this machine, and returns all that
// it printed.
func (d *debian) sh(script string) string {
	d.Helper()
	out, err := exec.Command("unshare", d.args(script)...).CombinedOutput()
	require.NoError(d, err, "%s\n%s", script, out)
	return string(out)
}

// fails is sh for what has to fail.
func (d *debian) fails(script string) string {
	d.Helper()
	out, err := exec.Command("unshare", d.args(script)...).CombinedOutput()
	require.Error(d, err, "%s\n%s", script, out)
	return string(out)
}

// path returns where a file that was written inside lies outside.
func (d *debian) path(name string) string { return filepath.Join(d.dir, "upper", name) }

func (d *debian) write(name string, text []byte) {
	d.Helper()
	require.NoError(d, os.MkdirAll(filepath.Dir(d.path(name)), 0o755))
	require.NoError(d, os.WriteFile(d.path(name), text, 0o644))
}

func (d *debian) bring(deb, name string) {
	d.Helper()
	text, err := os.ReadFile(deb)
	require.NoError(d, err)
	d.write(name, text)
}

const conf = `# written by hand
tun-device nat64
ipv4-addr 192.168.255.1
ipv6-addr 2001:db8:6::64
prefix 2001:db8:64::/96
dynamic-pool 192.168.255.0/24
embedded-source drop
data-dir /var/lib/tayga
tun-up yes
tun-route 192.168.255.0/24
tun-route 2001:db8:64::/96
`

// The package takes the place of Debian's tayga, leaves its configuration alone,
// translates, and goes again.
func TestPackage(t *testing.T) {
	need(t)
	deb := build(t)
	d := &debian{T: t, image: image(t), dir: t.TempDir()}

	// A machine with Debian's tayga. Services do not start in a chroot.
	d.write("/usr/sbin/policy-rc.d", []byte("#!/bin/sh\nexit 101\n"))
	d.sh("chmod +x /usr/sbin/policy-rc.d; apt-get -qy update; apt-get -qy install --no-install-recommends tayga")
	d.write("/etc/tayga.conf", []byte(conf))

	d.bring(deb, "/root/steppe.deb")
	said := d.sh("apt-get -qy install --no-install-recommends /root/steppe.deb")
	assert.Contains(t, said, "REMOVED:\n  tayga\n")
	assert.Contains(t, said, "steppe: tayga.service does not read /etc/default/tayga")
	assert.Equal(t, conf, d.sh("cat /etc/tayga.conf"))
	assert.Equal(t, "deinstall ok config-files", d.sh("dpkg-query -f '${Status}' -W tayga"))

	version := d.sh("dpkg-query -f '${Version}' -W steppe")
	assert.Equal(t, "tayga "+version+" (steppe)\n", d.sh("tayga --version"))
	assert.Equal(t, "/etc/tayga.conf: OK\n", d.sh("tayga --check"))
	example := "/usr/share/doc/steppe/examples/tayga.conf"
	assert.Equal(t, example+": OK\n", d.sh("tayga --check -c "+example))
	assert.Contains(t, d.sh("nat64-pcap -h"), "Usage: nat64-pcap")
	assert.Empty(t, d.sh("dpkg --verify steppe; dpkg --audit"))
	for _, page := range []string{"man8/tayga.8", "man5/tayga.conf.5", "man1/nat64-pcap.1"} {
		assert.Contains(t, d.sh("zcat /usr/share/man/"+page+".gz"), ".SH NAME")
	}
	d.sh("test -s /usr/lib/systemd/system/tayga.service; test -s /usr/lib/systemd/system/tayga@.service")
	d.sh("test -s /usr/lib/systemd/system/steppe-clat.service; test -s /usr/lib/systemd/network/05-steppe-clat.network")
	assert.Equal(t, "/etc/steppe-clat.conf: OK\n", d.sh("tayga --check -c /etc/steppe-clat.conf"))
	assert.Contains(t, d.sh("cat /usr/lib/NetworkManager/conf.d/*steppe*"), "\nmatch-device=interface-name:clat\nmanaged=0\n")
	assert.Contains(t, d.sh("cat /usr/share/doc/steppe/copyright"), "Permission is hereby granted")
	// What the manual pages refer to.
	for _, name := range []string{"README.md", "docs/compatibility.md", "docs/troubleshooting.md", "docs/deploy/README.md", "docs/grafana/steppe.json"} {
		d.sh("test -s /usr/share/doc/steppe/" + name)
	}

	// A package that wants a tayga is content with this one.
	d.sh(`mkdir -p /tmp/user/DEBIAN
printf 'Package: user\nVersion: 1\nArchitecture: all\nMaintainer: nobody <root@localhost>\nDepends: tayga\nDescription: -\n' >/tmp/user/DEBIAN/control
dpkg-deb -b /tmp/user /tmp/user.deb; dpkg -i /tmp/user.deb; dpkg -r user`)

	t.Run("translates", func(t *testing.T) { translate(t, d) })

	// An upgrade, and the end.
	d.bring(build(t, "VERSION=99.1"), "/root/steppe-99.deb")
	d.sh("dpkg -i /root/steppe-99.deb")
	assert.Equal(t, "tayga 99.1 (steppe)\n", d.sh("tayga --version"))
	d.sh("dpkg --purge tayga") // takes its tayga.conf along
	d.write("/etc/tayga.conf", []byte(conf))
	d.sh("test -s /var/lib/tayga/dynamic.map; touch /var/lib/tayga/other; dpkg --remove steppe")
	d.fails("command -v tayga")
	assert.Equal(t, conf, d.sh("cat /etc/tayga.conf; test -s /var/lib/tayga/dynamic.map"))
	d.sh("dpkg --purge steppe")
	assert.Equal(t, "other\n", d.sh("ls /var/lib/tayga"))
	assert.Empty(t, d.sh("find / -xdev -name '*steppe*' ! -path '/root/*' ! -path '/proc/*'"))
}

// translate runs the installed daemon as a gateway in a laboratory, and the
// installed nat64-pcap on what its client sent.
func translate(t *testing.T, d *debian) {
	lab := netlab.New(t)
	client, gateway, server := lab.Host("client"), lab.Host("gateway"), lab.Host("server")
	lab.Link(client, "eth0", gateway, "eth6", 1500)
	lab.Link(gateway, "eth4", server, "eth0", 1500)
	client.Addr("eth0", "2001:db8:6::2/64")
	gateway.Addr("eth6", "2001:db8:6::1/64")
	client.DefaultRoute("2001:db8:6::1", "")
	gateway.Addr("eth4", "198.51.100.1/24")
	server.Addr("eth0", "198.51.100.2/24")
	server.DefaultRoute("198.51.100.1", "")
	gateway.Forwarding()

	capture, err := client.Capture("eth0")
	require.NoError(t, err)
	p, err := gateway.Launch("unshare", d.args("exec tayga --debug")...)
	require.NoError(t, err)
	defer p.Kill()
	running := func() bool { return strings.Contains(p.Output(), "Workers: ") }
	require.Eventually(t, running, time.Minute, 50*time.Millisecond)
	far := netip.MustParseAddr("2001:db8:64::198.51.100.2")
	for range 3 {
		_, err := client.Ping(far, netlab.Echo{Size: 56, Timeout: 5 * time.Second})
		require.NoError(t, err, p.Output())
	}
	_, err = server.ServeTransfers(":5000")
	require.NoError(t, err)
	_, err = client.Download(netip.AddrPortFrom(far, 5000).String(), 1<<20, time.Minute)
	require.NoError(t, err)
	packets, err := capture.Stop()
	require.NoError(t, err)
	require.NoError(t, p.Signal(unix.SIGTERM))
	require.NoError(t, p.Wait(), p.Output())

	var sent []netlab.Packet
	for _, p := range packets {
		if p.Outgoing && bytes.HasPrefix(p.Data[24:], []byte{0x20, 1, 0x0d, 0xb8, 0, 0x64}) {
			sent = append(sent, p)
		}
	}
	require.NotEmpty(t, sent)
	var file bytes.Buffer
	require.NoError(t, netlab.WritePcap(&file, sent))
	d.write("/root/sent.pcap", file.Bytes())
	said := d.sh("nat64-pcap -mtu 65535 /root/sent.pcap /root/out.pcap")
	assert.Contains(t, said, fmt.Sprintf("%d packets in, %[1]d packets out\n", len(sent)))
	assert.Regexp(t, `(?m)^6to4  forward  translated  \d+ packets  \d+ bytes$`, said)
}

// Who builds the package again gets the same one, whatever the clock says there.
func TestReproducible(t *testing.T) {
	need(t)
	same := []string{"VERSION=1.0", "SOURCE_DATE_EPOCH=1700000000"}
	one, err := os.ReadFile(build(t, append(same, "TZ=Asia/Tokyo")...))
	require.NoError(t, err)
	two, err := os.ReadFile(build(t, append(same, "TZ=America/Lima", "LC_ALL=C.UTF-8")...))
	require.NoError(t, err)
	assert.True(t, bytes.Equal(one, two), "two builds, two packages")
}
