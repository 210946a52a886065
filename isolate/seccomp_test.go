package isolate

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
)

// A machine runs an assembled filter in user space. The BPF machine reads
// big-endian words where the kernel reads native ones, so data is laid out so.
type machine struct {
	t  *testing.T
	vm *bpf.VM
}

func newMachine(t *testing.T, f *filter) machine {
	t.Helper()
	raw, err := f.assemble()
	if err != nil {
		t.Fatal(err)
	}
	prog, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the program does not disassemble")
	}
	vm, err := bpf.NewVM(prog)
	if err != nil {
		t.Fatal(err)
	}
	return machine{t, vm}
}

func (m machine) run(audit, number uint32, args ...uint64) uint32 {
	m.t.Helper()
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[0:], number)
	binary.BigEndian.PutUint32(data[4:], audit)
	for i, a := range args {
		low, high := data[16+8*i:], data[20+8*i:]
		if bigEndian {
			low, high = high, low
		}
		binary.BigEndian.PutUint32(low, uint32(a))
		binary.BigEndian.PutUint32(high, uint32(a>>32))
	}
	got, err := m.vm.Run(data)
	if err != nil {
		m.t.Fatal(err)
	}
	return uint32(got)
}

const deny, nosys = retErrno | errnoPerm, retErrno | errnoNoSys

func call(t *testing.T, name string) uint32 {
	t.Helper()
	n, ok := arch.X86_64.SyscallNames[name]
	if !ok {
		t.Fatalf("no system call %s", name)
	}
	return uint32(n)
}

