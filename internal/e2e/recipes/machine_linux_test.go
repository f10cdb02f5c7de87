package recipes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const trial = `# Trial

On the box, a file ~/etc/trial/x~:

~~~conf box:/etc/trial/x
hello
~~~

~~~sh box
cat /etc/trial/x; hostname; pwd
~~~

~~~text output
hello
box
/root
~~~
`

// TestMachine: a machine boots, keeps its files over a reboot, forgets its
// packet rules, and writes nothing to the machine outside.
func TestMachine(t *testing.T) {
	name := filepath.Join(t.TempDir(), "trial.md")
	require.NoError(t, os.WriteFile(name, []byte(quoted(trial)), 0o644))
	r := open(t, "trial.md", name, nil)
	box := r.Machine("box")
	r.Boot()
	r.Follow("Trial")
	box.Sh("nft add table ip x; ip tuntap add tun9 mode tun; sysctl -q net.ipv4.ip_forward=1")
	require.Contains(t, box.Sh("findmnt -no OPTIONS /proc/sys"), "ro,")
	box.Reboot()
	require.Equal(t, "hello\n", box.Sh("cat /etc/trial/x"))
	require.Empty(t, box.Sh("nft list ruleset; ls /sys/class/net | grep tun || true"))
	require.Equal(t, "0\n", box.Sh("sysctl -n net.ipv4.ip_forward"))
	_, err := box.Try("sysctl -q kernel.sysrq=1")
	require.Error(t, err)
	require.NoFileExists(t, "/etc/trial/x")
}

// TestOldCgroup: what a killed test left behind does not stay for ever.
func TestOldCgroup(t *testing.T) {
	if os.Getenv("STEPPE_RECIPES") != "1" {
		t.Skip("machines are tested by make recipes (STEPPE_RECIPES=1)")
	}
	root, err := cgroupRoot()
	require.NoError(t, err)
	ended := exec.Command("true")
	require.NoError(t, ended.Run())
	old := filepath.Join(root, fmt.Sprintf("steppe-%d-old-1", ended.Process.Pid))
	require.NoError(t, os.MkdirAll(filepath.Join(old, "init.scope"), 0o755))
	dir, err := newCgroup("new")
	require.NoError(t, err)
	require.NoDirExists(t, old)
	second, err := newCgroup("new")
	require.NoError(t, err)
	require.DirExists(t, dir)
	require.NoError(t, removeCgroup(dir))
	require.NoError(t, removeCgroup(second))
}
