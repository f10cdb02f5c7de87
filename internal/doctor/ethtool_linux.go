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
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	arg := struct{ cmd, value uint32 }{cmd: cmd}
	req := struct { // struct ifreq with ifr_data in its union
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [24 - unsafe.Sizeof(uintptr(0))]byte
	}{data: unsafe.Pointer(&arg)}
	copy(req.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	if errno != 0 {
		return 0
	}
	return arg.value
}
