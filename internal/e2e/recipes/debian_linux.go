package recipes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	suite  = "trixie" // Debian 13
	mirror = "http://deb.debian.org/debian"
)

// tools are the programs that machines are made with, and their packages.
var tools = map[string]string{
	"mmdebstrap": "mmdebstrap", "nsenter": "util-linux", "unshare": "util-linux", "setpriv": "util-linux",
}

// debian returns the directory of a freshly installed Debian whose apt cache
// holds the packages and what they depend on. It must not be written to.
func debian(packages []string) (root string, err error) {
	for tool, pkg := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("recipes: install %s: %w", pkg, err)
		}
	}
	dir := os.Getenv("STEPPE_RECIPES_CACHE")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("recipes: find a cache directory: %w", err)
		}
		dir = filepath.Join(cache, "steppe-recipes")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("recipes: make the cache: %w", err)
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	root = filepath.Join(dir, suite)
	if err := bootstrap(root); err != nil {
		return "", err
	}
	return root, download(root, packages)
}

// lock waits until no other process works on the cache.
func lock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("recipes: lock the cache: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("recipes: lock the cache: %w", err)
	}
	return f.Close, nil
}

// bootstrap installs Debian in root, if it is not there. What the image has from
// the machine outside is taken away: its name, its resolver.
func bootstrap(root string) error {
	if _, err := os.Stat(root); err == nil {
		return nil
	}
	tmp := root + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("recipes: remove an unfinished image: %w", err)
	}
	sources := fmt.Sprintf("deb %[1]s %[2]s main\ndeb %[1]s %[2]s-updates main\ndeb %[1]s-security %[2]s-security main\n",
		mirror, suite)
	c := exec.Command("mmdebstrap", "--mode=root", "--variant=important", "--skip=cleanup/apt/lists", suite, tmp, "-")
	c.Stdin = strings.NewReader(sources)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("recipes: install Debian: %w: %s", err, out)
	}
	for name, content := range map[string]string{
		"etc/hostname": "debian\n", "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
		"etc/machine-id": "", "etc/resolv.conf": "",
		// Where there is no network, do not ask for it again and again.
		"etc/apt/apt.conf.d/90recipes": "Acquire::Retries \"0\";\n",
		// The first boot has no caches to bring up to date.
		"etc/.updated": "", "var/.updated": "",
	} {
		if err := os.WriteFile(filepath.Join(tmp, name), []byte(content), 0o644); err != nil {
			return fmt.Errorf("recipes: prepare the image: %w", err)
		}
	}
	return os.Rename(tmp, root)
}

// download fetches what is missing of the packages into the image's apt cache,
// through the network of the machine outside. What was fetched before is in a
// list beside the image.
func download(root string, packages []string) error {
	list := root + ".packages"
	known, err := os.ReadFile(list)
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("recipes: read the list of packages: %w", err)
	}
	have := strings.Fields(string(known))
	var want []string
	for _, p := range packages {
		if !slices.Contains(have, p) && !slices.Contains(want, p) {
			want = append(want, p)
		}
	}
	if len(want) == 0 {
		return nil
	}
	all := append(have, want...)
	// The mirror forgets old versions, so new lists come first, and what was
	// fetched by the old ones may be needed anew. The resolver of the machine
	// outside stays mounted as long as the shell runs.
	const script = `
		mount --bind /etc/resolv.conf "$1/etc/resolv.conf"
		chroot "$1" apt-get -q update
		shift
		chroot "$0" apt-get -qy --download-only install "$@"`
	args := append([]string{"--mount", "sh", "-euc", script, root, root}, all...)
	if out, err := exec.Command("unshare", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("recipes: download %s: %w: %s", strings.Join(want, " "), err, out)
	}
	return os.WriteFile(list, []byte(strings.Join(all, "\n")+"\n"), 0o644)
}
