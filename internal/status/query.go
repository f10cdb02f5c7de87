package status

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Query selects sessions. The zero Query selects all, from the first one on.
type Query struct {
	Host     netip.Prefix // IPv6: of the host, if valid
	HostPort uint16       // of the host, if not 0
	Addr     netip.Prefix // IPv4: of the shared or the remote address, if valid
	AddrPort uint16       // of the same address, if not 0
	Port     uint16       // of any of the three, if not 0
	Protocol string       // tcp, udp or icmp, if not empty
	// Page is where a listing goes on: SessionList.Next of the page before.
	Page uint32
}

// PageSize is how many sessions a page has at most.
const PageSize = 4096

// A SessionList is a page of the sessions that a Query selects.
type SessionList struct {
	Entries []Session `json:"entries"`
	// Next is where the next page begins, 0 after the last one. A page may be short, or
	// empty, without being the last.
	Next uint32 `json:"next,omitempty"`
}

// A Session is a flow of a host that shares an address. Ends are written as
// [2001:db8::1]:443 and 192.0.2.1:443; of icmp, the port is the identifier, and the
// remote end has none.
type Session struct {
	Protocol string `json:"protocol"` // tcp, udp, icmp
	State    string `json:"state"`
	Host     string `json:"host"`
	Shared   string `json:"shared"`
	Remote   string `json:"remote"`
	Idle     uint64 `json:"idle_seconds"`
	// Remaining is after how long without packets it ends or changes its state.
	Remaining uint64 `json:"remaining_seconds"`
}

var errTwice = errors.New("was given before: want at most one host, one address or port, and one protocol")

// ParseQuery reads what --status=sessions has for arguments: a host, an IPv4 address, a
// prefix of either, each with or without a port, a port alone, a protocol.
func ParseQuery(words []string) (q Query, err error) {
	for _, w := range words {
		if err := q.add(w); err != nil {
			return Query{}, fmt.Errorf("status: %s %w", show(w), err)
		}
	}
	return q, nil
}

var errQuery = errors.New("is none of HOST, [HOST]:PORT, ADDRESS, ADDRESS:PORT, :PORT, a prefix in place of the address, tcp, udp, icmp")

// add adds a condition.
func (q *Query) add(word string) error {
	if slices.Contains(protocols, word) {
		if q.Protocol != "" {
			return errTwice
		}
		q.Protocol = word
		return nil
	}
	where, port, err := cutPort(word)
	if err != nil {
		return err
	}
	if where == "" {
		if q.Port != 0 {
			return errTwice
		}
		q.Port = port
		return nil
	}
	p, err := parsePrefix(where)
	if err != nil {
		return errQuery
	}
	to, toPort := &q.Host, &q.HostPort
	if p.Addr().Is4() {
		to, toPort = &q.Addr, &q.AddrPort
	}
	if to.IsValid() {
		return errTwice
	}
	*to, *toPort = p, port
	return nil
}

var protocols = []string{"tcp", "udp", "icmp"}

// cutPort cuts the port off, if there is one. IPv6 needs brackets then.
func cutPort(word string) (where string, port uint16, err error) {
	where, text, found := word, "", false
	if rest, bracket := strings.CutPrefix(word, "["); bracket {
		where, text, found = strings.Cut(rest, "]")
		if !found || !strings.Contains(where, ":") || text != "" && text[0] != ':' {
			return "", 0, errQuery
		}
		text, found = strings.CutPrefix(text, ":")
	} else if strings.Count(word, ":") == 1 {
		where, text, found = strings.Cut(word, ":")
	}
	if !found {
		return where, 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return "", 0, errQuery
	}
	return where, uint16(n), nil
}

// parsePrefix reads an address or a prefix, whose host bits do not matter.
func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, errQuery
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// Selects reports whether the ports of a session are those of the query. addr and remote
// are its IPv4 ends; the rest of the query is not looked at.
func (q *Query) Selects(host, addr, remote netip.AddrPort) bool {
	if q.HostPort != 0 && host.Port() != q.HostPort {
		return false
	}
	if q.Port != 0 && host.Port() != q.Port && addr.Port() != q.Port && remote.Port() != q.Port {
		return false
	}
	if q.AddrPort == 0 {
		return true
	}
	at := func(end netip.AddrPort) bool { return end.Port() == q.AddrPort && q.Addr.Contains(end.Addr()) }
	return at(addr) || at(remote)
}

// A query is sent as words of the form key=value, padded with blanks, and a line feed.
// It always has the same length, for the same reason as a request.
const queryLen = 160

func encodeQuery(q Query) []byte {
	var words []string
	add := func(key string, value any, given bool) {
		if given {
			words = append(words, fmt.Sprintf("%s=%v", key, value))
		}
	}
	add("host", q.Host, q.Host.IsValid())
	add("host-port", q.HostPort, q.HostPort != 0)
	add("addr", q.Addr, q.Addr.IsValid())
	add("addr-port", q.AddrPort, q.AddrPort != 0)
	add("port", q.Port, q.Port != 0)
	add("protocol", q.Protocol, q.Protocol != "")
	add("page", q.Page, q.Page != 0)
	return fmt.Appendf(nil, "%-*s\n", queryLen-1, strings.Join(words, " "))
}

var errBadQuery = errors.New("unknown selection of sessions")

// decodeQuery accepts only what encodeQuery returns.
func decodeQuery(b []byte) (q Query, err error) {
	for _, word := range strings.Fields(string(b)) {
		key, value, _ := strings.Cut(word, "=")
		n, _ := strconv.ParseUint(value, 10, 32)
		p, _ := netip.ParsePrefix(value)
		switch {
		case key == "host" && p.Addr().Is6():
			q.Host = p
		case key == "host-port" && n <= math.MaxUint16:
			q.HostPort = uint16(n)
		case key == "addr" && p.Addr().Is4():
			q.Addr = p
		case key == "addr-port" && n <= math.MaxUint16:
			q.AddrPort = uint16(n)
		case key == "port" && n <= math.MaxUint16:
			q.Port = uint16(n)
		case key == "protocol" && slices.Contains(protocols, value):
			q.Protocol = value
		case key == "page":
			q.Page = uint32(n)
		default:
			return Query{}, errBadQuery
		}
	}
	if string(encodeQuery(q)) != string(b) || q.Host.IsValid() && q.Host != q.Host.Masked() || q.Addr.IsValid() && q.Addr != q.Addr.Masked() {
		return Query{}, errBadQuery
	}
	return q, nil
}
