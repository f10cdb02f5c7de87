package plain

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Text that controls terminals and readers of logs, and its escaped form.
var hostile = []struct{ name, text, want string }{
	{"plain", "nat64 'a' \\ ~", "nat64 'a' \\ ~"},
	{"words", "Größe … ≥ 日本", "Größe … ≥ 日本"},
	{"escape", "\x1b[2J\x1b]0;title\x07", "?[2J?]0;title?"},
	{"c0", "a\x00b\x01c\x08d\x7fe", "a b?c?d?e"},
	{"lines", "a\nb\r\nc\td", "a b  c d"},
	{"c1-as-utf8", "a\u009b2Jb\u0085c", "a?2Jb?c"},
	{"c1-as-byte", "a\x9b2Jb", "a?2Jb"},
	{"no-utf8", "a\xff\xc3", "a??"},
	{"too-long-utf8", "a\xc0\x9bb", "a??b"},
	{"direction", "a\u202eb\u2066c\u200fd\u061c", "a?b?c?d?"},
	{"invisible", "a\u200bb\ufeffc\u00add\u2060", "a?b?c?d?"},
	{"line-separator", "a\u2028b\u2029c", "a?b?c"},
	{"tags", "a\U000e0041b", "a?b"},
	{"private", "a\ue000b", "a?b"},
}

func TestLine(t *testing.T) {
	for _, test := range hostile {
		assert.Equal(t, test.want, Line(test.text), test.name)
		assert.Equal(t, test.want == test.text, IsLine(test.text), test.name)
		assert.True(t, IsLine(Line(test.text)), test.name)
	}
	assert.Zero(t, testing.AllocsPerRun(10, func() { Line("Dynamic pool: 192.168.255.0/24") }))
}

func TestShort(t *testing.T) {
	assert.Equal(t, "abc", Short("abc", 3))
	assert.Equal(t, "a?c…", Short("a\x1bcd", 3))
	assert.Equal(t, "ü??…", Short("ü\xff\xffx", 3))
}

// A JSON text means the same afterwards, and is printable.
func TestJSON(t *testing.T) {
	for _, test := range hostile {
		b, err := json.MarshalIndent(map[string]string{test.text: test.text}, "", "  ")
		require.NoError(t, err)
		var before, after map[string]string
		require.NoError(t, json.Unmarshal(b, &before))
		clean := JSON(b)
		require.NoError(t, json.Unmarshal(clean, &after), "%s", clean)
		assert.Equal(t, before, after, test.name)
		assert.True(t, IsLine(strings.ReplaceAll(string(clean), "\n", "")), "%q", clean)
	}
	assert.Equal(t, `"a\ufffdb"`, string(JSON([]byte("\"a\x9bb\""))))
}

func TestWriter(t *testing.T) {
	var b strings.Builder
	n, err := Writer{&b}.Write([]byte("a\x1b\tb\n\u202ec\r\n\xff"))
	assert.NoError(t, err)
	assert.Equal(t, 12, n)
	assert.Equal(t, "a?\tb\n?c \n?", b.String())
}

func FuzzLine(f *testing.F) {
	for _, test := range hostile {
		f.Add(test.text)
	}
	f.Fuzz(func(t *testing.T, s string) {
		line := Line(s)
		if !utf8.ValidString(line) || strings.ContainsAny(line, "\n\r\t\x1b\x07\x00\x7f") || !IsLine(line) {
			t.Errorf("%q", line)
		}
	})
}
