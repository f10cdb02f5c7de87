package gatewaytest

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// TestRecipe: a host that has only IPv6 and configures itself from router advertisements reaches
// IPv4 by a name, with BIND and radvd that have the lines of --print. A host on the side of IPv4
// has no way to the translator. At the end all is as before.
func TestRecipe(t *testing.T) {
	w := newWorld(t)
	named, radvd := w.program("named", "bind9"), w.program("radvd", "radvd")
	before := w.state()
	script := w.printed()
	p := w.start()
	w.startNamed(named, comment(t, script, "BIND 9"))
	w.startRadvd(radvd, comment(t, script, "radvd"))
	w.said(p, "Tun device nat64 is up")
	begin := time.Now()
	w.solicit()
	w.reach()
	t.Logf("the client reached IPv4 after %v", time.Since(begin).Round(time.Millisecond))
	assert.Equal(t, []netip.Addr{embedded}, w.resolve("server.example."))
	w.seenAs(gateway4 + "/32")
	assert.Contains(t, p.Output(), "IPv4 by eth0\nClients at eth1, which has 2001:db8:1::/64\n")
	assert.Contains(t, p.Output(), "Clients need a route to 64:ff9b::/96")

	// Addresses of the clients' prefix do not help: the interface counts.
	w.router.Addr("eth0", "2001:db8:1::77/128")
	for _, source := range []string{"2001:db8:ffff::2", "2001:db8:1::77"} {
		_, err := w.router.Ping(embedded, netlab.Echo{Size: 8, Timeout: 300 * time.Millisecond, Source: netip.MustParseAddr(source)})
		assert.Error(t, err, "the translator is open to the internet")
	}

	require.NoError(t, p.Stop(patience))
	assert.Empty(t, difference(before, w.state()))
}

// TestNeeds: without a resolver, the log says that one is missing; with one, it does not.
func TestNeeds(t *testing.T) {
	w := newWorld(t)
	named := w.program("named", "bind9")
	const missing = "Clients need a resolver with DNS64, and none answers"
	p := w.start()
	w.said(p, missing)
	require.NoError(t, p.Stop(patience))

	w.static()
	w.startNamed(named, comment(t, w.printed(), "BIND 9"))
	w.resolve("server.example.")
	p = w.start()
	w.reach()
	assert.NotContains(t, p.Output(), missing)
}

// solicit has the client configure itself from router advertisements, as a link that comes up does.
func (w *world) solicit() {
	w.t.Helper()
	for name, value := range map[string]string{"accept_ra": "1", "autoconf": "1", "router_solicitation_delay": "0"} {
		w.client.Sysctl("net/ipv6/conf/eth0/"+name, value)
	}
	w.client.Down("eth0")
	w.client.Up("eth0")
}

// program returns a copy of a program, to which no profile of a security module applies: those of
// distributions keep named from the files of a test.
func (w *world) program(name, pkg string) string {
	w.t.Helper()
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/sbin"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		path := filepath.Join(w.dir, name)
		require.NoError(w.t, os.WriteFile(path, text, 0o755))
		return path
	}
	if os.Getenv("STEPPE_REQUIRE_NETNS") == "1" {
		w.t.Fatalf("%s is missing: apt-get install %s", name, pkg)
	}
	w.t.Skipf("%s is missing: apt-get install %s", name, pkg)
	return ""
}

// comment returns the lines of a program that the script has as a comment.
func comment(t *testing.T, script, program string) string {
	t.Helper()
	_, rest, ok := strings.Cut(script, "# "+program)
	require.True(t, ok, "%s", script)
	var text strings.Builder
	for i, line := range strings.Split(rest, "\n") {
		if i == 0 {
			continue
		}
		text1, ok := strings.CutPrefix(line, "#\t")
		if !ok {
			break
		}
		text.WriteString(text1 + "\n")
	}
	return text.String()
}

// startNamed runs BIND on the gateway, with names of its own besides.
func (w *world) startNamed(program, options string) {
	w.t.Helper()
	dir := filepath.Join(w.dir, "bind")
	require.NoError(w.t, os.MkdirAll(dir, 0o755))
	options = strings.Replace(options, `"/var/cache/bind"`, `"`+dir+`"`, 1)
	options = strings.Replace(options, "options {\n", "options {\n\tpid-file none; session-keyfile none; lock-file none; dnssec-validation no;\n", 1)
	options += "controls { };\nzone \"example\" { type primary; file \"example.zone\"; };\nzone \"ipv4only.arpa\" { type primary; file \"only.zone\"; };\n"
	const soa = "$TTL 60\n@ SOA ns.example. root.example. 1 60 60 60 60\n@ NS ns.example.\n"
	for name, text := range map[string]string{
		"named.conf":   options,
		"example.zone": soa + "ns AAAA " + gateway6 + "\nserver A " + server4 + "\n",
		"only.zone":    soa + "@ A 192.0.0.170\n@ A 192.0.0.171\n",
	} {
		require.NoError(w.t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	w.launch(program, "-g", "-n", "1", "-c", filepath.Join(dir, "named.conf"))
}

// startRadvd runs radvd on the gateway. Before version 2.20 it does not know PREF64.
func (w *world) startRadvd(program, text string) {
	w.t.Helper()
	version := w.sh(w.gateway, program+" --version 2>&1 | head -n 1")
	if regexp.MustCompile(`\b(1\.|2\.1?\d\b)`).MatchString(version) {
		text = regexp.MustCompile(`(?m)^\tnat64prefix .*\n`).ReplaceAllString(text, "")
	}
	path := filepath.Join(w.dir, "radvd.conf")
	require.NoError(w.t, os.WriteFile(path, []byte(text), 0o644))
	w.launch(program, "-n", "-m", "stderr", "-C", path, "-p", filepath.Join(w.dir, "radvd.pid"))
}

// launch runs a program on the gateway until the test ends.
func (w *world) launch(program string, args ...string) {
	w.t.Helper()
	p, err := w.gateway.Launch(program, args...)
	require.NoError(w.t, err)
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("%s:\n%s", program, p.Output())
		}
	})
}
