package status

import "fmt"

// Percent returns which part of the bytes that were translated the kernel has, "-" if there
// were none.
func (f *FastPath) Percent() string {
	all := f.Kernel.Bytes + f.Daemon.Bytes
	if all == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(f.Kernel.Bytes)/float64(all))
}
