package doctor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// What a program may take and print.
const (
	toolTime   = 10 * time.Second
	toolOutput = 64 << 20
)

// filters reads the rules of nftables and iptables. Rules that iptables made in
// nftables are taken from iptables, whose words nft does not all have.
func filters() (fs Filters) {
	nft := find("nft")
	foreign := nft == "" // there may be rules that nft does not show, or not well
	if nft != "" {
		text, err := output(nft, "-j", "list", "ruleset")
		if err == nil && len(bytes.TrimSpace(text)) > 0 {
			fs.Chains, err = parseNft(text)
			foreign = bytes.Contains(text, []byte(`"xt"`))
			if err == nil && slices.ContainsFunc(fs.Chains, Chain.lacksDevices) {
				text, err = output(nft, "list", "chains")
				fs.takeDevices(string(text))
			}
		}
		if err != nil {
			fs.Unseen = err.Error()
			return fs
		}
	}
	for _, six := range []bool{false, true} {
		prefix, tables := "ip", "/proc/net/ip_tables_names"
		if six {
			prefix, tables = "ip6", "/proc/net/ip6_tables_names"
		}
		names, _ := os.ReadFile(tables)
		older := len(names) > 0 // rules of iptables proper, outside of nftables
		ran := ""
		for _, kind := range []struct {
			wanted bool
			name   string
		}{{foreign, "tables-nft-save"}, {older, "tables-legacy-save"}} {
			if !kind.wanted {
				continue
			}
			path := cmp.Or(find(prefix+kind.name), find(prefix+"tables-save"))
			switch {
			case path == "" && nft == "":
				fs.Unseen = "neither nft nor iptables is installed"
				return fs
			case path == "" && older:
				fs.Unseen = "iptables is not installed, and the kernel has rules of it"
				return fs
			case path == "", path == ran:
				continue
			}
			text, err := output(path)
			if err != nil {
				fs.Unseen = err.Error()
				return fs
			}
			ran = path
			chains := parseIPTables(string(text), six)
			for i := range chains {
				chains[i].Program = strings.TrimSuffix(filepath.Base(path), "-save")
			}
			fs.take(chains, bytes.Contains(text, []byte("(nf_tables)")))
		}
	}
	return fs
}

// take adds chains of iptables. Those that stand in nftables take the place of
// what nft made of them.
func (fs *Filters) take(chains []Chain, instead bool) {
	fs.Chains = slices.DeleteFunc(fs.Chains, func(c Chain) bool {
		return instead && c.Tool == toolNft && slices.ContainsFunc(chains, func(d Chain) bool {
			return c.Family == d.Family && c.Table == d.Table && c.Name == d.Name
		})
	})
	fs.Chains = append(fs.Chains, chains...)
}

// output runs a program and returns what it prints.
func output(path string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), toolTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(out, toolOutput+1))
	if len(text) > toolOutput {
		err = errors.New("too many rules")
		cancel()
	}
	if failed := cmd.Wait(); err == nil {
		err = failed
	}
	if err != nil {
		line, _, _ := strings.Cut(strings.TrimSpace(errs.String()), "\n")
		return nil, fmt.Errorf("%s: %w %s", path, err, line)
	}
	return text, nil
}
