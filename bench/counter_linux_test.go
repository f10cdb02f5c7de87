package bench

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCounter reads a counter that every kernel has, since a machine of the tests may
// not count instructions.
func TestCounter(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, err := openCounter(unix.PERF_TYPE_SOFTWARE, unix.PERF_COUNT_SW_TASK_CLOCK)
	if err != nil {
		t.Skipf("not allowed here: %v", err)
	}
	defer c.close()
	before, err := c.read()
	if err != nil {
		t.Fatal(err)
	}
	for x := 1; ; x++ { // until the clock has moved
		now, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		if now > before {
			break
		}
	}
	if _, err := openCounter(unix.PERF_TYPE_SOFTWARE, 1<<40); err == nil {
		t.Error("a counter that no kernel has was opened")
	}
}
