package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/taygaconf/vectors"
)

// Every test, vector and packet that docs/compatibility.md names is there, in
// the package that it says.
func TestCompatibilityNamesWhatExists(t *testing.T) {
	text, err := os.ReadFile("../../docs/compatibility.md")
	require.NoError(t, err)

	tests := make(map[string]bool) // "directory Name"
	for _, dir := range []string{".", "../../internal/taygaconf", "../../internal/e2e/peer", "../../pool", "../../translate", "../../tun", "../../rfc", "../../fuzz", "../../internal/sandbox", "../../internal/cmd/faults", "../../internal/e2e/labtest", "../../fastpath", "../../packaging"} {
		files, err := filepath.Glob(dir + "/*_test.go")
		require.NoError(t, err)
		for _, file := range files {
			source, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(source, -1) {
				tests[strings.TrimPrefix(dir, "../../")+" "+string(m[1])] = true
			}
		}
	}
	packets := make(map[string]bool)
	for _, c := range sideCases {
		assert.False(t, packets[c.name], "%s twice", c.name)
		packets[c.name] = true
	}
	numbers := make(map[int]bool)
	for _, v := range vectors.All {
		assert.False(t, numbers[v.N], "vector %d twice", v.N)
		numbers[v.N] = true
	}

	rows := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) < 3 || strings.Contains(line, "---") {
			continue
		}
		rows++
		dir := "."
		for _, m := range regexp.MustCompile("`([^`]+)`(:?)").FindAllStringSubmatch(cells[len(cells)-1], -1) {
			switch name := m[1]; {
			case m[2] == ":":
				dir = name
			case strings.HasPrefix(name, "4to6/"), strings.HasPrefix(name, "6to4/"):
				assert.True(t, packets[name], "packet %s", name)
			default:
				assert.True(t, tests[dir+" "+name], "test %s of %s", name, dir)
			}
		}
		if _, list, found := strings.Cut(cells[len(cells)-1], "vector"); found {
			list, _, _ = strings.Cut(strings.TrimPrefix(list, "s"), ";")
			for _, number := range regexp.MustCompile(`\d+`).FindAllString(list, -1) {
				n, _ := strconv.Atoi(number)
				assert.True(t, numbers[n], "vector %d", n)
			}
		}
	}
	assert.Greater(t, rows, 150)
}
