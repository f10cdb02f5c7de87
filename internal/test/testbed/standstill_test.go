package testbed

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestStandstill(t *testing.T) {
	s := WatchStandstill(t.Context())
	time.Sleep(5 * pulse)
	assert.False(t, s.Noteworthy())
	s.longest.Store(int64(time.Minute))
	assert.True(t, s.Noteworthy())
	assert.Equal(t, time.Minute, s.Longest())
}
