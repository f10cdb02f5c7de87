package main

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestReport(t *testing.T) {
	var out bytes.Buffer
	r := &report{w: &out}
	assert.True(t, r.check("ping", func() (string, error) { return "5 of 5", nil }))
	assert.False(t, r.check("udp", func() (string, error) { return "", errors.New("one\n\ttwo") }))
	r.note("aside")
	assert.False(t, r.summary())
	assert.Equal(t, "ok   ping: 5 of 5\nFAIL udp: one two\n     aside\ndemo: 1 checks passed, 1 failed\n", out.String())

	out.Reset()
	assert.True(t, (&report{w: &out}).summary())
	assert.Equal(t, "demo: 0 checks passed, 0 failed\n", out.String())
}
