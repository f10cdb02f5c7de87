package qdisc

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// Bypassed returns what was set up at the egress of a device, by its index, that a
// program of the fast path would bypass: the kind of a queueing discipline, or "clsact" with
// filters there. It is empty for what the kernel sets up by itself. It takes no privilege.
func Bypassed(index int) (string, error) {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return "", fmt.Errorf("find device %d: %w", index, err)
	}
	list, err := netlink.QdiscList(link)
	if err != nil {
		return "", fmt.Errorf("queueing disciplines of %s: %w", link.Attrs().Name, err)
	}
	for _, q := range list {
		kind := q.Type()
		switch {
		case q.Attrs().LinkIndex != index:
		case q.Attrs().Handle>>16 == 0: // the kernel's own has no number: default_qdisc, mq
		case kind == "noqueue", kind == "ingress":
		case kind == "clsact":
			filters, err := netlink.FilterList(link, netlink.HANDLE_MIN_EGRESS)
			if err != nil {
				return "", fmt.Errorf("filters of %s: %w", link.Attrs().Name, err)
			}
			if len(filters) > 0 {
				return kind, nil
			}
		default:
			return kind, nil
		}
	}
	return "", nil
}
