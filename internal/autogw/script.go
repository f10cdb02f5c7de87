package autogw

import (
	"fmt"
	"strings"
)

// ConfigPath is where the script puts the tayga.conf.
const ConfigPath = "/etc/tayga.conf"

// Script returns the plan as a script for sh: it writes the tayga.conf, starts the daemon, and
// runs the commands, which are those of the changes. What clients need follows as comments.
func (p *Plan) Script(commands []string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# What tayga --gateway does on this machine, as a script for root.")
	for _, s := range append(p.Found(), p.Notes...) {
		line("# %s.", s)
	}
	line("\ncat >%s <<'END'\n%sEND\n", ConfigPath, p.Config)
	line("tayga -c %s\n", ConfigPath)
	line("# From here on, until the next boot, or until the device %s is gone:", Device)
	for _, c := range commands {
		line("%s", c)
	}
	for _, n := range p.Needs() {
		line("\n# Clients need %s.", n.What)
		for j, r := range n.Recipes {
			or := ""
			if j > 0 {
				or = "Or with "
			}
			line("# %s%s, %s:", or, r.Program, r.File)
			for text := range strings.Lines(r.Text) {
				line("#\t%s", strings.TrimSuffix(text, "\n"))
			}
		}
	}
	return b.String()
}
