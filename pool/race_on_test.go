//go:build race

package pool

// raceDetector says whether tests run some ten times slower and twice as large.
const raceDetector = true
