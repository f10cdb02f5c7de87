package recipes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const samplePage = `# A page

## Install

On the gateway:

~~~sh gateway
apt-get update
apt-get install -y --no-install-recommends bind9 ./steppe_*.deb libc++-dev
~~~

and in ~/etc/x.conf~:

~~~conf gateway:/etc/x.conf
a
b
~~~

~~~
not run
~~~

### More

On all guests:

~~~sh guest
echo one; echo two
~~~

~~~text output
o…
two
~~~

## End
`

func parseSample(t *testing.T, old, new string) (*page, error) {
	t.Helper()
	require.Contains(t, samplePage, old)
	return parsePage("x.md", quoted(strings.Replace(samplePage, old, new, 1)))
}

// quoted turns tildes into backquotes, which a raw string can't hold.
func quoted(s string) string { return strings.ReplaceAll(s, "~", "`") }

func TestPage(t *testing.T) {
	p, err := parseSample(t, "", "")
	require.NoError(t, err)
	require.Len(t, p.blocks, 5)
	require.Equal(t, []string{"bind9", "libc++-dev"}, p.packages())

	all, err := p.below("Install")
	require.NoError(t, err)
	require.Equal(t, []int{0, 1, 2, 3, 4}, all)
	more, err := p.below("More")
	require.NoError(t, err)
	require.Equal(t, []int{3, 4}, more)
	_, err = p.below("Less")
	require.EqualError(t, err, `x.md: no heading "Less"`)

	f := p.blocks[1]
	require.Equal(t, file, f.kind)
	require.Equal(t, "gateway", f.host)
	require.Equal(t, "/etc/x.conf", f.path)
	require.Equal(t, "a\nb\n", f.text)
	require.Equal(t, 15, f.line)
	require.Equal(t, shown, p.blocks[2].kind)
	require.Equal(t, output, p.blocks[4].kind)
	require.Equal(t, "More", p.blocks[4].section)
}

// TestPageErrors: what a reader could not follow, a test does not follow either.
func TestPageErrors(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"machine not named", "On the gateway:", "Now:", `x.md:8: the text before the block does not name the machine "gateway"`},
		{"machine changes", "conf gateway:", "conf other:", `x.md:15: the text before the block does not name the machine "other"`},
		{"file not named", "and in", "and in `/etc`", ""},
		{"wrong file named", "~/etc/x.conf~:", "~/etc/y.conf~:", "x.md:15: the text before the block does not name the file `/etc/x.conf`"},
		{"output of nothing", "~~~sh guest", "~~~sh", "x.md:32: output of no commands"},
		{"no end", "o…\ntwo\n~~~", "o…\ntwo\n", "x.md:31: block without an end"},
		{"path", "gateway:/etc", "gateway:etc", `x.md:14: info string "conf gateway:etc/x.conf": path is not absolute`},
		{"language", "~~~sh guest", "~~~bash guest", `x.md:27: info string "bash guest": commands are written in sh`},
		{"words", "~~~sh guest", "~~~sh guest twice", `x.md:27: info string "sh guest twice" has more than two words`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseSample(t, c.old, c.new)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, c.want)
		})
	}
}

func TestMissing(t *testing.T) {
	const got = "one 1\ntwo 2 \nthree (3)\n"
	for want, line := range map[string]string{
		"one 1\nthree (3)\n": "",
		"one …\n… 2\n":       "",
		"two 2\none 1\n":     "one 1",
		"one\n":              "one",
		"three .3.\n":        "three .3.",
		"":                   "",
	} {
		require.Equal(t, line, missing(got, want), "%q", want)
	}
}

// TestPages reads all pages, so that a mistake shows where the laboratory can't run.
func TestPages(t *testing.T) {
	pages, err := filepath.Glob("../../../docs/deploy/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, pages)
	for _, name := range pages {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		_, err = parsePage(name, string(text))
		require.NoError(t, err)
	}
}
