package netlab

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SetFeature turns a feature of an interface on or off, by the name that ethtool -k has for it.
func (h *Host) SetFeature(ifname, feature string, on bool) {
	h.lab.t.Helper()
	h.configure(func() error {
		return h.Do(func() error {
			if err := setFeature(ifname, feature, on); err != nil {
				return fmt.Errorf("set %s of %s: %w", feature, ifname, err)
			}
			return nil
		})
	})
}

// Numbers and lengths of linux/ethtool.h.
const (
	ethSSFeatures = 4  // the names of features, among all sets of names
	ethNameLen    = 32 // ETH_GSTRING_LEN
)

// setFeature sets the bit of a feature: struct ethtool_sfeatures.
func setFeature(ifname, feature string, on bool) error {
	n, size, err := featureBit(ifname, feature)
	if err != nil {
		return err
	}
	blocks := make([]uint32, 2+2*size) // command, number of blocks; valid and requested bits of each
	blocks[0], blocks[1] = unix.ETHTOOL_SFEATURES, uint32(size)
	blocks[2+2*(n/32)] = 1 << (n % 32)
	if on {
		blocks[3+2*(n/32)] = 1 << (n % 32)
	}
	return ethtoolCall(ifname, unsafe.Pointer(&blocks[0]))
}

// featureBit looks a feature up in the kernel's list of names, and returns how many blocks of 32
// bits there are for all of them: struct ethtool_sset_info and struct ethtool_gstrings.
func featureBit(ifname, feature string) (bit, blocks int, err error) {
	count := struct {
		cmd, _ uint32
		sets   uint64
		n      uint32
	}{cmd: unix.ETHTOOL_GSSET_INFO, sets: 1 << ethSSFeatures}
	if err := ethtoolCall(ifname, unsafe.Pointer(&count)); err != nil {
		return 0, 0, err
	}
	words := make([]uint32, 3+count.n*ethNameLen/4)
	words[0], words[1], words[2] = unix.ETHTOOL_GSTRINGS, ethSSFeatures, count.n
	if err := ethtoolCall(ifname, unsafe.Pointer(&words[0])); err != nil {
		return 0, 0, err
	}
	for i := range int(count.n) {
		name := unsafe.Slice((*byte)(unsafe.Pointer(&words[3+i*ethNameLen/4])), ethNameLen)
		if unix.ByteSliceToString(name) == feature {
			return i, (int(count.n) + 31) / 32, nil
		}
	}
	return 0, 0, unix.EOPNOTSUPP
}
