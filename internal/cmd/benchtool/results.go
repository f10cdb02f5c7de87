package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"

	"golang.org/x/perf/benchfmt"
)

// A result is a benchmark with its samples by unit, with the units as go test prints
// them.
type result struct {
	Name    string
	Samples map[string][]float64
}

// readResults reads what go test -bench printed, in the order of appearance.
func readResults(r io.Reader) (all []*result, err error) {
	byName := map[string]*result{}
	in := benchfmt.NewReader(r, "benchmarks")
	for in.Scan() {
		res, ok := in.Result().(*benchfmt.Result)
		if !ok {
			continue
		}
		name := plainName(res.Name)
		if byName[name] == nil {
			byName[name] = &result{name, map[string][]float64{}}
			all = append(all, byName[name])
		}
		for _, v := range res.Values {
			unit, value := v.Unit, v.Value
			if v.OrigUnit != "" {
				unit, value = v.OrigUnit, v.OrigValue
			}
			byName[name].Samples[unit] = append(byName[name].Samples[unit], value)
		}
	}
	return all, in.Err()
}

// convert writes what go test -bench printed to a file as JSON.
func convert(w io.Writer, args []string) error {
	if len(args) != 1 {
		return errors.New("json: want the name of a file")
	}
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	all, err := readResults(f)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "\t")
	return enc.Encode(all)
}