func testFilter(t *testing.T, calls ...specs.LinuxSyscall) *filter {
	t.Helper()
	f, err := newFilter(&specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: calls}, arch.X86_64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFilterOperators(t *testing.T) {
	const big = 1<<32 + 5
	for _, c := range []struct {
		op         specs.LinuxSeccompOperator
		value, two uint64
		yes, no    []uint64
	}{
		{specs.OpEqualTo, big, 0, []uint64{big}, []uint64{5, 1 << 32, big + 1}},
		{specs.OpNotEqual, big, 0, []uint64{5, 1 << 32}, []uint64{big}},
		{specs.OpGreaterThan, big, 0, []uint64{big + 1, 1 << 33}, []uint64{big, 6, 0xffffffff}},
		{specs.OpGreaterEqual, big, 0, []uint64{big, 1 << 33}, []uint64{big - 1, 0xffffffff}},
		{specs.OpLessThan, big, 0, []uint64{big - 1, 0xffffffff}, []uint64{big, 1 << 33}},
		{specs.OpLessEqual, big, 0, []uint64{big, 0}, []uint64{big + 1, 2<<32 + 1}},
		{specs.OpMaskedEqual, 0xf00000000f, 0x1000000002, []uint64{0x1000000002, 0x10ffffff12}, []uint64{2, 0x1000000000, 0x3000000002}},
	} {
		f := testFilter(t, specs.LinuxSyscall{
			Names: []string{"personality"}, Action: specs.ActAllow,
			Args: []specs.LinuxSeccompArg{{Index: 2, Op: c.op, Value: c.value, ValueTwo: c.two}},
		})
		m := newMachine(t, f)
		n := call(t, "personality")
		for _, v := range c.yes {
			if got := m.run(uint32(arch.X86_64.ID), n, 9, 9, v); got != retAllow {
				t.Errorf("%s %#x of %#x: %#x", c.op, c.value, v, got)
			}
		}
		for _, v := range c.no {
			if got := m.run(uint32(arch.X86_64.ID), n, 9, 9, v); got != deny {
				t.Errorf("%s %#x of %#x: %#x", c.op, c.value, v, got)
			}
		}
	}
}

// Several conditions must all hold; several rules are tried in order.
func TestFilterRules(t *testing.T) {
	eq := func(arg uint, v uint64) specs.LinuxSeccompArg {
		return specs.LinuxSeccompArg{Index: arg, Op: specs.OpEqualTo, Value: v}
	}
	m := newMachine(t, testFilter(t,
		specs.LinuxSyscall{Names: []string{"socket"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{eq(0, 1), eq(1, 2)}},
		specs.LinuxSyscall{Names: []string{"socket"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{eq(5, 7)}},
		specs.LinuxSyscall{Names: []string{"read", "write"}, Action: specs.ActAllow},
	))
	x := uint32(arch.X86_64.ID)
	for _, c := range []struct {
		args []uint64
		want uint32
	}{
		{[]uint64{1, 2, 0, 0, 0, 0}, retAllow}, {[]uint64{1, 3, 0, 0, 0, 0}, deny},
		{[]uint64{2, 2, 0, 0, 0, 0}, deny}, {[]uint64{0, 0, 0, 0, 0, 7}, retAllow},
	} {
		if got := m.run(x, call(t, "socket"), c.args...); got != c.want {
			t.Errorf("socket %v: %#x, want %#x", c.args, got, c.want)
		}
	}
	if m.run(x, call(t, "read")) != retAllow || m.run(x, call(t, "write")) != retAllow || m.run(x, call(t, "open")) != deny {
		t.Error("plain rules")
	}
}

// Several conditions on one argument are alternatives, and what denies comes first.
func TestFilterAlternatives(t *testing.T) {
	eq := func(v uint64) specs.LinuxSeccompArg {
		return specs.LinuxSeccompArg{Index: 0, Op: specs.OpEqualTo, Value: v}
	}
	m := newMachine(t, testFilter(t,
		specs.LinuxSyscall{Names: []string{"personality"}, Action: specs.ActAllow},
		specs.LinuxSyscall{Names: []string{"personality"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{eq(3), eq(5)}},
	))
	for value, want := range map[uint64]uint32{3: deny, 4: retAllow, 5: deny} {
		if got := m.run(uint32(arch.X86_64.ID), call(t, "personality"), value); got != want {
			t.Errorf("personality %d: %#x, want %#x", value, got, want)
		}
	}
}

// The search finds for every number what a plain look-up does, whatever the set.
func TestFilterSearch(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		f := &filter{Arch: arch.X86_64, Rules: map[uint32][]filterRule{}, Default: deny}
		actions := []uint32{retAllow, nosys, retErrno | 13}
		for range 1 + random.IntN(300) {
			f.add(uint32(random.IntN(600)), filterRule{Action: actions[random.IntN(3)]})
		}
		m := newMachine(t, f)
		for n := range uint32(700) {
			want := f.Default
			if rules := f.Rules[n]; len(rules) > 0 {
				want = rules[0].Action
			} else if n > f.Last {
				want = nosys
			}
			if got := m.run(uint32(arch.X86_64.ID), n); got != want {
				t.Fatalf("number %d of %d rules: %#x, want %#x", n, len(f.Rules), got, want)
			}
		}
	}
}

func TestFilterRefuses(t *testing.T) {
	errno := uint(5000)
	for name, call := range map[string]specs.LinuxSyscall{
		"argument": {Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 6, Op: specs.OpEqualTo}}},
		"action":   {Names: []string{"read"}, Action: specs.ActTrace},
		"errno":    {Names: []string{"read"}, Action: specs.ActErrno, ErrnoRet: &errno},
	} {
		_, err := newFilter(&specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{call}}, arch.X86_64)
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	f := testFilter(t, specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Op: "SCMP_CMP_XX"}}})
	if _, err := f.assemble(); err == nil {
		t.Error("an operator that there is not was assembled")
	}
}

// What a profile denies is denied as it says; what it allows and must not is denied
// all the same.
func TestHardenKeepsDenials(t *testing.T) {
	unknown := uint(93) // EPROTONOSUPPORT
	f := testFilter(t,
		specs.LinuxSyscall{Names: []string{"socket", "bpf"}, Action: specs.ActAllow},
		specs.LinuxSyscall{Names: []string{"socket"}, Action: specs.ActErrno, ErrnoRet: &unknown, Args: []specs.LinuxSeccompArg{
			{Index: 0, Value: 16, Op: specs.OpEqualTo}, {Index: 2, Value: 9, Op: specs.OpEqualTo},
		}},
	)
	f.harden()
	m := newMachine(t, f)
	for _, c := range []struct {
		args []uint64
		want uint32
	}{
		{[]uint64{16, 3, 9}, retErrno | 93}, {[]uint64{16, 3, 15}, deny}, {[]uint64{16, 3, 0}, retAllow}, {[]uint64{38, 5, 0}, deny}, {[]uint64{2, 1, 0}, retAllow},
	} {
		if got := m.run(uint32(arch.X86_64.ID), call(t, "socket"), c.args...); got != c.want {
			t.Errorf("socket %v: %#x, want %#x", c.args, got, c.want)
		}
	}
	if got := m.run(uint32(arch.X86_64.ID), call(t, "bpf")); got != deny {
		t.Errorf("bpf: %#x", got)
	}
}
