//go:build integration

package oracle

import (
	"fmt"
	"slices"
	"strings"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// greatestCall is beyond every system call that any kernel has today.
const greatestCall = 700

// compareFilters puts into both reports, for every system call that the two
// answer differently for any arguments tried, their differing answers. The
// arguments tried are all that the filters look for and their neighbours.
func compareFilters(ours, theirs observation) error {
	info, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	for n := range uint32(greatestCall) {
		name, ok := info.SyscallNumbers[int(n)]
		if !ok {
			name = fmt.Sprintf("number %d", n)
		}
		if err := compareCall(ours, theirs, "seccomp "+name, call{Number: n, Arch: uint32(info.ID)}); err != nil {
			return err
		}
	}
	// The other ways into the kernel of an amd64: one call of each tells.
	const x32 = 0x40000000
	for name, c := range map[string]call{
		"seccomp 32-bit getpid": {Number: 20, Arch: uint32(arch.I386.ID)},
		"seccomp x32 getpid":    {Number: x32 | 39, Arch: uint32(arch.X86_64.ID)},
		"seccomp ARM getpid":    {Number: 20, Arch: uint32(arch.ARM.ID)},
	} {
		if err := compareCall(ours, theirs, name, c); err != nil {
			return err
		}
	}
	return nil
}

// compareCall compares the answers to one system call with no arguments, with
// each of the values that the filters look for in an argument, and with every
// two of them.
func compareCall(ours, theirs observation, name string, c call) error {
	values := newValues()
	for {
		known := values.count()
		var a, b []string
		for _, c := range values.calls(c) {
			x, err := decide(ours.filters, c, values.learn)
			if err != nil {
				return fmt.Errorf("our filter: %w", err)
			}
			y, err := decide(theirs.filters, c, values.learn)
			if err != nil {
				return fmt.Errorf("their filter: %w", err)
			}
			if x != y {
				a, b = append(a, answer(x)), append(b, answer(y))
			}
		}
		if values.count() > known {
			continue // these calls led the filters to look for more
		}
		if len(a) > 0 {
			ours.report[name], theirs.report[name] = distinct(a), distinct(b)
		}
		return nil
	}
}

func distinct(list []string) string {
	slices.Sort(list)
	return strings.Join(slices.Compact(list), " or ")
}

// values are what is worth trying for each argument of a call.
type values [6]map[uint64]bool

func newValues() (v values) {
	for i := range v {
		v[i] = map[uint64]bool{}
	}
	return v
}

func (v values) count() (n int) {
	for _, set := range v {
		n += len(set)
	}
	return n
}

// learn adds what an instruction compares the argument at offset with: its
// constant and its neighbours or, of a mask, its single bits; each in the low
// half, in the high half, and below a bit of the high half.
func (v values) learn(offset uint32, i unix.SockFilter) {
	set := v[(offset-offsetArgs)/8]
	add := func(k uint32) {
		set[uint64(k)], set[uint64(k)<<32], set[1<<32|uint64(k)] = true, true, true
	}
	if i.Code&7 == unix.BPF_JMP {
		add(i.K - 1)
		add(i.K)
		add(i.K + 1)
		return
	}
	for bit := range 32 {
		if i.K != ^uint32(0) && i.K&(1<<bit) != 0 {
			add(1 << bit)
		}
	}
}

// calls are c with no arguments, with each value, and with every two.
func (v values) calls(c call) []call {
	all := []call{c}
	for i := range v {
		for x := range v[i] {
			one := c
			one.Args[i] = x
			all = append(all, one)
			for j := i + 1; j < len(v); j++ {
				for y := range v[j] {
					two := one
					two.Args[j] = y
					all = append(all, two)
				}
			}
		}
	}
	return all
}
