//go:build !unix

package taygaconf

import (
	"testing"
	"time"
)

var began = time.Now()

// cpuTime returns the time since the tests began.
func cpuTime(*testing.T) time.Duration { return time.Since(began) }
