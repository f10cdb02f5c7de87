package taygaconf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/steppe-nat64/steppe/internal/safepath"
)

// Limits of a file.
const (
	maxFile  = 128 << 20 // bytes; two million maps
	maxLine  = 64 << 10  // bytes
	maxWords = 10        // words before a comment, directive included
	// TAYGA stops at lines longer than this, line feed included.
	taygaLine = 510
)

const blanks = " \t\r"

// A source hands out the lines of a file that have words on them.
type source struct {
	*reporter
	rest  string // what has not been read yet
	line  int    // number of the last line read
	words [maxWords]string
	long  bool // a long line was warned about
	bad   bool // the file is no configuration: nothing more is said about it
}

// newSource reads all of r.
func newSource(r io.Reader, rep *reporter) *source {
	s := &source{reporter: rep}
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		s.giveUp(0, cause(err).Error())
		return s
	}
	if len(b) > maxFile {
		s.giveUp(0, fmt.Sprintf("longer than %d MiB: not a configuration file", maxFile>>20))
		return s
	}
	s.rest = string(b)
	if rest, ok := strings.CutPrefix(s.rest, "\ufeff"); ok {
		s.rest = rest
		s.warnf(1, "", "byte order mark at the start ignored: TAYGA itself does not know it")
	}
	return s
}

// giveUp reports that the file cannot be used at all.
func (s *source) giveUp(line int, why string) {
	s.errorf(line, "", "%s", why)
	s.rest, s.bad = "", true
}

// next returns the words of the next line that has any, nil at the end of the
// file. They are good until the following call.
func (s *source) next() []string {
	for s.rest != "" {
		text, rest, lf := strings.Cut(s.rest, "\n")
		s.rest = rest
		s.line++
		if len(text) >= taygaLine && !s.checkLong(text, lf) {
			continue
		}
		if strings.IndexByte(text, 0) >= 0 {
			s.giveUp(s.line, "NUL byte: this is not a text file")
			return nil
		}
		if words := s.split(text); len(words) > 0 {
			return words
		}
	}
	return nil
}

// checkLong says what is to be said about a long line, with or without a line
// feed after it, and reports whether it can be used.
func (s *source) checkLong(text string, lf bool) bool {
	if len(text) > maxLine {
		s.errorf(s.line, "", "line longer than %d characters", maxLine)
		return false
	}
	if !s.long && (len(text) > taygaLine || lf) {
		s.long = true
		s.warnf(s.line, "", "line of %d characters: TAYGA itself accepts no more than %d", len(text), taygaLine-1)
	}
	return true
}

// split cuts a line into words. A word that begins with # ends it.
func (s *source) split(text string) []string {
	n := 0
	for {
		text = strings.TrimLeft(text, blanks)
		if text == "" || text[0] == '#' {
			return s.words[:n]
		}
		if n == maxWords {
			s.errorf(s.line, "", "more than %d words: put the rest on a line of its own, or after a #", maxWords)
			return nil
		}
		end := strings.IndexAny(text, blanks)
		if end < 0 {
			end = len(text)
		}
		s.words[n] = text[:end]
		text = text[end:]
		n++
	}
}

// open opens a file for reading, or says why that is not possible in words
// that make sense after the file's name. A pipe will do.
func open(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	if fi, err := f.Stat(); err == nil && fi.IsDir() {
		f.Close()
		return nil, errors.New("is a directory")
	}
	return f, nil
}

// OpenRegular is open for files that a daemon reads by itself. It opens regular
// files only, since to open or to read a pipe takes until a program writes, and
// no symbolic link that another user may have made: see package safepath.
func OpenRegular(path string) (*os.File, error) {
	f, err := safepath.OpenRegular(nil, path)
	if err != nil {
		return nil, cause(err)
	}
	return f, nil
}

// cause strips the name of the file from an error.
func cause(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
