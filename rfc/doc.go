// Package rfc holds the conformance matrix: one row for each requirement that
// the RFCs put on a translator, stateless and stateful, and the tests that prove them.
//
// The rows are in *.tsv, one file an RFC: id, section, level, rule, status, test,
// note. A test proves a row by running it through the function row under its id.
// TestMain compares the two when all tests have run, so that no row is without
// proof or reason and no proof without row.
package rfc

import (
	"embed"
	"encoding/csv"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// A Status says how the translator stands to a requirement.
type Status string

const (
	Proven        Status = "proven"         // a test shows that it is met
	Deviates      Status = "deviates"       // a test shows what is done instead; the note says why
	NotApplicable Status = "not-applicable" // nothing that a translator does; the note says why
)

// A Row is one requirement.
type Row struct {
	RFC     string // file name without suffix: "rfc7915"
	ID      string // stable: RFC, section, number
	Section string
	Level   string // M: MUST, S: SHOULD, O: MAY, N: normative without key word
	Rule    string
	Status  Status
	Test    string // top-level test function; empty only for NotApplicable
	Note    string
}

//go:embed *.tsv
var files embed.FS

var idForm = regexp.MustCompile(`^[0-9]+-[0-9A-Za-z.]+-[0-9]{2}$`)

// Matrix returns all rows, in the order of the files and of the lines in them.
// Its error names file and line of a row that makes no sense.
func Matrix() ([]Row, error) {
	names, err := fs.Glob(files, "*.tsv")
	if err != nil {
		return nil, err
	}
	var rows []Row
	seen := map[string]bool{}
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		r := csv.NewReader(strings.NewReader(string(text)))
		r.Comma, r.Comment, r.LazyQuotes, r.FieldsPerRecord = '\t', '#', true, 7
		lines, err := r.ReadAll()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for i, f := range lines[1:] { // the first line names the columns
			row := Row{strings.TrimSuffix(name, ".tsv"), f[0], f[1], f[2], f[3], Status(f[4]), f[5], f[6]}
			if err := row.check(); err != nil {
				return nil, fmt.Errorf("%s: row %d: %s: %w", name, i+1, row.ID, err)
			}
			if seen[row.ID] {
				return nil, fmt.Errorf("%s: row %d: %s: given twice", name, i+1, row.ID)
			}
			seen[row.ID] = true
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func (r *Row) check() error {
	switch {
	case !idForm.MatchString(r.ID):
		return fmt.Errorf("malformed id")
	case r.Section == "" || r.Rule == "":
		return fmt.Errorf("section or rule missing")
	case len(r.Level) == 0 || strings.Trim(r.Level, "MSON/") != "":
		return fmt.Errorf("level %q", r.Level)
	case r.Status != Proven && r.Status != Deviates && r.Status != NotApplicable:
		return fmt.Errorf("status %q", r.Status)
	case r.Status != NotApplicable && r.Test == "":
		return fmt.Errorf("no test")
	case r.Status != Proven && r.Note == "":
		return fmt.Errorf("no reason")
	}
	return nil
}
