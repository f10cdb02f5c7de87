package deps

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName   = regexp.MustCompile(`\b(Test|Fuzz)[A-Z][A-Za-z0-9]*\b`)
	makeTarget = regexp.MustCompile(`make ([a-z][a-z-]*)`)
	goTest     = regexp.MustCompile("`go\\s+test\\s+((?:\\./[^\\s`]+\\s*)+)(?:-run\\s+'?([^'`]+)'?)?`")
	testFunc   = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

// TestSecurityPage: each test, target and command that SECURITY.md names is there,
// and runs something.
func TestSecurityPage(t *testing.T) {
	b, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	in := map[string][]string{} // tests by directory
	all := map[string]bool{}
	err = filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllStringSubmatch(string(text), -1) {
			dir := "./" + strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../../")
			in[dir] = append(in[dir], m[1])
			all[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	commands := goTest.FindAllStringSubmatch(page, -1)
	for _, m := range commands {
		match, err := regexp.Compile(m[2])
		if err != nil {
			t.Errorf("%s: %v", m[0], err)
			continue
		}
		for dir := range strings.FieldsSeq(m[1]) {
			found := 0
			for _, name := range in[dir] {
				if match.MatchString(name) {
					found++
				}
			}
			if found == 0 {
				t.Errorf("%s runs no test in %s", m[0], dir)
			}
		}
		for _, part := range strings.Split(m[2], "|") {
			some := false
			for name := range all {
				some = some || strings.Contains(name, part)
			}
			if !some {
				t.Errorf("%s: no test is called like %s", m[0], part)
			}
		}
	}
	names := testName.FindAllString(goTest.ReplaceAllString(page, ""), -1)
	for _, name := range names {
		if !all[name] {
			t.Errorf("there is no %s", name)
		}
	}
	targets := makeTarget.FindAllStringSubmatch(page, -1)
	for _, m := range targets {
		if !strings.Contains(string(makefile), "\n"+m[1]+":") {
			t.Errorf("there is no make %s", m[1])
		}
	}
	if len(commands) < 10 || len(names) < 5 || len(targets) < 5 {
		t.Errorf("%d commands, %d tests and %d targets were found", len(commands), len(names), len(targets))
	}
}
