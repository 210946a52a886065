package main

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// machineCode makes one system call, getpid(2), by each ABI of the machine.
var machineCode = map[string][]byte{
	"native":   {0xb8, 0x27, 0, 0, 0, 0x0f, 0x05, 0xc3},    // mov eax, 39; syscall; ret
	"x32":      {0xb8, 0x27, 0, 0, 0x40, 0x0f, 0x05, 0xc3}, // mov eax, 0x40000027; syscall; ret
	"int 0x80": {0xb8, 0x14, 0, 0, 0, 0xcd, 0x80, 0xc3},    // mov eax, 20; int 0x80; ret
}

// abi makes a system call by the ABI that its argument names. The kernel ends the
// program where a filter does not know the ABI.
func abi(r *attacks.Report, args []string) {
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		attacks.Fatal(err)
	}
	copy(page, machineCode[args[0]])
	if err := unix.Mprotect(page, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		attacks.Fatal(err)
	}
	// A func value points to a variable that holds the address of its code. This
	// code uses no stack and changes no register that Go relies on.
	code := &page[0]
	f := &code
	(*(*func())(unsafe.Pointer(&f)))()
	r.Try(args[0], nil)
}
