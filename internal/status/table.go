package status

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteTable writes the report for people to read. It copes with a report that
// makes no sense: numbers are not added up by anything but what they belong to,
// and text is fit for a terminal.
func (r *Report) WriteTable(w io.Writer) error {
	t := &table{w: w}
	if r.Note != "" {
		t.line("note: %s", clean(r.Note))
	}
	t.line("tayga %s, process %d, %s, up %s", clean(r.Version), r.PID, clean(r.Config), span(r.Uptime))
	t.line("%s", r.Device.words())
	for _, line := range r.Device.trouble() {
		t.line("device %s: %s", clean(r.Device.Name), line)
	}
	if r.MSSClamp > 0 {
		t.line("tcp-mss-clamp: %d bytes", r.MSSClamp)
	}
	if h := r.Helper; h != nil && h.Alive {
		t.line("privileged helper: process %d", h.PID)
	} else if h != nil {
		t.line("privileged helper: process %d has ended: a device that is deleted does not come back: restart tayga", h.PID)
	}
	if r.FastPath != nil {
		t.fastState(r.FastPath)
	}
	if r.CLAT != nil {
		t.clat(r.CLAT)
	}
	t.line("maps: %d in the configuration, %d in the map-file; reloads: %d, and %d that failed",
		r.Maps.Config, r.Maps.MapFile, r.Reloads.OK, r.Reloads.Failed)
	if p := r.Pool; p == nil {
		t.line("no dynamic pool")
	} else {
		t.line("dynamic pool: %d addresses, %d held, %d dormant, %d requests refused", p.Size, p.Held, p.Dormant, p.Refused)
	}
	t.line("ICMP errors held back by the rate limit: %d", r.ErrorsHeldBack)
	if r.MTUErrorsHeldBack > 0 {
		t.line("path MTU errors among them: %d", r.MTUErrorsHeldBack)
	}
	t.line("")
	t.counts(r.Packets)
	if r.FastPath != nil {
		t.fastPath(r.FastPath)
	}
	if r.Shared != nil {
		t.shared(r.Shared)
	}
	if l := r.LeaseList; l != nil {
		t.line("")
		t.line("%-15s  %-39s  %-7s  %s", "IPv4", "IPv6", "state", "last used")
		for _, e := range l.Entries {
			t.line("%-15s  %-39s  %-7s  %s", clean(e.Addr), clean(e.Host), clean(e.State), e.Used.Local().Format(time.DateTime))
		}
		t.leftOut(l.LeftOut)
	}
	if l := r.MapList; l != nil {
		t.line("")
		t.line("%-18s  %s", "IPv4", "IPv6")
		for _, e := range l.Entries {
			t.line("%-18s  %s", clean(e.IPv4), clean(e.IPv6))
		}
		t.leftOut(l.LeftOut)
	}
	if l := r.SessionList; l != nil {
		t.sessionsHeader(r.Shared)
		t.sessions(l)
	}
	return t.err
}

// WriteRows writes the list of sessions of a page that is not the first.
func (l *SessionList) WriteRows(w io.Writer) error {
	t := &table{w: w}
	t.sessions(l)
	return t.err
}

// A table writes lines until one fails.
type table struct {
	w   io.Writer
	err error
}

func (t *table) line(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, format+"\n", args...)
	}
}

func (t *table) leftOut(n int) {
	if n > 0 {
		t.line("and %d more", n)
	}
}

// counts writes a line for each counter, and the sum above those of a direction.
func (t *table) counts(counts []Count) {
	const form = "%-9s  %-7s  %-20s  %15v  %18v"
	t.line(form, "direction", "verdict", "reason", "packets", "bytes")
	for i := 0; i < len(counts); {
		sum := Count{Direction: counts[i].Direction}
		n := i
		for ; n < len(counts) && counts[n].Direction == sum.Direction; n++ {
			sum.Packets += counts[n].Packets
			sum.Bytes += counts[n].Bytes
		}
		t.line(form, clean(sum.Direction), "all", "", sum.Packets, sum.Bytes)
		for _, c := range counts[i:n] {
			t.line(form, clean(c.Direction), clean(c.Verdict), clean(c.Reason), c.Packets, c.Bytes)
		}
		i = n
	}
	if len(counts) == 0 {
		t.line("no packets yet")
	}
}

// words describes the device in a line.
func (d *Device) words() string {
	name := clean(d.Name)
	if !d.Present {
		return fmt.Sprintf("device %s: deleted, and waited for", name)
	}
	state := "down"
	if d.Up {
		state = "up"
	}
	offloads := "none"
	if len(d.Offloads) > 0 {
		offloads = clean(strings.Join(d.Offloads, " "))
	}
	refused := uint64(0)
	for _, n := range d.Refused {
		refused += n
	}
	return fmt.Sprintf("device %s: %s, MTU %d, workers: %d, offloads: %s, write errors: %d",
		name, state, d.MTU, d.Workers, offloads, refused)
}

// trouble says what other programs do to the device, or may do.
func (d *Device) trouble() (lines []string) {
	if d.Foreign > 0 {
		lines = append(lines, fmt.Sprintf("another program is attached with %d of its queues, and gets packets that are for tayga", d.Foreign))
	}
	if d.Repaired > 0 {
		lines = append(lines, fmt.Sprintf("times that another program changed its settings, which were set back: %d", d.Repaired))
	}
	if d.Ownerless {
		lines = append(lines, "no owner: any local user may attach")
	}
	return lines
}

// span writes a number of seconds as days, hours, minutes and seconds.
func span(seconds uint64) string {
	days, rest := seconds/86400, time.Duration(seconds%86400)*time.Second
	if days == 0 {
		return rest.String()
	}
	return fmt.Sprintf("%dd%v", days, rest)
}
