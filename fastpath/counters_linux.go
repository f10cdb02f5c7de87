package fastpath

import (
	"fmt"

	"github.com/steppe-nat64/steppe/translate"
)

// Counts returns the counters that are not 0, since the program was loaded. It costs a few
// dozen system calls.
func (c *Cache) Counts() ([]Count, error) {
	var list []Count
	for d := range uint32(translate.NoFamily) + 1 {
		for reason := range numReasons {
			perCPU, err := c.perCPU(d*perDirection + uint32(reason))
			if err != nil {
				return nil, fmt.Errorf("fastpath: counters: %w", err)
			}
			n := Count{Direction: translate.Direction(d), Reason: reason}
			for _, v := range perCPU {
				n.Packets += v.Packets
				n.Bytes += v.Bytes
				n.Segments += v.Segments
			}
			if n.Packets > 0 {
				list = append(list, n)
			}
		}
	}
	return list, nil
}

// perCPU returns the values of a counter.
func (c *Cache) perCPU(index uint32) (values []countValue, err error) {
	err = c.counts.Lookup(index, &values)
	return values, err
}
