package main

import (
	"bytes"
	"io"

	"github.com/steppe-nat64/steppe/internal/status"
)

// listSessions prints the report of the first page and the sessions of all pages. Each is
// printed before the next one is asked for, so neither side has the whole list.
func listSessions(path string, q status.Query, asJSON bool, stdout, stderr io.Writer) error {
	write := tableOfSessions
	if asJSON {
		write = jsonOfSessions()
	}
	first, none := true, !asJSON
	err := status.AskSessions(path, q, func(r *status.Report) error {
		var page bytes.Buffer
		if first {
			note(r, path, stderr)
		}
		if err := write(&page, r, first); err != nil {
			return err
		}
		first = false
		none = none && len(r.SessionList.Entries) == 0 && r.Shared != nil
		if none && r.SessionList.Next == 0 {
			page.WriteString("no such session\n")
		}
		_, err := stdout.Write(page.Bytes())
		return err
	})
	return err
}

// tableOfSessions writes a page as lines of a table.
func tableOfSessions(page *bytes.Buffer, r *status.Report, first bool) error {
	if first {
		return r.WriteTable(page)
	}
	return r.SessionList.WriteRows(page)
}

// jsonOfSessions returns a function that writes pages as parts of one JSON text: a report
// with all sessions, as writeJSON would print it.
func jsonOfSessions() func(page *bytes.Buffer, r *status.Report, first bool) error {
	const end = "\n}\n"
	empty := true
	return func(page *bytes.Buffer, r *status.Report, first bool) error {
		list := r.SessionList
		if first {
			rest := *r
			rest.SessionList = nil
			if err := writeJSON(page, rest); err != nil {
				return err
			}
			page.Truncate(page.Len() - len(end))
			page.WriteString(",\n  \"session_list\": {\n    \"entries\": [")
		}
		for _, s := range list.Entries {
			b, err := encodeJSON(s, "      ")
			if err != nil {
				return err
			}
			if !empty {
				page.WriteByte(',')
			}
			empty = false
			page.WriteString("\n      ")
			page.Write(bytes.TrimSuffix(b, []byte("\n")))
		}
		if list.Next == 0 {
			if !empty {
				page.WriteString("\n    ")
			}
			page.WriteString("]\n  }" + end)
		}
		return nil
	}
}
