package isolate

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
)

// Offsets in struct seccomp_data, of which a filter reads 32 bits at a time.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16 // six of 64 bits
)

// x32Bit marks system calls of the x32 ABI, which runs under the architecture
// number of x86-64 and would slip past a filter of numbers.
const x32Bit = 0x40000000

// maxInstructions is the longest program that the kernel takes.
const maxInstructions = 4096

// assemble compiles the filter: the architecture and the x32 ABI first, then
// numbers beyond the profile (ENOSYS, so that programs fall back from calls
// that are newer than it), then a binary search for the call's rules. A
// decision takes about ten instructions; a list would take hundreds.
func (f *filter) assemble() ([]bpf.RawInstruction, error) {
	prog := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offsetArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(f.Arch.ID), SkipTrue: 1},
		bpf.RetConstant{Val: retKillProcess},
		bpf.LoadAbsolute{Off: offsetNumber, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: x32Bit, SkipTrue: 1},
		bpf.RetConstant{Val: retKillProcess},
		bpf.JumpIf{Cond: bpf.JumpLessOrEqual, Val: f.Last, SkipTrue: 1},
		bpf.RetConstant{Val: retErrno | errnoNoSys},
	}
	spans, err := f.spans()
	if err != nil {
		return nil, err
	}
	prog = append(prog, search(spans)...)
	if len(prog) > maxInstructions {
		return nil, fmt.Errorf("seccomp filter of %d instructions: the kernel takes %d", len(prog), maxInstructions)
	}
	return bpf.Assemble(prog)
}

// A span is a run of numbers, from first to the next span's first, that all
// lead to the same code.
type span struct {
	first uint32
	code  []bpf.Instruction
}

// spans splits 0 to f.Last into runs.
func (f *filter) spans() ([]span, error) {
	var list []span
	next := uint32(0) // first number that no span covers yet
	push := func(first uint32, code []bpf.Instruction) {
		if n := len(list); n > 0 && len(code) == 1 && slices.Equal(list[n-1].code, code) {
			return
		}
		list = append(list, span{first, code})
	}
	for _, n := range slices.Sorted(maps.Keys(f.Rules)) {
		if n > next {
			push(next, []bpf.Instruction{bpf.RetConstant{Val: f.Default}})
		}
		code, err := f.decide(f.Rules[n])
		if err != nil {
			return nil, fmt.Errorf("seccomp rules of %s: %w", f.Arch.SyscallNumbers[int(n)], err)
		}
		push(n, code)
		next = n + 1
	}
	return list, nil
}

// search is a binary search for the span of the number in the accumulator.
func search(spans []span) []bpf.Instruction {
	if len(spans) == 1 {
		return spans[0].code
	}
	middle := len(spans) / 2
	below, above := search(spans[:middle]), search(spans[middle:])
	var head []bpf.Instruction
	if len(below) <= 255 {
		head = []bpf.Instruction{
			bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: spans[middle].first, SkipTrue: uint8(len(below))},
		}
	} else { // a conditional jump reaches 255 instructions only
		head = []bpf.Instruction{
			bpf.JumpIf{Cond: bpf.JumpLessThan, Val: spans[middle].first, SkipTrue: 1},
			bpf.Jump{Skip: uint32(len(below))},
		}
	}
	return slices.Concat(head, below, above)
}

// decide is the code for one call's rules. A rule that matches without
// conditions comes last: what follows it could never match. An unconditional
// allow behind conditional allows is thereby what decides, as in libseccomp.
func (f *filter) decide(rules []filterRule) ([]bpf.Instruction, error) {
	var code []bpf.Instruction
	for _, r := range rules {
		if len(r.Conds) == 0 {
			if len(code) == 0 {
				return []bpf.Instruction{bpf.RetConstant{Val: r.Action}}, nil
			}
			return append(code, bpf.RetConstant{Val: r.Action}), nil
		}
		block := []bpf.Instruction{bpf.RetConstant{Val: r.Action}}
		for _, c := range slices.Backward(r.Conds) {
			test, err := c.test(len(block))
			if err != nil {
				return nil, err
			}
			block = append(test, block...)
		}
		code = append(code, block...)
	}
	return append(code, bpf.RetConstant{Val: f.Default}), nil
}

// test is the code that goes on behind itself when c holds, and skips rest more
// instructions when it does not.
func (c filterCond) test(rest int) ([]bpf.Instruction, error) {
	if rest > 200 {
		return nil, fmt.Errorf("too many conditions")
	}
	off := offsetArgs + 8*uint32(c.Arg)
	low, high := bpf.LoadAbsolute{Off: off, Size: 4}, bpf.LoadAbsolute{Off: off + 4, Size: 4}
	if bigEndian {
		low, high = high, low
	}
	vLow, vHigh := uint32(c.Value), uint32(c.Value>>32)
	no := uint8(rest)
	switch c.Op {
	case specs.OpEqualTo:
		return []bpf.Instruction{
			high, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: vHigh, SkipTrue: no + 2},
			low, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: vLow, SkipTrue: no},
		}, nil
	case specs.OpNotEqual:
		return []bpf.Instruction{
			high, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: vHigh, SkipTrue: 2},
			low, bpf.JumpIf{Cond: bpf.JumpEqual, Val: vLow, SkipTrue: no},
		}, nil
	case specs.OpMaskedEqual:
		return []bpf.Instruction{
			high, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: uint32(c.Mask >> 32)},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: vHigh, SkipTrue: no + 3},
			low, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: uint32(c.Mask)},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: vLow, SkipTrue: no},
		}, nil
	case specs.OpGreaterThan, specs.OpGreaterEqual, specs.OpLessThan, specs.OpLessEqual:
		// The high halves decide unless they are equal.
		beyond := bpf.JumpGreaterThan
		if c.Op == specs.OpLessThan || c.Op == specs.OpLessEqual {
			beyond = bpf.JumpLessThan
		}
		last := beyond
		switch c.Op {
		case specs.OpGreaterEqual:
			last = bpf.JumpGreaterOrEqual
		case specs.OpLessEqual:
			last = bpf.JumpLessOrEqual
		}
		return []bpf.Instruction{
			high, bpf.JumpIf{Cond: beyond, Val: vHigh, SkipTrue: 3},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: vHigh, SkipTrue: no + 2},
			low, bpf.JumpIf{Cond: last, Val: vLow, SkipFalse: no},
		}, nil
	}
	return nil, fmt.Errorf("operator %q is not supported", c.Op)
}

var bigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

// encodeFilter is prog as an array of struct sock_filter (linux/filter.h).
func encodeFilter(prog []bpf.RawInstruction) []byte {
	b := make([]byte, 0, 8*len(prog))
	for _, i := range prog {
		b = binary.NativeEndian.AppendUint16(b, i.Op)
		b = append(b, i.Jt, i.Jf)
		b = binary.NativeEndian.AppendUint32(b, i.K)
	}
	return b
}
