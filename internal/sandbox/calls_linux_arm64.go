package sandbox

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_AARCH64
	sysPoll   = unix.SYS_PPOLL // which is how poll is called here
)
