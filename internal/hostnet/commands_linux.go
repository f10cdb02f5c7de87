package hostnet

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
)

// Commands returns the commands for a shell that make the changes on this machine. For an
// Accept they depend on its tables; a line that begins with # says what no command does.
func Commands(want []Change) ([]string, error) {
	want, err := compact(want)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, c := range want {
		if c.Accept == nil {
			list = append(list, c.Command())
			continue
		}
		lines, err := c.Accept.commands()
		if err != nil {
			return nil, err
		}
		list = append(list, lines...)
	}
	return list, nil
}

func (a *Accept) commands() (list []string, err error) {
	h, err := openHost()
	if err != nil {
		return nil, err
	}
	defer h.close()
	n, err := h.tables()
	if err != nil {
		return nil, err
	}
	err = n.stable(func(uint32) error {
		list = nil
		s, err := n.foreign()
		if err != nil {
			return err
		}
		places, err := a.places(s)
		for _, p := range places {
			if !p.there {
				list = append(list, p.commands()...)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := a.warnings(h); err != nil {
		list = append(list, "# "+err.Error())
	}
	return list, nil
}

// commands returns the commands for one chain. The last rule becomes the first one.
func (p placed) commands() (list []string) {
	for _, r := range slices.Backward(p.want) {
		c := p.chain
		switch {
		case p.owned:
		case iptables(c):
			list = append(list, r.iptables(c.Table.Family == nftables.TableFamilyIPv6))
		default:
			f := familyName(c.Table.Family)
			list = append(list, "nft "+word(fmt.Sprintf("insert rule %s %s %s %s", f, quoted(c.Table.Name), quoted(c.Name), r.text(f))))
		}
	}
	return list
}

// quoted returns a name that another program has chosen, for nft(8).
func quoted(name string) string {
	if checkTable(name) == nil {
		return name
	}
	return fmt.Sprintf("%q", name)
}
