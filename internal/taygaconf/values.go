package taygaconf

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// wellKnown is the prefix of RFC 6052 §2.1.
var wellKnown = netip.MustParsePrefix("64:ff9b::/96")

// addr4 reads an IPv4 address: four decimal numbers without leading zeros.
func addr4(word string) (netip.Addr, error) {
	a, err := netip.ParseAddr(word)
	if err != nil || !a.Is4() {
		return netip.Addr{}, fmt.Errorf("%s is not an IPv4 address such as 192.0.2.1", show(word))
	}
	return a, nil
}

// addr6 reads an IPv6 address without a zone.
func addr6(word string) (netip.Addr, error) {
	a, err := netip.ParseAddr(word)
	if err != nil || !a.Is6() || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%s is not an IPv6 address such as 2001:db8::1", show(word))
	}
	return a, nil
}

// addr reads an address of either family.
func addr(word string) (netip.Addr, error) {
	if strings.Contains(word, ":") {
		return addr6(word)
	}
	return addr4(word)
}

// prefix reads an address with a length, and leaves host bits as
// they are. Without a length it is missing: the whole address, or an error if
// that is negative.
func prefix(word string, parse func(string) (netip.Addr, error), missing int) (netip.Prefix, error) {
	text, length, found := strings.Cut(word, "/")
	a, err := parse(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	if !found {
		if missing < 0 {
			return netip.Prefix{}, fmt.Errorf("length missing: write %s/LENGTH", a)
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	bits, err := number(length, 0, a.BitLen())
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("length %s of %s is not a number from 0 to %d", show(length), a, a.BitLen())
	}
	return netip.PrefixFrom(a, bits), nil
}

// hostBits is the error of a prefix that would do without the bits after its length. Whether
// it would is to be checked before.
func hostBits(p netip.Prefix) error {
	return fmt.Errorf("%s has host bits set: did you mean %s?", p, p.Masked())
}

const (
	whole  = 0  // an address without a length stands for itself
	needed = -1 // the length must be given
)

// number reads a decimal number of lo to hi. TAYGA reads some of its numbers
// by strtol, so a plus sign and leading zeros are no error.
func number(word string, lo, hi int) (int, error) {
	digits := strings.TrimLeft(strings.TrimPrefix(word, "+"), "0")
	if digits == "" && strings.HasSuffix(word, "0") {
		digits = "0"
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || int(n) < lo || int(n) > hi {
		return 0, fmt.Errorf("%s is not a number from %d to %d", show(word), lo, hi)
	}
	return int(n), nil
}

// boolean reads a switch, in any case.
func boolean(word string) (bool, error) {
	switch strings.ToLower(word) {
	case "yes", "1", "true", "on":
		return true, nil
	case "no", "0", "false", "off":
		return false, nil
	}
	return false, fmt.Errorf("%s is neither yes nor no", show(word))
}

// duration reads a time: seconds, or a number with s, m, h or d after it.
func duration(word string) (time.Duration, error) {
	unit := time.Second
	digits := word
	if n := len(word); n > 0 {
		switch word[n-1] {
		case 'm':
			unit = time.Minute
		case 'h':
			unit = time.Hour
		case 'd':
			unit = 24 * time.Hour
		}
		digits = strings.TrimRight(word, "smhd")
		if len(digits) < n-1 {
			digits = ""
		}
	}
	const most = 10 * 365 * 24 * time.Hour
	n, err := number(digits, 1, int(most/time.Second))
	if err != nil || time.Duration(n) > most/unit {
		return 0, fmt.Errorf("%s is not a time such as 7440 (seconds), 90s, 124m, 2h or 14d, of ten years at most", show(word))
	}
	return time.Duration(n) * unit, nil
}

// choice finds the word in a list of choices, in any case.
func choice[T any](word string, names []string, values []T) (T, error) {
	for i, name := range names {
		if strings.EqualFold(word, name) {
			return values[i], nil
		}
	}
	var none T
	return none, fmt.Errorf("%s is none of %s", show(word), strings.Join(names, ", "))
}

// IPv4 ranges that make trouble.
var (
	this4      = netip.MustParsePrefix("0.0.0.0/8")
	loopback4  = netip.MustParsePrefix("127.0.0.0/8")
	linkLocal4 = netip.MustParsePrefix("169.254.0.0/16")
	multicast4 = netip.MustParsePrefix("224.0.0.0/4")
	shared4    = netip.MustParsePrefix("100.64.0.0/10") // TAYGA 0.9.2 does not count it among the private ones
	linkLocal6 = netip.MustParsePrefix("fe80::/10")
	multicast6 = netip.MustParsePrefix("ff00::/8")
	// zero6 holds the unspecified, the loopback and the IPv4-mapped addresses;
	// TAYGA takes nothing from it but translation prefixes.
	zero6        = netip.MustParsePrefix("::/8")
	translators6 = netip.MustParsePrefix("64:ff9b::/32") // RFC 6052 §2.1, RFC 8215
	broadcast4   = netip.AddrFrom4([4]byte{255, 255, 255, 255})

	// private4 is what RFC 6052 §3.1 bars from the well-known prefix, as TAYGA
	// understands it. 192.0.0.0/24 is not on the list: a CLAT lives there.
	private4 = []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("100.64.0.0/10"),
		netip.MustParsePrefix("169.254.0.0/16"),
		netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.0.2.0/24"),
		netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("198.18.0.0/15"),
		netip.MustParsePrefix("198.51.100.0/24"),
		netip.MustParsePrefix("203.0.113.0/24"),
	}
)

func isPrivate(a netip.Addr) bool {
	for _, p := range private4 {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

var errUnspecified = errors.New("0.0.0.0 is not the address of anything")

// checkUnicast says why no host and no network can have the address a. The
// warning is for addresses that at least one version of TAYGA accepts.
func checkUnicast(a netip.Addr) (warning string, err error) {
	switch {
	case a.Is4() && a.IsUnspecified():
		return "", errUnspecified
	case this4.Contains(a):
		return fmt.Sprintf("%s lies in 0.0.0.0/8: packets with such an address are not translated", a), nil
	case loopback4.Contains(a):
		return "", fmt.Errorf("%s is a loopback address", a)
	case multicast4.Contains(a):
		return "", fmt.Errorf("%s is a multicast address", a)
	case a == broadcast4:
		return "", fmt.Errorf("%s is the broadcast address", a)
	case linkLocal4.Contains(a):
		return fmt.Sprintf("%s is a link-local address, which routers do not forward", a), nil
	case linkLocal6.Contains(a):
		return "", fmt.Errorf("%s is a link-local address", a)
	case multicast6.Contains(a):
		return "", fmt.Errorf("%s is a multicast address", a)
	case zero6.Contains(a) && !translators6.Contains(a):
		return "", fmt.Errorf("%s lies in ::/8, which is reserved", a)
	}
	return "", nil
}

// checkNetwork4 is checkUnicast for the addresses of an IPv4 prefix, of a map or a
// pool. It goes by the first one, as TAYGA does: a prefix may hold addresses that no
// host can have among others, which the translator then drops packet by packet.
func checkNetwork4(p netip.Prefix) (warning string, err error) {
	if !p.Addr().IsUnspecified() {
		if warning, err = checkUnicast(p.Addr()); err != nil {
			return "", err
		}
	}
	var holds []string
	for _, q := range []netip.Prefix{this4, loopback4, linkLocal4, multicast4} {
		switch {
		case !p.Overlaps(q):
		case p.Bits() < q.Bits():
			holds = append(holds, q.String())
		case warning == "":
			warning = fmt.Sprintf("%s lies in %s: packets with such an address are not translated", p, q)
		}
	}
	if len(holds) > 0 {
		warning = fmt.Sprintf("%s holds %s, which no host can have: packets with such an address are not translated", p, strings.Join(holds, " and "))
	}
	return warning, nil
}
