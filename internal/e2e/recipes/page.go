package recipes

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A kind says what a block is to a test.
type kind int

const (
	shown  kind = iota // for readers only
	run                // commands
	file               // the content of a file
	output             // what commands print
)

// A block is a fenced block of a page.
type block struct {
	kind    kind
	section string // the heading above it
	line    int    // of its first line of text
	host    string // of run and file
	path    string // of file
	text    string // ends with a newline
	prose   string // what stands before it, since the last block or heading
}

// A page is a page of documentation: its headings and its blocks, in order.
type page struct {
	name     string
	headings []heading
	blocks   []block
}

// A heading is a heading of a page. The section below it ends at the next one of
// its level or above.
type heading struct {
	level int
	title string
	line  int
}

// parsePage reads a page. Errors name page and line.
func parsePage(name, text string) (*page, error) {
	p := &page{name: name}
	var b *block
	var prose strings.Builder
	for i, line := range strings.Split(text, "\n") {
		switch fence := strings.HasPrefix(line, "```"); {
		case b != nil && line == "```":
			b.prose = prose.String()
			prose.Reset()
			p.blocks = append(p.blocks, *b)
			b = nil
		case b != nil:
			b.text += line + "\n"
		case fence:
			info, err := parseInfo(line[3:])
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
			}
			info.line = i + 2
			if n := len(p.headings); n > 0 {
				info.section = p.headings[n-1].title
			}
			b = &info
		case strings.HasPrefix(line, "#"):
			title := strings.TrimLeft(line, "#")
			p.headings = append(p.headings, heading{len(line) - len(title), strings.TrimSpace(title), i + 1})
			prose.Reset()
		default:
			prose.WriteString(line + "\n")
		}
	}
	if b != nil {
		return nil, fmt.Errorf("%s:%d: block without an end", name, b.line-1)
	}
	return p, p.check()
}

// parseInfo reads what comes after the three backquotes.
func parseInfo(info string) (block, error) {
	words := strings.Fields(info)
	switch {
	case len(words) < 2:
		return block{kind: shown}, nil
	case len(words) > 2:
		return block{}, fmt.Errorf("info string %q has more than two words", info)
	case words[1] == "output":
		return block{kind: output}, nil
	}
	host, path, isFile := strings.Cut(words[1], ":")
	switch {
	case isFile && !strings.HasPrefix(path, "/"):
		return block{}, fmt.Errorf("info string %q: path is not absolute", info)
	case isFile:
		return block{kind: file, host: host, path: path}, nil
	case words[0] != "sh":
		return block{}, fmt.Errorf("info string %q: commands are written in sh", info)
	}
	return block{kind: run, host: host}, nil
}

// check looks for what a reader would miss or stumble over.
func (p *page) check() error {
	host, section, last := "", "", shown
	for _, b := range p.blocks {
		if b.section != section {
			host, section, last = "", b.section, shown
		}
		switch b.kind {
		case run, file:
			if b.host != host && !mentions(b.prose, b.host) {
				return fmt.Errorf("%s:%d: the text before the block does not name the machine %q", p.name, b.line, b.host)
			}
			if b.kind == file && !strings.Contains(b.prose, "`"+b.path+"`") {
				return fmt.Errorf("%s:%d: the text before the block does not name the file `%s`", p.name, b.line, b.path)
			}
			host = b.host
		case output:
			if last != run {
				return fmt.Errorf("%s:%d: output of no commands", p.name, b.line)
			}
		}
		last = b.kind
	}
	return nil
}

// mentions reports whether a word, or its plural, occurs in a text.
func mentions(text, word string) bool {
	return regexp.MustCompile(`(?i)\b` + regexp.QuoteMeta(word) + `s?\b`).MatchString(text)
}

// below returns the indexes of the blocks below the heading of that title, with
// those of its subsections.
func (p *page) below(title string) ([]int, error) {
	at := slices.IndexFunc(p.headings, func(h heading) bool { return h.title == title })
	if at < 0 {
		return nil, fmt.Errorf("%s: no heading %q", p.name, title)
	}
	begin, end := p.headings[at], 1<<30
	for _, h := range p.headings[at+1:] {
		if h.level <= begin.level {
			end = h.line
			break
		}
	}
	var found []int
	for i, b := range p.blocks {
		if b.line > begin.line && b.line < end {
			found = append(found, i)
		}
	}
	return found, nil
}

// aptLine is a command that installs packages.
var aptLine = regexp.MustCompile(`(?m)^\s*apt-get install (.*)`)

// packageName is a name of a Debian package, not an option or a file.
var packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9.+-]+$`)

// packages returns the Debian packages that the page installs by name.
func (p *page) packages() []string {
	var names []string
	for _, b := range p.blocks {
		if b.kind != run {
			continue
		}
		for _, m := range aptLine.FindAllStringSubmatch(b.text, -1) {
			for _, word := range strings.Fields(m[1]) {
				if packageName.MatchString(word) {
					names = append(names, word)
				}
			}
		}
	}
	return names
}

// missing returns the first line of want that does not occur in got after the
// place of the line before it, or "". In want, … stands for anything.
func missing(got, want string) string {
	lines := strings.Split(got, "\n")
	for w := range strings.Lines(want) {
		w = strings.TrimRight(w, " \n")
		pattern := strings.ReplaceAll(regexp.QuoteMeta(w), "…", ".*")
		re := regexp.MustCompile(`^` + pattern + `\s*$`)
		at := slices.IndexFunc(lines, re.MatchString)
		if at < 0 {
			return w
		}
		lines = lines[at+1:]
	}
	return ""
}
