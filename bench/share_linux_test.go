package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestShare: a path that is asleep, or awake where it should not be, is no measurement.
func TestShare(t *testing.T) {
	const most = 1 << 63
	for _, c := range []struct {
		name string
		fast bool
		t    translated
		want string // of the error
	}{
		{"fast", true, translated{kernel: 95, daemon: 5}, ""},
		{"fast-too-little", true, translated{kernel: 94, daemon: 6}, "94.0 % of the bytes only"},
		{"asleep", true, translated{daemon: 100}, "0.0 % of the bytes only"},
		{"nothing", true, translated{}, "translated nothing"},
		{"off", false, translated{daemon: 100}, ""},
		{"off-but-awake", false, translated{kernel: 1, daemon: most}, "which was to be off"},
	} {
		err := (&way{name: "ours", socket: "/run/sock", fast: c.fast}).checkPaths(c.t)
		if c.want == "" {
			assert.NoError(t, err, c.name)
		} else {
			assert.ErrorContains(t, err, c.want, c.name)
		}
	}
	assert.NoError(t, (&way{name: "kernel"}).checkPaths(translated{}))
}

func TestMachine(t *testing.T) {
	busy, err := parseBusy("cpu  100 20 3000 99999 5555 40 50 7777 0 0\ncpu0 1 1 1 1\n")
	assert.NoError(t, err)
	assert.Equal(t, 32100*time.Millisecond, busy)
	for _, bad := range []string{"", "intr 1 2 3 4 5 6 7 8\n", "cpu 1 2 x 4 5 6 7 8\n"} {
		_, err = parseBusy(bad)
		assert.Error(t, err, bad)
	}
	n, err := parseDropped("00ff 00000010 0 0\n00ff 00000002 1 1\n")
	assert.NoError(t, err)
	assert.EqualValues(t, 18, n)
	_, err = parseDropped("00ff\n")
	assert.Error(t, err)
	_, err = readMachine()
	assert.NoError(t, err)
}
