package rfc

import "testing"

func TestRFC8201(t *testing.T) { row(t, "8201-4-01", noSmallPTB) }
