package pool

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestConstants: the times of tayga, and the sizes and limits that comments and
// documents name.
func TestConstants(t *testing.T) {
	assert.Equal(t, "2h4m0s", DefaultLeaseTime.String())
	assert.Equal(t, "336h0m0s", DefaultRetention.String())
	assert.Equal(t, "87600h0m0s", longest.String())
	assert.Equal(t, int64(2147483648), int64(epoch))
	assert.Equal(t, time.Duration(2147483647)*time.Second, lastSecond)
	assert.Equal(t, 510, maxLine)
	assert.Equal(t, 300, maxAhead)
	assert.EqualValues(t, 420, newFilePerm, "octal 644")
	assert.Equal(t, 40, mostLinks)
	// What was measured: see table.go, prefix.go, upkeep.go and mapfile.go.
	assert.Equal(t, 8, minSlots)
	assert.Equal(t, 9, chunkBits)
	assert.Equal(t, 256, batch)
	assert.Equal(t, 4096, spare)
}
