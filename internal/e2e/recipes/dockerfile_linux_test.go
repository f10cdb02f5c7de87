package recipes

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An image is what a Dockerfile makes: files, and what to run.
type image struct {
	root       string
	entrypoint []string
	cmd        []string
}

// A stage is a part of a Dockerfile that begins with FROM.
type stage struct {
	dir     string // its files are in dir/upper, over those of base
	base    string // directory, empty for scratch
	workdir string
	args    []string // name=value
}

// follow does what a Dockerfile says, instruction by instruction, with the files
// of context. In place of the image golang it takes the image of this Recipe with
// the Go of the machine outside. An instruction that it does not know, and that
// the page does not need, ends the test.
func (r *Recipe) follow(t *testing.T, dockerfile, context string) (img image) {
	t.Helper()
	text, err := os.ReadFile(dockerfile)
	require.NoError(t, err)
	stages := make(map[string]*stage)
	var s *stage
	for line := range strings.Lines(string(text)) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		args := strings.Fields(rest)
		switch word {
		case "", "#":
		case "FROM":
			s = &stage{dir: t.TempDir(), workdir: "/"}
			require.NoError(t, os.Mkdir(filepath.Join(s.dir, "upper"), 0o755))
			if args[0] != "scratch" {
				require.Contains(t, goEnv(t, "GOVERSION")+".", "go"+strings.TrimPrefix(args[0], "golang:")+".")
				s.base = r.image
			}
			if len(args) == 3 && args[1] == "AS" {
				stages[args[2]] = s
			}
			img = image{root: filepath.Join(s.dir, "upper")}
		case "ARG":
			s.args = append(s.args, rest)
		case "WORKDIR":
			s.workdir = rest
			require.NoError(t, os.MkdirAll(filepath.Join(s.dir, "upper", rest), 0o755))
		case "COPY":
			from := context
			if name, ok := strings.CutPrefix(args[0], "--from="); ok {
				require.Contains(t, stages, name)
				from, args = filepath.Join(stages[name].dir, "upper"), args[1:]
			}
			s.copy(t, from, args)
		case "RUN":
			s.run(t, rest)
		case "ENTRYPOINT":
			require.NoError(t, json.Unmarshal([]byte(rest), &img.entrypoint))
		case "CMD":
			require.NoError(t, json.Unmarshal([]byte(rest), &img.cmd))
		default:
			t.Fatalf("%s: %s is not known here", dockerfile, word)
		}
	}
	return img
}

// copy copies files of a directory, or all of it but for what .dockerignore names.
func (s *stage) copy(t *testing.T, from string, args []string) {
	t.Helper()
	ignored, _ := os.ReadFile(filepath.Join(from, ".dockerignore"))
	names, target := args[:len(args)-1], args[len(args)-1]
	to := filepath.Join(s.dir, "upper", target)
	if !filepath.IsAbs(target) {
		to = filepath.Join(s.dir, "upper", s.workdir, target)
	}
	for _, name := range names {
		if name == "." {
			entries, err := os.ReadDir(from)
			require.NoError(t, err)
			for _, e := range entries {
				if !slices.Contains(strings.Fields(string(ignored)), e.Name()) {
					sh(t, `mkdir -p "$2"; cp -a "$1" "$2"`, filepath.Join(from, e.Name()), to)
				}
			}
			continue
		}
		sh(t, `mkdir -p "$(dirname "$2")"; cp -a "$1" "$2"`, filepath.Join(from, name), to)
	}
}

// run runs a command in a stage that is made of a Debian and the Go of the machine
// outside.
func (s *stage) run(t *testing.T, command string) {
	t.Helper()
	require.NotEmpty(t, s.base, "RUN in an empty image")
	const script = `
		base=$1 dir=$2 goroot=$3 modules=$4 cache=$5 workdir=$6 command=$7
		shift 7
		mkdir -p "$dir/work" "$dir/root"
		mount -t overlay -o "lowerdir=$base,upperdir=$dir/upper,workdir=$dir/work" overlay "$dir/root"
		cd "$dir/root"
		mkdir -p usr/local/go go/pkg/mod root/.cache/go-build
		mount --bind "$goroot" usr/local/go
		mount --bind "$modules" go/pkg/mod
		mount --bind "$cache" root/.cache/go-build
		mount --bind /dev dev
		mount -t proc proc proc
		exec chroot . env -i "$@" HOME=/root GOPATH=/go PATH=/go/bin:/usr/local/go/bin:/usr/bin:/bin \
			sh -ec "cd $workdir; $command"`
	args := []string{"--mount", "sh", "-euc", script, "sh", s.base, s.dir,
		goEnv(t, "GOROOT"), goEnv(t, "GOMODCACHE"), goEnv(t, "GOCACHE"), s.workdir, command, "GOPROXY=" + goEnv(t, "GOPROXY")}
	out, err := exec.Command("unshare", append(args, s.args...)...).CombinedOutput()
	require.NoError(t, err, "RUN %s\n%s", command, out)
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

func sh(t *testing.T, script string, args ...string) {
	t.Helper()
	out, err := exec.Command("sh", append([]string{"-euc", script, "sh"}, args...)...).CombinedOutput()
	require.NoError(t, err, "%s\n%s", script, out)
}
