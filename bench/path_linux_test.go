package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/status"
)

// leastShare is the part of the bytes that has to pass the fast path of a gateway that is
// measured for it. What is left to the daemon of the loads is the first packets of a flow.
const leastShare = 0.95

// pathOff is the directive of a daemon of ours that is to translate every packet.
const pathOff = "fast-path off"

// addOurs starts our binary on the gateway, where the kernel is to translate what it can, or
// nothing. Without a fast path here, it says so.
func (x *lab) addOurs(b *testing.B, name, binary string, fast bool) {
	b.Helper()
	plan := way{fast: fast, socket: filepath.Join(b.TempDir(), "status")}
	w := x.addTranslator(b, name, binary, plan.pathLines()...)
	w.fast, w.socket = plan.fast, plan.socket
	if !w.awaited(b) {
		x.ways = x.ways[:len(x.ways)-1]
	}
}

// pathLines are the directives for the path that is to be measured, and for asking about it.
func (w *way) pathLines() []string {
	path := pathOff
	if w.fast {
		path = "fast-path auto"
	}
	return []string{path, "status-socket " + w.socket}
}

// awaited waits until the daemon says by which way packets pass. It reports false if that is
// not the one that is to be measured, and says so; with STEPPE_REQUIRE_NETNS=1 it fails.
func (w *way) awaited(b *testing.B) bool {
	b.Helper()
	err := w.awaitPath()
	if err != nil && os.Getenv("STEPPE_REQUIRE_NETNS") == "1" {
		b.Fatalf("%s: %v", w.name, err)
	}
	if err != nil {
		fmt.Printf("--- no %s to compare with: %v\n", w.name, err)
	}
	return err == nil
}

// awaitPath is awaited with an error.
func (w *way) awaitPath() error {
	for end := time.Now().Add(30 * time.Second); !strings.Contains(strings.ToLower(w.process.Output()), "fast path: o"); {
		select {
		case <-w.process.Done():
			return fmt.Errorf("it has ended: %s", w.process.Output())
		case <-time.After(time.Millisecond):
		}
		if time.Now().After(end) {
			return fmt.Errorf("it does not say whether the fast path is on: %s", w.process.Output())
		}
	}
	r, err := status.Ask(w.socket, status.Summary)
	if err != nil {
		return err
	}
	if f := r.FastPath; f == nil || f.On != w.fast {
		return fmt.Errorf("fast path: %+v", f)
	}
	return nil
}

// A translated says how many bytes each path has translated so far, and in how many packets
// and segments the kernel.
type translated struct{ kernel, daemon, packets, segments uint64 }

// translated asks the daemon, if it is one that can be asked.
func (w *way) translated() (t translated, err error) {
	if w.socket == "" {
		return t, nil
	}
	r, err := status.Ask(w.socket, status.Summary)
	if err != nil {
		return t, err
	}
	t.kernel, t.daemon = r.FastPath.Kernel.Bytes, r.FastPath.Daemon.Bytes
	for _, c := range r.FastPath.Counts {
		if c.Translated {
			t.packets += c.Packets
			t.segments += c.Segments
		}
	}
	return t, nil
}

// since returns what was translated since before.
func (w *way) since(before translated) (t translated, err error) {
	t, err = w.translated()
	t.kernel -= before.kernel
	t.daemon -= before.daemon
	t.packets -= before.packets
	t.segments -= before.segments
	return t, err
}

// share is that of the kernel.
func (t translated) share() float64 {
	return float64(t.kernel) / (float64(t.kernel) + float64(t.daemon))
}

// checkPaths returns an error if the path that is to be measured has not translated: a fast
// path that is asleep would be measured as the daemon.
func (w *way) checkPaths(t translated) error {
	switch {
	case w.socket == "":
		return nil
	case t.kernel == 0 && t.daemon == 0:
		return fmt.Errorf("%s: it has translated nothing", w.name)
	case w.fast && t.share() < leastShare:
		return fmt.Errorf("%s: the fast path has translated %.1f %% of the bytes only: %+v", w.name, 100*t.share(), t)
	case !w.fast && t.kernel > 0:
		return fmt.Errorf("%s: the kernel has translated, which was to be off: %+v", w.name, t)
	}
	return nil
}
