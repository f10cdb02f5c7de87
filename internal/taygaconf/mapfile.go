package taygaconf

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/steppe-nat64/steppe/translate"
)

// parseMap reads the two words of a map: RFC 7757 §3.1. Bits after a length
// are cleared with a warning; in TAYGA such a map is there and never matches.
func parseMap(words []string) (m translate.Map, warnings []string, err error) {
	if m.IPv4, err = prefix(words[0], addr4, whole); err != nil {
		return m, nil, err
	}
	if m.IPv6, err = prefix(words[1], addr6, whole); err != nil {
		return m, nil, err
	}
	have, room := 32-m.IPv4.Bits(), 128-m.IPv6.Bits()
	if have > room {
		return m, nil, fmt.Errorf("%d bits after %s do not fit the %d bits after %s: make the IPv6 length /%d or less (RFC 7757 §3.2)",
			have, m.IPv4, room, m.IPv6, 128-have)
	}
	if m.IPv4 != m.IPv4.Masked() || m.IPv6 != m.IPv6.Masked() {
		warnings = append(warnings, fmt.Sprintf("host bits ignored: used as %s %s", m.IPv4.Masked(), m.IPv6.Masked()))
	}
	m.IPv4, m.IPv6 = m.IPv4.Masked(), m.IPv6.Masked()
	if m.IPv4.Bits() > 0 || m.IPv6.Bits() != 96 { // see addMap for the exception
		warning, err := checkNetwork4(m.IPv4)
		if err != nil {
			return m, nil, err
		}
		if warning != "" {
			warnings = append(warnings, warning)
		}
	}
	if _, err := checkUnicast(m.IPv6.Addr()); err != nil {
		return m, nil, err
	}
	for _, q := range []netip.Prefix{linkLocal6, multicast6} {
		if m.IPv6.Overlaps(q) {
			return m, nil, fmt.Errorf("%s holds %s, which no host can have", m.IPv6, q)
		}
	}
	return m, warnings, nil
}

// ReadMaps reads a map-file: lines with the directive map and nothing else,
// under the rules and limits of tayga.conf. It returns the maps of all good
// lines; a line that conflicts with c is not a good one. Of two lines of the
// file that conflict with each other the later wins, as in TAYGA.
func (c *Config) ReadMaps(src io.Reader, name string) ([]Map, Problems) {
	rep := &reporter{file: name}
	s := newSource(src, rep)
	lines := len(s.rest) / usualLine
	maps := make([]Map, 0, lines)
	at4, at6 := make(map[key4]int32, lines), make(map[key6]int32, lines) // index into maps
	for words := s.next(); words != nil; words = s.next() {
		m, warnings, err := mapLine(words)
		if err != nil {
			rep.errorf(s.line, "map", "%v", err)
			continue
		}
		if side, o, found := c.taken.by(m); found {
			rep.errorf(s.line, "map", "%s is taken by %s", side, o.from(name))
			continue
		}
		for _, w := range warnings {
			rep.warnf(s.line, "map", "%s", w)
		}
		i4, found4 := at4[keyOf4(m)]
		i6, found6 := at6[keyOf6(m)]
		if found4 || found6 {
			for _, i := range both(i4, found4, i6, found6) {
				old := maps[i]
				rep.warnf(s.line, "map", "replaces %s on line %d", old.Map, old.Line)
				delete(at4, keyOf4(old.Map))
				delete(at6, keyOf6(old.Map))
				maps[i].Line = 0 // gone
			}
		}
		at4[keyOf4(m)], at6[keyOf6(m)] = int32(len(maps)), int32(len(maps))
		maps = append(maps, Map{Map: m, File: name, Line: s.line})
	}
	kept := maps[:0]
	for _, m := range maps {
		if m.Line > 0 {
			kept = append(kept, m)
		}
	}
	return kept, rep.done()
}

// usualLine is about how many bytes a line of a map-file has.
const usualLine = 48

// Prefixes as keys without pointers: a million of them are no work for the
// garbage collector, which would take its time from the packets.
type (
	key4 uint64
	key6 struct {
		addr [16]byte
		bits uint8
	}
)

func keyOf4(m translate.Map) key4 {
	a := m.IPv4.Addr().As4()
	return key4(binary.BigEndian.Uint32(a[:]))<<8 | key4(m.IPv4.Bits())
}

func keyOf6(m translate.Map) key6 { return key6{m.IPv6.Addr().As16(), uint8(m.IPv6.Bits())} }

// both lists the indices that were found, each once.
func both(i int32, foundI bool, j int32, foundJ bool) []int32 {
	switch {
	case foundI && foundJ && i != j:
		return []int32{i, j}
	case foundI:
		return []int32{i}
	}
	return []int32{j}
}

func mapLine(words []string) (translate.Map, []string, error) {
	if !strings.EqualFold(words[0], "map") {
		return translate.Map{}, nil, fmt.Errorf("%s is not map, the only directive of a map-file", show(words[0]))
	}
	if len(words) != 3 {
		return translate.Map{}, nil, fmt.Errorf("write an IPv4 and an IPv6 address or prefix after it, and nothing else")
	}
	m, warnings, err := parseMap(words[1:])
	if err == nil && m.IPv4.Bits() == 0 && m.IPv6.Bits() == 96 {
		err = fmt.Errorf("%s is a prefix: write prefix %s in tayga.conf", m, m.IPv6)
	}
	return m, warnings, err
}

// LoadMaps reads the map-file at path. The error is about the file as a whole.
func (c *Config) LoadMaps(path string) ([]Map, Problems, error) {
	f, err := OpenRegular(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	maps, problems := c.ReadMaps(f, path)
	return maps, problems, nil
}
