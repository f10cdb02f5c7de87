package taygaconf

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"slices"
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

// A MapFile is what a map-file says.
type MapFile struct {
	Maps     []Map
	Bindings []Binding // static, of hosts that share addresses
}

// Len is how many lines that is.
func (f MapFile) Len() int { return len(f.Maps) + len(f.Bindings) }

// ReadMaps reads a map-file: lines with the directives map and stateful-map and nothing
// else, under the rules and limits of tayga.conf. It returns what all good lines say; a
// line that conflicts with c is not a good one. Of two maps of the file that conflict with
// each other the later wins, as in TAYGA.
func (c *Config) ReadMaps(src io.Reader, name string) (MapFile, Problems) {
	m := newMapReader(c, src, name)
	for words := m.next(); words != nil; words = m.next() {
		if strings.EqualFold(words[0], "stateful-map") {
			m.addBinding(words[1:])
			continue
		}
		m.addMap(words)
	}
	bindings := m.checkBindings()
	kept := m.maps[:0]
	for _, x := range m.maps {
		if x.Line > 0 {
			kept = append(kept, x)
		}
	}
	return MapFile{kept, bindings}, m.done()
}

// A mapReader reads a map-file.
type mapReader struct {
	*source
	c        *Config
	maps     []Map          // of which those with line 0 are gone
	at4      map[key4]int32 // index into maps
	at6      map[key6]int32
	bindings []Binding
}

func newMapReader(c *Config, src io.Reader, name string) *mapReader {
	s := newSource(src, &reporter{file: name})
	lines := len(s.rest) / usualLine
	return &mapReader{
		source: s, c: c, maps: make([]Map, 0, lines),
		at4: make(map[key4]int32, lines), at6: make(map[key6]int32, lines),
	}
}

// addMap takes a line with a map.
func (r *mapReader) addMap(words []string) {
	m, warnings, err := mapLine(words)
	if err == nil {
		err = r.c.free(m, r.file)
	}
	if err != nil {
		r.errorf(r.line, "map", "%v", err)
		return
	}
	for _, w := range warnings {
		r.warnf(r.line, "map", "%s", w)
	}
	i4, found4 := r.at4[keyOf4(m)]
	i6, found6 := r.at6[keyOf6(m)]
	if found4 || found6 {
		for _, i := range both(i4, found4, i6, found6) {
			old := r.maps[i]
			r.warnf(r.line, "map", "replaces %s on line %d", old.Map, old.Line)
			delete(r.at4, keyOf4(old.Map))
			delete(r.at6, keyOf6(old.Map))
			r.maps[i].Line = 0 // gone
		}
	}
	r.at4[keyOf4(m)], r.at6[keyOf6(m)] = int32(len(r.maps)), int32(len(r.maps))
	r.maps = append(r.maps, Map{Map: m, File: r.file, Line: r.line})
}

// free says which line of tayga.conf has addresses of a map of the named file.
func (c *Config) free(m translate.Map, file string) error {
	if side, o, found := c.taken.by(m); found {
		return fmt.Errorf("%s is taken by %s", side, o.from(file))
	}
	for _, p := range c.Stateful.Pools {
		if p.Prefix.Overlaps(m.IPv4) {
			return fmt.Errorf("%s overlaps stateful-pool %s in %s, line %d: give each its own addresses", m.IPv4, p.Prefix, c.File, p.Line)
		}
	}
	if o, found := c.taken.hostIn(m.IPv6); found {
		return fmt.Errorf("%s has the host of %s, which would not answer from its shared address", m.IPv6, o.from(file))
	}
	return nil
}

// addBinding takes a line with a static binding.
func (r *mapReader) addBinding(words []string) {
	b, err := Binding{}, error(nil)
	switch {
	case len(r.c.Stateful.Pools) == 0:
		err = fmt.Errorf("there is no stateful-pool in %s", r.c.File)
	case len(words) != 3:
		err = fmt.Errorf("write tcp, udp or icmp, an IPv4 address and port, and an IPv6 address and port after it, and nothing else")
	default:
		if b, err = parseBinding(words); err == nil {
			b.File = r.file
			err = r.c.checkBinding(b)
		}
	}
	if err != nil {
		r.errorf(r.line, "stateful-map", "%v", err)
		return
	}
	b.Line = r.line
	r.bindings = append(r.bindings, b)
}

// checkBindings returns the bindings without those that conflict with others, or with maps.
func (r *mapReader) checkBindings() (kept []Binding) {
	if len(r.bindings) == 0 {
		return nil
	}
	own := taken{bound: make(map[end]owner)}
	bits := lengths(r.maps)
	for _, b := range r.bindings {
		if i, found := r.mapOf(b.Host.Addr(), bits); found {
			r.errorf(b.Line, "stateful-map", "%s has an address of its own by map on line %d, and would not answer from %s", b.Host.Addr(), r.maps[i].Line, b.Addr.Addr())
			continue
		}
		at, o, found := own.addBinding(b)
		if !found {
			at, o, found = r.c.taken.bindingOf(b)
		}
		if found {
			r.errorf(b.Line, "stateful-map", "%s", twice(b, at, o.from(r.file)))
			continue
		}
		kept = append(kept, b)
	}
	return kept
}

// mapOf returns the map of the file that has a host, for maps with IPv6 prefixes of some
// lengths.
func (r *mapReader) mapOf(host netip.Addr, bits []int) (i int32, found bool) {
	for _, n := range bits {
		p, _ := host.Prefix(n)
		if i, found = r.at6[key6{p.Addr().As16(), uint8(n)}]; found {
			return i, true
		}
	}
	return 0, false
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
		return translate.Map{}, nil, fmt.Errorf("%s is neither map nor stateful-map, the only directives of a map-file", show(words[0]))
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

// Starts reports whether a daemon starts in spite of problems of c and its map-file: all
// errors are about lines of the map-file, which it skips.
func (c *Config) Starts(problems Problems) bool {
	return !slices.ContainsFunc(problems, func(p Problem) bool { return !p.Warning && (c.MapFile == "" || p.File != c.MapPath()) })
}

// LoadMaps reads the map-file at path. The error is about the file as a whole.
func (c *Config) LoadMaps(path string) (MapFile, Problems, error) {
	f, err := OpenRegular(path)
	if err != nil {
		return MapFile{}, nil, fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	maps, problems := c.ReadMaps(f, path)
	return maps, problems, nil
}
