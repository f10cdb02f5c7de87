package packettest

import (
	"bufio"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/steppe-nat64/steppe/translate"
)

//go:embed testdata/*.txt
var testdata embed.FS

// A Golden is one packet and what it has to become under Config and
// TableConfig. The files in testdata name every field.
type Golden struct {
	ID        string // "V01" to "V18"
	Name      string // lower case, words joined by hyphens
	Direction string // "4to6" or "6to4"
	Settings  []string
	In, Out   []byte
	Free      []bool // bytes of Out that no RFC determines; may be shorter than Out
}

// Goldens returns the golden packets in the order of their IDs. The caller owns
// them.
func Goldens() ([]Golden, error) {
	names, err := fs.Glob(testdata, "testdata/*.txt")
	if err != nil {
		return nil, err
	}
	var all []Golden
	for _, name := range names {
		text, err := testdata.ReadFile(name)
		if err != nil {
			return nil, err
		}
		g, err := parseGolden(string(text))
		if err != nil {
			return nil, fmt.Errorf("packettest: %s: %w", path.Base(name), err)
		}
		all = append(all, g)
	}
	return all, nil
}

// Apply makes the settings that g asks for in c.
func (g *Golden) Apply(c translate.Config) (translate.Config, error) {
	for _, s := range g.Settings {
		switch s {
		case "udp-zero=compute":
			c.UDPZero = translate.UDPZeroCompute
		case "node-address=yes":
			c.NodeAddress = true
		default:
			return c, fmt.Errorf("packettest: %s: unknown setting %s", g.ID, s)
		}
	}
	return c, nil
}

// Diff compares got with g.Out except for the free bytes; an IPv4 header
// checksum that is free still has to be right.
func (g *Golden) Diff(got []byte) string { return compare(g.Out, got, g.Free) }

// parseGolden reads the format of testdata: lines of "key: value", then the
// sections "in:" and "out:" with lines of hexadecimal bytes. What follows a #
// is a comment.
func parseGolden(text string) (Golden, error) {
	var g Golden
	var section *[]byte
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		line = strings.TrimSpace(line)
		key, value, isKey := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		var err error
		switch {
		case line == "":
		case line == "in:":
			section = &g.In
		case line == "out:":
			section = &g.Out
		case section != nil:
			var b []byte
			b, err = hex.DecodeString(strings.ReplaceAll(line, " ", ""))
			*section = append(*section, b...)
		case isKey:
			err = g.set(key, value)
		default:
			err = fmt.Errorf("neither key nor section: %q", line)
		}
		if err != nil {
			return g, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if g.ID == "" || g.Name == "" || g.Direction == "" || len(g.In) == 0 || len(g.Out) == 0 {
		return g, fmt.Errorf("id, name, direction, in or out is missing")
	}
	return g, lines.Err()
}

func (g *Golden) set(key, value string) (err error) {
	switch key {
	case "id":
		g.ID = value
	case "name":
		g.Name = value
	case "direction":
		g.Direction = value
	case "config":
		g.Settings = strings.Fields(value)
	case "free":
		g.Free, err = parseFree(value)
	default:
		err = fmt.Errorf("unknown key %q", key)
	}
	return err
}

// parseFree reads ranges of bytes, such as "4-5 10-11".
func parseFree(value string) ([]bool, error) {
	var free []bool
	for _, r := range strings.Fields(value) {
		from, to, _ := strings.Cut(r, "-")
		a, err := strconv.Atoi(from)
		if err != nil {
			return nil, err
		}
		b, err := strconv.Atoi(to)
		if err != nil {
			return nil, err
		}
		for len(free) <= b {
			free = append(free, false)
		}
		for i := a; i <= b; i++ {
			free[i] = true
		}
	}
	return free, nil
}
