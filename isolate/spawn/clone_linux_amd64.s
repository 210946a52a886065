#include "textflag.h"

#define SYS_exit_group 231
#define SYS_clone3 435

// func clone(args *cloneArgs, size uintptr, calls *call, failed *failure) (pid uintptr, errno syscall.Errno)
//
// The child keeps its two pointers in R12 and R13, which no system call changes,
// and touches no stack.
TEXT ·clone(SB), NOSPLIT|NOFRAME, $0-48
	MOVQ args+0(FP), DI
	MOVQ size+8(FP), SI
	MOVQ calls+16(FP), R12
	MOVQ failed+24(FP), R13
	MOVQ $SYS_clone3, AX
	SYSCALL
	TESTQ AX, AX
	JZ next
	CMPQ AX, $-4095
	JCC refused
	MOVQ AX, pid+32(FP)
	MOVQ $0, errno+40(FP)
	RET

refused:
	NEGQ AX
	MOVQ $0, pid+32(FP)
	MOVQ AX, errno+40(FP)
	RET

next: // the child makes one call after the other
	MOVQ 0(R12), AX
	MOVQ 8(R12), DI
	MOVQ 16(R12), SI
	MOVQ 24(R12), DX
	MOVQ 32(R12), R10
	MOVQ 40(R12), R8
	MOVQ 48(R12), R9
	SYSCALL
	CMPQ AX, $-4095
	JCC failed
	ADDQ $56, R12
	JMP next

failed:
	NEGQ AX
	MOVQ AX, 0(R13)
	MOVQ R12, 8(R13)
	MOVQ $1, DI
	MOVQ $SYS_exit_group, AX
	SYSCALL
	INT $3
