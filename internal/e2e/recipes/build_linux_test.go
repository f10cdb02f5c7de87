package recipes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRecipeBuild follows build.md with what was committed, on a machine that has
// nothing. What Go fetches from its proxy there comes from a directory here, and
// its sums are not asked for.
func TestRecipeBuild(t *testing.T) {
	r := Open(t, "docs/deploy/build.md")
	builder, gw := r.Machine("builder"), r.Machine("gateway")
	modules(t, filepath.Join(builder.dir, "upper/srv"))
	bundle := filepath.Join(r.dir, "steppe.bundle")
	elsewhere(t, "git", "bundle", "create", bundle, "HEAD")
	r.Boot()

	r.Follow("Tools")
	builder.Copy(bundle, "/root/steppe.bundle")
	builder.Sh("git clone -q steppe.bundle steppe; go env -w GOPROXY=file:///srv/cache/download GOSUMDB=off")
	r.Follow("Build")

	built, err := filepath.Glob(fmt.Sprintf("/proc/%d/root/root/steppe/bin/*.deb", builder.init.Process.Pid))
	require.NoError(t, err)
	require.Len(t, built, 1)
	gw.Copy(built[0], "/root/"+filepath.Base(built[0]))
	r.Follow("Install")
	require.Contains(t, gw.Sh("systemctl is-enabled tayga || true"), "disabled")
	r.Follow("Undo")
	_, err = gw.Try("command -v tayga")
	require.Error(t, err)
}

// modules fetches what this module depends on, and the Go that it is written in,
// to a directory that becomes a module cache.
func modules(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	known := strings.TrimSpace(elsewhere(t, "go", "env", "GOMODCACHE"))
	proxies := strings.TrimSpace(elsewhere(t, "go", "env", "GOPROXY"))
	version := strings.TrimSpace(elsewhere(t, "go", "list", "-m", "-f", "{{.GoVersion}}"))
	t.Setenv("GOMODCACHE", dir)
	t.Setenv("GOPROXY", "file://"+known+"/cache/download,"+proxies)
	elsewhere(t, "go", "mod", "download")
	elsewhere(t, "go", "mod", "download", fmt.Sprintf("golang.org/toolchain@v0.0.1-go%s.linux-%s", version, runtime.GOARCH))
}

// elsewhere runs a command outside of the laboratory, in the directory of this
// module.
func elsewhere(t *testing.T, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	c.Dir = Root
	out, err := c.Output()
	if err != nil {
		var stderr []byte
		if e, ok := err.(*exec.ExitError); ok {
			stderr = e.Stderr
		}
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, stderr)
	}
	return string(out)
}
