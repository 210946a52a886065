package attacks

import "golang.org/x/sys/unix"

// ofArch are system calls that only this architecture has.
var ofArch = []forbidden{
	{"_sysctl", unix.SYS__SYSCTL, nil},
	{"create_module", unix.SYS_CREATE_MODULE, nil},
	{"get_kernel_syms", unix.SYS_GET_KERNEL_SYMS, nil},
	{"ioperm", unix.SYS_IOPERM, []uintptr{0x80, 1, 1}},
	{"iopl", unix.SYS_IOPL, []uintptr{3}},
	{"modify_ldt", unix.SYS_MODIFY_LDT, []uintptr{0, empty, 16}},
	{"query_module", unix.SYS_QUERY_MODULE, nil},
	{"sysfs", unix.SYS_SYSFS, []uintptr{3}}, // number of file systems
	{"uselib", unix.SYS_USELIB, nil},
	{"ustat", unix.SYS_USTAT, nil},
}
