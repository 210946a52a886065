#include "textflag.h"

#define SYS_exit_group 94
#define SYS_clone3 435

// func clone(args *cloneArgs, size uintptr, calls *call, failed *failure) (pid uintptr, errno syscall.Errno)
//
// The child keeps its two pointers in R19 and R20, which no system call changes,
// and touches no stack.
TEXT ·clone(SB), NOSPLIT|NOFRAME, $0-48
	MOVD args+0(FP), R0
	MOVD size+8(FP), R1
	MOVD calls+16(FP), R19
	MOVD failed+24(FP), R20
	MOVD $SYS_clone3, R8
	SVC
	CBZ R0, next
	CMN $4095, R0
	BCS refused
	MOVD R0, pid+32(FP)
	MOVD ZR, errno+40(FP)
	RET

refused:
	NEG R0, R0
	MOVD ZR, pid+32(FP)
	MOVD R0, errno+40(FP)
	RET

next: // the child makes one call after the other
	MOVD 0(R19), R8
	MOVD 8(R19), R0
	MOVD 16(R19), R1
	MOVD 24(R19), R2
	MOVD 32(R19), R3
	MOVD 40(R19), R4
	MOVD 48(R19), R5
	SVC
	CMN $4095, R0
	BCS failed
	ADD $56, R19
	B next

failed:
	NEG R0, R0
	MOVD R0, 0(R20)
	MOVD R19, 8(R20)
	MOVD $1, R0
	MOVD $SYS_exit_group, R8
	SVC
	BRK
