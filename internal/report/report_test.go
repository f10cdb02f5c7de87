package report

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

func TestReport(t *testing.T) {
	var out bytes.Buffer
	r := &Report{W: &out}
	assert.True(t, r.Check("ping", func() (string, error) { return "5 of 5", nil }))
	assert.False(t, r.Check("udp", func() (string, error) { return "", errors.New("one\n\ttwo") }))
	r.Note("aside")
	assert.Equal(t, "ok   ping: 5 of 5\nFAIL udp: one two\n     aside\n", out.String())
	assert.False(t, r.Check("long", func() (string, error) { return "", errors.New(strings.Repeat("→", longest)) }))
	assert.Less(t, out.Len(), longest+200)
	assert.True(t, utf8.ValidString(out.String()))
	assert.Equal(t, []int{1, 2}, []int{r.Passed, r.Failed})
}
