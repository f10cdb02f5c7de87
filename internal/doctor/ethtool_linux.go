package doctor

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// physical reports whether an interface has a place on a bus. (The directories
// of /sys may be those of another network namespace.)
func physical(name string) bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	info, err := unix.IoctlGetEthtoolDrvinfo(fd, name)
	return err == nil && info.Bus_info[0] != 0
}

// ethFlagLRO is a bit of the answer to ETHTOOL_GFLAGS.
const ethFlagLRO = 1 << 15

// offload asks for one of an interface's values: SIOCETHTOOL with a struct
// ethtool_value, linux/ethtool.h. It returns 0 if there is no answer.
func offload(name string, cmd uint32) uint32 {
	arg := struct{ cmd, value uint32 }{cmd: cmd}
	if !ethtool(name, unsafe.Pointer(&arg)) {
		return 0
	}
	return arg.value
}

// ethSSFeatures is the number of the names of features among all names: linux/ethtool.h.
const ethSSFeatures = 4

// feature reports whether an interface has a feature that ethtool -k names, and whether it
// could be given it.
func feature(name, feature string) (on, possible bool) {
	count := struct {
		cmd, _ uint32
		sets   uint64
		n      uint32
	}{cmd: unix.ETHTOOL_GSSET_INFO, sets: 1 << ethSSFeatures}
	const most = 1024 // the kernel has about 60
	if !ethtool(name, unsafe.Pointer(&count)) || count.n == 0 || count.n > most {
		return false, false
	}
	const length = 32                           // ETH_GSTRING_LEN
	words := make([]uint32, 3+count.n*length/4) // struct ethtool_gstrings
	words[0], words[1], words[2] = unix.ETHTOOL_GSTRINGS, ethSSFeatures, count.n
	if !ethtool(name, unsafe.Pointer(&words[0])) {
		return false, false
	}
	names := unsafe.Slice((*byte)(unsafe.Pointer(&words[3])), count.n*length)
	blocks := (count.n + 31) / 32
	bits := make([]uint32, 2+4*blocks) // struct ethtool_gfeatures
	bits[0], bits[1] = unix.ETHTOOL_GFEATURES, blocks
	if !ethtool(name, unsafe.Pointer(&bits[0])) {
		return false, false
	}
	for i := range count.n {
		if unix.ByteSliceToString(names[i*length:(i+1)*length]) == feature {
			block, bit := bits[2+4*(i/32):], uint32(1)<<(i%32)
			return block[2]&bit != 0, block[0]&bit != 0 && block[3]&bit == 0
		}
	}
	return false, false
}

// ethtool does a command on an interface, by an argument that begins with its number. The
// answer is in the argument. It reports whether there is one.
func ethtool(name string, arg unsafe.Pointer) bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	req := struct { // struct ifreq with ifr_data in its union
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [24 - unsafe.Sizeof(uintptr(0))]byte
	}{data: arg}
	copy(req.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	return errno == 0
}
