package rfc

import (
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
)

func TestRFC4950(t *testing.T) {
	row(t, "4950-5-01", func(t *testing.T) {
		goldens(t, "V13", "V14", "V15")
		stack := hexBytes(t, `
			0010 01 01   # 16 bytes: MPLS label stack, incoming
			0001 00 01   # label 16, TTL 1
			0002 02 40   # label 32, TC 1, TTL 64
			fffff 1 ff   # label 1048575, bottom of stack, TTL 255`)
		carried(t, pt.Extension(stack))
	})
}
