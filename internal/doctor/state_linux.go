package doctor

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/qdisc"
	"github.com/steppe-nat64/steppe/internal/status"
)

// State returns the state of what a command touches, in words that only compare: it
// is another one after the command, and again if another program changes it.
func State(t Touch) string {
	switch t.Kind {
	case Setting:
		text, err := os.ReadFile("/proc/sys/net/" + t.Name)
		return either(strings.TrimSpace(string(text)), err)
	case RouteTo:
		return stateOfRoute(t)
	case Rule:
		return stateOfRule(t)
	case Address, LinkState, Device:
		return stateOfLink(t)
	case Proxy:
		return there(proxied(t.Prefix.Addr(), t.Link))
	case Offload:
		on, _ := feature(t.Link, t.Name)
		return there(on)
	case Queueing:
		l, err := netlink.LinkByName(t.Link)
		if err != nil {
			return absent
		}
		kind, err := qdisc.Bypassed(l.Attrs().Index)
		return either(kind, err)
	case Filter, Table:
		return stateOfNft(t)
	case IPTables:
		_, err := output("sh", "-c", t.Text)
		return there(err == nil)
	case File:
		return stateOfFile(t.Name)
	case Node:
		_, err := os.Lstat(t.Name)
		return there(err == nil)
	case Module:
		_, err := os.Stat("/sys/module/" + t.Name)
		return there(err == nil)
	case Daemon:
		return stateOfDaemon(t.Name)
	case Unit:
		text, err := output("systemctl", "show", "--property=ActiveState,InvocationID", t.Name)
		return either(string(text), err)
	}
	return ""
}

const absent = "absent"

func there(is bool) string {
	if is {
		return "there"
	}
	return absent
}

func either(text string, err error) string {
	if err != nil {
		return absent
	}
	return text
}

// stateOfRoute lists the routes for exactly a prefix.
func stateOfRoute(t Touch) string {
	var lines []string
	for _, words := range specs("", t.Prefix, t.Table) {
		lines = append(lines, strings.Join(words, " "))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func stateOfRule(t Touch) string {
	rules, _ := netlink.RuleList(netlink.FAMILY_V6)
	return there(slices.ContainsFunc(rules, func(r netlink.Rule) bool { return text(&r) == t.Text }))
}

// stateOfLink is about an interface, or one address of it.
func stateOfLink(t Touch) string {
	l, err := netlink.LinkByName(t.Link)
	if err != nil {
		return absent
	}
	a := l.Attrs()
	switch t.Kind {
	case Device:
		return fmt.Sprintf("index %d", a.Index)
	case LinkState:
		return fmt.Sprintf("up %t mtu %d", a.RawFlags&unix.IFF_UP != 0, a.MTU)
	}
	addrs, err := netlink.AddrList(l, familyOf(t.Prefix.Addr().Is6()))
	return there(err == nil && slices.ContainsFunc(addrs, func(x netlink.Addr) bool {
		ip, _ := netip.AddrFromSlice(x.IP)
		bits, _ := x.Mask.Size()
		return netip.PrefixFrom(ip.Unmap(), bits) == t.Prefix
	}))
}

// stateOfNft counts the rules of a chain that are listed as the text, or lists a table.
func stateOfNft(t Touch) string {
	what := "chain"
	if t.Kind == Table {
		what = "table"
	}
	list, err := output(find("nft"), append([]string{"-s", "list", what}, strings.Fields(t.Name)...)...)
	if err != nil || t.Kind == Table {
		return either(string(list), err)
	}
	n := 0
	for line := range strings.Lines(string(list)) {
		if strings.TrimSpace(line) == t.Text {
			n++
		}
	}
	return fmt.Sprintf("%d rules", n)
}

// stateOfFile is a sum of the contents, not of a file without end.
func stateOfFile(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return absent
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, MaxFile+1)); err != nil {
		return absent
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// stateOfDaemon tells a process from a later one with the same number.
func stateOfDaemon(socket string) string {
	r, err := status.Ask(socket, status.Summary)
	if err != nil {
		return absent
	}
	return fmt.Sprintf("process %d since %d", r.PID, r.Started.UnixNano())
}
