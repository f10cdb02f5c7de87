package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A site is a place of the source where one operator, one integer constant or one
// condition can be changed.
type site struct {
	dir, file  string // below the module's root
	line       int
	start, end int    // bytes of the file that are replaced
	old, new   string // what stands there, and what takes its place
	text       string // the line, without the space around it
}

func (s *site) String() string {
	return fmt.Sprintf("%s/%s:%d: %s -> %s in: %s", s.dir, s.file, s.line, s.old, s.new, s.text)
}

// apply changes the text of the file.
func (s *site) apply(text string) string { return text[:s.start] + s.new + text[s.end:] }

// randomMutants chooses n sites in the packages in dirs. The same seed chooses the
// same sites of the same source.
func randomMutants(root string, dirs []string, n int, seed uint64) ([]site, error) {
	var all []site
	for _, dir := range dirs {
		pkg, err := build.ImportDir(filepath.Join(root, dir), 0)
		if err != nil {
			return nil, err
		}
		for _, file := range pkg.GoFiles {
			sites, err := sitesOf(root, dir, file)
			if err != nil {
				return nil, err
			}
			all = append(all, sites...)
		}
	}
	r := rand.New(rand.NewPCG(seed, 0))
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))], nil
}

// operators holds what may take the place of an operator: a neighbour that a
// hurried hand confuses it with.
var operators = map[token.Token][]token.Token{
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL},
	token.ADD: {token.SUB}, token.SUB: {token.ADD}, token.MUL: {token.ADD},
	token.LAND: {token.LOR}, token.LOR: {token.LAND},
	token.SHL: {token.SHR}, token.SHR: {token.SHL},
	token.AND: {token.OR}, token.OR: {token.AND}, token.AND_NOT: {token.AND}, token.XOR: {token.OR},
}

// sitesOf lists the sites of one file. Comments, imports, messages and what New
// reports are left out: nothing but text depends on them.
func sitesOf(root, dir, file string) ([]site, error) {
	path := filepath.Join(root, dir, file)
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(src), "\n")
	var sites []site
	add := func(from, to token.Pos, replacement string) {
		at, end := fset.Position(from), fset.Position(to)
		sites = append(sites, site{
			dir: dir, file: file, line: at.Line, start: at.Offset, end: end.Offset,
			old: string(src[at.Offset:end.Offset]), new: replacement, text: strings.TrimSpace(lines[at.Line-1]),
		})
	}
	negate := func(cond ast.Expr) {
		if cond != nil {
			add(cond.Pos(), cond.End(), "!("+string(src[fset.Position(cond.Pos()).Offset:fset.Position(cond.End()).Offset])+")")
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec, *ast.CommentGroup:
			return false
		case *ast.CallExpr:
			return !reports(n)
		case *ast.ArrayType:
			ast.Inspect(n.Elt, func(ast.Node) bool { return false })
			return n.Len == nil // another length of an array does not compile
		case *ast.BinaryExpr:
			for _, op := range operators[n.Op] {
				if n.Op == token.ADD && isString(n) {
					continue
				}
				add(n.OpPos, n.OpPos+token.Pos(len(n.Op.String())), op.String())
			}
		case *ast.BasicLit:
			if n.Kind == token.INT {
				if v, err := strconv.ParseUint(n.Value, 0, 63); err == nil {
					add(n.Pos(), n.End(), strconv.FormatUint(v+1, 10))
					if v > 0 {
						add(n.Pos(), n.End(), strconv.FormatUint(v-1, 10))
					}
				}
			}
		case *ast.IfStmt:
			negate(n.Cond)
		case *ast.ForStmt:
			return true // a loop that is negated runs for ever more often than not
		}
		return true
	})
	return sites, nil
}

// reports tells whether a call only makes or formats a message.
func reports(c *ast.CallExpr) bool {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name == "panic"
	case *ast.SelectorExpr:
		if x, isIdent := f.X.(*ast.Ident); isIdent {
			return x.Name == "fmt" || x.Name == "errors" || x.Name == "slog" || x.Name == "log"
		}
	}
	return false
}

// isString tells whether an addition joins strings, as far as can be seen without
// types.
func isString(b *ast.BinaryExpr) bool {
	text := false
	ast.Inspect(b, func(n ast.Node) bool {
		if l, isLit := n.(*ast.BasicLit); isLit && l.Kind == token.STRING {
			text = true
		}
		return !text
	})
	return text
}

// An equivalent is a change that no test can notice, and the reason.
type equivalent struct {
	file, text string // the file, and what its line begins with
	old, new   string // "" matches any
	why        string
}

func (s *site) equivalentTo() (why string, found bool) {
	i := slices.IndexFunc(equivalents, func(e equivalent) bool {
		return e.file == s.dir+"/"+s.file && strings.HasPrefix(s.text, e.text) &&
			(e.old == "" || e.old == s.old) && (e.new == "" || e.new == s.new)
	})
	if i < 0 {
		return "", false
	}
	return equivalents[i].why, true
}

// random tries n random changes, one at a time on each processor, and names those
// that no test notices.
func (l *laboratory) random(n int, seed uint64) error {
	sites, err := randomMutants(l.root, []string{"pool", "session", "translate"}, n, seed)
	if err != nil {
		return err
	}
	var (
		mu                                sync.Mutex
		noticed, unbuilt, equal, survived int
		failure                           error
		work                              = make(chan site)
		done                              sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		done.Go(func() {
			for s := range work {
				by, err := l.trySite(&s)
				mu.Lock()
				why, known := s.equivalentTo()
				switch {
				case errors.Is(err, errBuild):
					unbuilt++
				case err != nil:
					failure = errors.Join(failure, fmt.Errorf("%s: %w", &s, err))
				case by != "":
					noticed++
					fmt.Printf("noticed   %s  (%s)\n", &s, by)
				case known:
					equal++
					fmt.Printf("equal     %s  (%s)\n", &s, why)
				default:
					survived++
					fmt.Printf("SURVIVED  %s\n", &s)
				}
				mu.Unlock()
			}
		})
	}
	for _, s := range sites {
		work <- s
	}
	close(work)
	done.Wait()
	fmt.Printf("mutants: %d random changes: %d noticed, %d equivalent, %d do not compile, %d survived\n",
		len(sites), noticed, equal, unbuilt, survived)
	if survived > 0 {
		failure = errors.Join(failure, fmt.Errorf("%d random changes went unnoticed", survived))
	}
	return failure
}

func (l *laboratory) trySite(s *site) (by string, err error) {
	path := filepath.Join(l.root, s.dir, s.file)
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return l.tryText(path, s.apply(string(text)), testsOf[s.dir])
}
