//go:build amd64 || arm64

package spawn

import "syscall"

// clone makes a child that shares this process's memory, makes the calls and does
// not return (clone3(2)). What the pointers lead to must stay where it is, and
// be kept alive, until the child has executed something or has ended.
func clone(args *cloneArgs, size uintptr, calls *call, failed *failure) (pid uintptr, errno syscall.Errno)
