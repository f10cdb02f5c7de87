package examples

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// harmful are commands that change what belongs to other programs of the machine.
var harmful = []struct{ why, what string }{
	{"deletes the rules of Docker, of iptables-nft and of everything else", `flush ruleset`},
	{"deletes rules of others", `\b(ip6?tables|ip6?tables-(nft|legacy)) .*(-F|--flush|-X|-Z)\b`},
	{"changes what becomes of the packets of others", `\b(ip6?tables|ip6?tables-(nft|legacy)) .*(-P|--policy)\b`},
	{"is a table of iptables, which does not understand it any more then", `nft .*(add|create|delete|flush) (table|chain|rule) ip6? (filter|nat|mangle|raw|security)\b`},
	{"deletes tables or chains of others", `\bnft (flush|delete) (table|chain) (ip|ip6|inet) (filter|nat|mangle|raw|security)\b`},
	{"Debian's unit flushes the whole ruleset as it stops and reloads", `systemctl .*(restart|stop|reload|disable) .*nftables`},
	{"belongs to other programs", `systemctl .*(restart|stop|reload|disable|mask) .*\b(docker|firewalld|ufw|libvirtd|networking|NetworkManager)\b`},
	{"is the file of the whole machine", "(```conf .*|>>? *)/etc/nftables\\.conf"},
	{"changes the filter of all interfaces", `sysctl .*(all|default)[./](rp_filter|accept_local|route_localnet|accept_redirects|accept_source_route|proxy_arp|send_redirects)\b *=`},
	{"takes the place of other drop-ins", `rm -r[f]? .*\.service\.d`},
	{"deletes routes, addresses or rules of others", `\bip (-[46] )?(route|addr|address|rule|neigh|neighbour) flush`},
	{"takes the place of another route", `\bip (-[46] )?route (replace|change) default\b`},
	{"ends processes of others", `\b(killall|pkill)\b`},
	{"lets everybody", `\bchmod (-R )?[0-7]?777\b`},
}

// own is what looks like that and is of our own.
var own = regexp.MustCompile(`route replace default dev (clat|siit) .*metric 4096`)

// texts returns the documents that have commands, and the sources of the doctor, which
// prints some.
func texts(t *testing.T) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for _, root := range []string{"../README.md", "../CONTRIBUTING.md", "../ARCHITECTURE.md", "../SECURITY.md", "../docs", "../packaging", "../examples", "../internal/doctor"} {
		require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "testdata") {
				return err
			}
			text, err := os.ReadFile(path)
			files[path] = string(text)
			return err
		}))
	}
	require.Greater(t, len(files), 40)
	return files
}

// Commands of the pages are copied to machines on which other programs run, too. Six
// pages began with "flush ruleset".
func TestCommandsDoNoHarm(t *testing.T) {
	patterns := make([]*regexp.Regexp, len(harmful))
	for i, h := range harmful {
		patterns[i] = regexp.MustCompile(h.what)
	}
	for path, text := range texts(t) {
		for i, line := range strings.Split(text, "\n") {
			for j, h := range harmful {
				if patterns[j].MatchString(line) && !own.MatchString(line) {
					t.Errorf("%s:%d: %s %s", path, i+1, line, h.why)
				}
			}
		}
	}
	for _, line := range []string{"flush ruleset", "iptables -t nat -F", "ip6tables -P FORWARD DROP", "systemctl restart nftables", "```conf gateway:/etc/nftables.conf",
		"nft add table ip nat", "sysctl -w net.ipv4.conf.all.rp_filter=0", "ip -6 route flush table main", "ip route replace default dev nat64"} {
		found := false
		for _, p := range patterns {
			found = found || p.MatchString(line)
		}
		assert.True(t, found, line)
	}
}

