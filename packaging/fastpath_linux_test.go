package packaging

import (
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/fastpath"
)

// asFastPath has this program load and attach the fast path and say how that went.
const asFastPath = "STEPPE_TEST_FAST_PATH"

func TestMain(m *testing.M) {
	if os.Getenv(asFastPath) != "" {
		if err := loadAndAttach(); err != nil {
			os.Stdout.WriteString(err.Error())
		}
		return
	}
	os.Exit(m.Run())
}

func loadAndAttach() error {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return err
	}
	p, err := fastpath.Load(fastpath.Sizes{})
	if err != nil {
		return err
	}
	defer p.Close()
	return p.Attach(lo.Index)
}

// withCapabilities loads and attaches the fast path in a network namespace of its own, with
// these capabilities alone. It returns what was in the way.
func withCapabilities(t *testing.T, names []string) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	set := "-all"
	for _, name := range names {
		set += ",+" + strings.ToLower(name)
	}
	cmd := exec.Command("unshare", "--net", "setpriv", "--inh-caps", "-all", "--bounding-set", set, "--no-new-privs", self)
	cmd.Env = append(os.Environ(), asFastPath+"=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

var (
	boundingSet = regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.+)$`)
	filter      = regexp.MustCompile(`(?m)^SystemCallFilter=(.+)$`)
	capAdd      = regexp.MustCompile(`(?m)^ +cap_add: \[(.+)\]$`)
)

// The units and the container permit what the fast path takes, and no more: without one of
// the capabilities it is not loaded, or not attached.
func TestFastPathPrivileges(t *testing.T) {
	sets := make(map[string][]string)
	for _, name := range []string{"tayga.service", "tayga@.service", "steppe-clat.service"} {
		text, err := os.ReadFile("../docs/systemd/" + name)
		require.NoError(t, err)
		for cap := range strings.FieldsSeq(boundingSet.FindStringSubmatch(string(text))[1]) {
			sets[name] = append(sets[name], strings.TrimPrefix(cap, "CAP_"))
		}
		// Which @system-service does not have.
		assert.Contains(t, strings.Fields(filter.FindStringSubmatch(string(text))[1]), "bpf", name)
	}
	text, err := os.ReadFile("container/compose.yaml")
	require.NoError(t, err)
	sets["compose.yaml"] = strings.Split(capAdd.FindStringSubmatch(string(text))[1], ", ")

	if err := fastpath.Supported(); err != nil || os.Getuid() != 0 {
		if os.Getenv("STEPPE_REQUIRE_NETNS") == "1" {
			t.Fatalf("STEPPE_REQUIRE_NETNS=1, but this is not root, or the kernel is too old: %v", err)
		}
		t.Skipf("needs root and Linux 6.6: %v", err)
	}
	for name, set := range sets {
		assert.Empty(t, withCapabilities(t, set), "%s: %s", name, set)
	}
	set := sets["tayga.service"]
	for i, missing := range set {
		assert.NotEmpty(t, withCapabilities(t, slices.Delete(slices.Clone(set), i, i+1)), "without %s", missing)
	}
}
