package main

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/status"
)

// The pages of a listing make one JSON text, that of a report with all sessions.
func TestJSONOfSessions(t *testing.T) {
	session := func(i int) status.Session {
		return status.Session{Protocol: "tcp", State: "established", Host: fmt.Sprintf("[2001:db8::%x]:80", i), Remote: "<\u202e>", Remaining: 7}
	}
	for name, sizes := range map[string][]int{
		"no-session": {0}, "one": {1}, "pages": {2, 0, 3}, "empty-first": {0, 0, 1}, "empty-last": {1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			whole := status.Report{Version: "1 <>", Config: "/etc/tayga.conf", SessionList: &status.SessionList{Entries: []status.Session{}}}
			var got bytes.Buffer
			write := jsonOfSessions()
			for i, size := range sizes {
				page := whole
				page.SessionList = &status.SessionList{Entries: []status.Session{}}
				if i < len(sizes)-1 {
					page.SessionList.Next = uint32(i + 1)
				}
				for range size {
					s := session(len(whole.SessionList.Entries))
					page.SessionList.Entries = append(page.SessionList.Entries, s)
					whole.SessionList.Entries = append(whole.SessionList.Entries, s)
				}
				require.NoError(t, write(&got, &page, i == 0))
			}
			var want bytes.Buffer
			require.NoError(t, writeJSON(&want, whole))
			assert.Equal(t, want.String(), got.String())
		})
	}
}