var (
	tables  = regexp.MustCompile(`(?m)^table (ip|ip6|inet) ([a-z0-9]+) \{$`)
	fenced  = regexp.MustCompile("(?s)```" + `conf [a-z]+:(/etc/[a-z0-9]+\.nft)\n(.*?)` + "```\n")
	numbers = map[string]int{"../docs/deploy/clat.md": 1, "../docs/deploy/dns64-provider.md": 1, "../docs/deploy/gateway.md": 1,
		"../docs/deploy/private-ipv4.md": 1, "../docs/deploy/server.md": 1, "../docs/deploy/shared.md": 1, "../docs/deploy/web.md": 1}
)

// A file of rules has a table of its own, which it makes anew whenever it is loaded:
// the table is made if there is none, deleted, and made.
func TestTablesAreMadeAnew(t *testing.T) {
	got := make(map[string]int)
	for path, text := range texts(t) {
		for _, f := range fenced.FindAllStringSubmatch(text, -1) {
			got[path]++
			made := tables.FindAllStringSubmatch(f[2], -1)
			assert.NotEmpty(t, made, "%s: %s", path, f[1])
			for _, m := range made {
				name := "table " + m[1] + " " + m[2]
				assert.Contains(t, f[2], name+"\ndelete "+name+"\n"+name+" {\n", "%s: %s", path, f[1])
			}
		}
		if strings.HasSuffix(path, ".md") {
			rest := fenced.ReplaceAllString(text, "")
			assert.False(t, tables.MatchString(rest), "%s: a table outside of a file of rules", path)
		}
	}
	assert.Equal(t, numbers, got)
}

// A loop that does not know Split loses packets that have to be cut. It is to be named,
// and so are Fragment and Emit, wherever a text shows what to do with verdicts.
func TestExamplesHandleEveryVerdict(t *testing.T) {
	blocks := make(map[string]string)
	for path, text := range texts(t) {
		if strings.HasSuffix(path, ".md") {
			for i, b := range strings.Split(text, "```go\n")[1:] {
				code, _, _ := strings.Cut(b, "```")
				blocks[path+" block "+string(rune('0'+i))] = code
			}
		}
	}
	// Package comments, examples of packages, and programs.
	for _, pattern := range []string{"../translate/*.go", "../tun/*.go", "../tun/tuntest/*.go", "../pool/*.go", "*/*.go"} {
		names, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") && !strings.HasSuffix(name, "example_test.go") {
				continue
			}
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments)
			require.NoError(t, err)
			if pattern == "*/*.go" || strings.HasSuffix(name, "example_test.go") {
				blocks[name] = string(text)
			} else if f.Doc != nil {
				blocks[name] = f.Doc.Text()
			}
		}
	}
	loops := 0
	for name, code := range blocks {
		moves := strings.Contains(code, "TranslateBatch(") || strings.Contains(code, ".Translate(") || strings.Contains(code, "q.Read(")
		if !moves || strings.HasSuffix(name, "leases.go") {
			continue
		}
		loops++
		assert.Contains(t, code, "translate.Split", name)
		assert.Contains(t, code, "Fragment", name)
		assert.Contains(t, code, "translate.Drop", name)
		assert.Contains(t, code, ".Emit(", name) // or packets that come from no other are never sent
	}
	assert.GreaterOrEqual(t, loops, 8)
}

// TestFilesOfOtherServers: a page that has the configuration of a server that may be in
// use already says so. A gateway's radvd.conf was replaced by that of the page.
func TestFilesOfOtherServers(t *testing.T) {
	block := regexp.MustCompile("(?s)([^#]*?)```conf [a-z]+:(/etc/(bind|radvd|haproxy)[^\n]*)\n")
	found := 0
	for path, text := range texts(t) {
		for _, m := range block.FindAllStringSubmatch(text, -1) {
			found++
			words := strings.Join(strings.Fields(m[1]), " ")
			assert.Contains(t, words, "there already, add to its file instead of replacing it", "%s: %s", path, m[2])
		}
	}
	assert.Equal(t, 5, found)
}
