package main

import (
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Daemons that start while another one ends: one had opened the file before it was
// removed and locked it after. A lock on a file without a name locks out no other process.
func TestPidFileIsTheOneThatIsLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	var all sync.WaitGroup
	var times, nameless atomic.Int64
	end := time.Now().Add(500 * time.Millisecond)
	for range 4 {
		all.Go(func() {
			for time.Now().Before(end) {
				p, err := openPidFile(path, false, identity{uid: -1, gid: -1}, locker{})
				if err != nil {
					continue // in use
				}
				times.Add(1)
				locked, err := p.file.Stat()
				assert.NoError(t, err)
				if named, _ := os.Stat(path); !os.SameFile(locked, named) {
					nameless.Add(1)
				}
				p.remove()
			}
		})
	}
	all.Wait()
	require.Positive(t, times.Load())
	assert.Zero(t, nameless.Load(), "of %d locks", times.Load())
	assert.NoFileExists(t, path)
}
