//go:build linux && !amd64 && !arm64

package spawn

import "syscall"

// clone cannot be written in Go.
func clone(*cloneArgs, uintptr, *call, *failure) (uintptr, syscall.Errno) {
	return 0, syscall.ENOSYS
}
