package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// maintain runs a script of the package as dpkg does, where systemd seems to run and
// each call of it fails. It returns the calls.
func maintain(t *testing.T, script string, args ...string) (calls string) {
	t.Helper()
	if os.Getuid() != 0 {
		if os.Getenv("STEPPE_REQUIRE_NETNS") == "1" {
			t.Fatal("STEPPE_REQUIRE_NETNS=1, but this is not root")
		}
		if os.Getenv("STEPPE_REQUIRE_NETNS") == "1" {
			t.Fatal("needs root, for a /run of its own")
		}
		t.Skip("needs root, for a /run of its own")
	}
	dir := t.TempDir()
	for _, name := range []string{"systemctl", "deb-systemd-invoke"} {
		text := "#!/bin/sh\necho \"${0##*/} $*\" >>" + dir + "/calls\nexit 1\n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755))
	}
	path, err := filepath.Abs("debian/" + script)
	require.NoError(t, err)
	const prepare = `mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/system; exec "$@"`
	cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-ec", prepare, "sh", "sh", path}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	assert.NoError(t, err, "%s %v: %s", script, args, out)
	text, err := os.ReadFile(dir + "/calls")
	if err != nil {
		return ""
	}
	return string(text)
}

// A translator that does not start again after an upgrade left the package half
// installed, and the restart did not ask the administrator, who may forbid such by
// policy-rc.d. deb-systemd-invoke does.
func TestMaintainerScripts(t *testing.T) {
	const units = " tayga.service tayga@*.service steppe-clat.service\n"
	const managers = "systemctl -q is-active NetworkManager.service\nsystemctl -q is-active systemd-networkd.service\n"
	assert.Equal(t, "systemctl daemon-reload\ndeb-systemd-invoke try-restart"+units+managers, maintain(t, "postinst", "configure", "1.0"))
	assert.Equal(t, "systemctl daemon-reload\n"+managers, maintain(t, "postinst", "configure"))
	assert.Empty(t, maintain(t, "postinst", "abort-upgrade", "1.0"))
	calls := maintain(t, "prerm", "remove")
	assert.True(t, strings.HasPrefix(calls, "deb-systemd-invoke stop"+units), calls)
	assert.Empty(t, maintain(t, "prerm", "upgrade", "1.0"))
	assert.Equal(t, "systemctl daemon-reload\n", maintain(t, "postrm", "remove"))
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		text, err := os.ReadFile("debian/" + script)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			for _, verb := range []string{"start", "stop", "restart", "reload-or-restart"} {
				assert.NotRegexp(t, `systemctl .*\b`+verb+`\b`, line, "%s goes past policy-rc.d", script)
			}
		}
	}
}

// A data directory that is a link, as with DynamicUser=yes in a drop-in of the unit, made
// the purge fail. So did a directory among the files.
func TestPurge(t *testing.T) {
	assert.Equal(t, "systemctl daemon-reload\n", maintain(t, "postrm", "purge"))
	const prepare = `mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /var/lib; cd /var/lib
		mkdir -p private/tayga tayga-a tayga-b tayga-c/dynamic.map.d moved
		ln -s private/tayga tayga; ln -s moved tayga-moved; ln -s nowhere tayga-gone
		touch tayga/dynamic.map tayga-a/dynamic.map.damaged tayga-a/dynamic-2001-db8.map tayga-b/notes tayga-c/dynamic.map
		touch tayga-moved/dynamic.map tayga-moved/notes
		sh -e "$1" purge
		find . -mindepth 1 | sort`
	path, err := filepath.Abs("debian/postrm")
	require.NoError(t, err)
	out, err := exec.Command("unshare", "--mount", "sh", "-ec", prepare, "sh", path).Output()
	require.NoError(t, err)
	assert.Equal(t, []string{"./moved", "./moved/notes", "./private", "./tayga-b", "./tayga-b/notes",
		"./tayga-c", "./tayga-c/dynamic.map.d", "./tayga-gone", "./tayga-moved"}, strings.Fields(string(out)))
}

// The container had all capabilities that an engine leaves to one, and programs in it
// could have gained more.
func TestContainerPrivileges(t *testing.T) {
	text, err := os.ReadFile("container/compose.yaml")
	require.NoError(t, err)
	var file struct {
		Services map[string]struct {
			Privileged bool
			CapDrop    []string `yaml:"cap_drop"`
			CapAdd     []string `yaml:"cap_add"`
			Security   []string `yaml:"security_opt"`
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &file))
	s := file.Services["nat64"]
	assert.False(t, s.Privileged)
	assert.Equal(t, []string{"ALL"}, s.CapDrop)
	assert.Equal(t, []string{"NET_ADMIN", "BPF", "PERFMON"}, s.CapAdd)
	assert.Equal(t, []string{"no-new-privileges:true"}, s.Security)
}

// Each configuration that is shipped says whose hosts get leases: without it, any host that
// can send packets to the device takes the pool.
func TestShippedConfigurationsNameClients(t *testing.T) {
	for _, name := range []string{"debian/tayga.conf", "container/tayga.conf"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		assert.Regexp(t, `(?m)^dynamic-pool `, string(text), name)
		assert.Regexp(t, `(?m)^dynamic-pool-clients `, string(text), name)
	}
}
