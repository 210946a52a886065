//go:build integration

package oracle

import (
	"maps"
	"slices"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// when is a filter that gives the answer to one system call while each of the
// words at the offsets has its value, and allows all else.
func when(number int, answer uint32, words ...[2]uint32) filter {
	words = append([][2]uint32{{offsetNumber, uint32(number)}}, words...)
	var f filter
	for i, w := range words {
		left := 2*(len(words)-i) - 1 // to the end of the conditions
		f = append(f,
			unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: w[0]},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: uint8(left), K: w[1]})
	}
	return append(f,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: answer},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
}

// The comparison of filters finds every difference in what they answer, however
// narrow its condition, and none where there is none.
func TestCompareFilters(t *testing.T) {
	info, err := arch.GetInfo("")
	if err != nil {
		t.Fatal(err)
	}
	socket, ioctl := info.SyscallNames["socket"], info.SyscallNames["ioctl"]
	const arg0, arg1, arg2 = offsetArgs, offsetArgs + 8, offsetArgs + 16
	deny := uint32(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM))
	everything := when(socket, unix.SECCOMP_RET_ALLOW)
	for _, c := range []struct {
		name         string
		ours, theirs filter
		want         string
	}{
		{"the same", when(socket, deny), when(socket, deny), ""},
		{"one call", when(socket, deny), everything, "seccomp socket"},
		{"another answer", when(ioctl, deny), when(ioctl, unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)), "seccomp ioctl"},
		{"one argument", when(socket, deny, [2]uint32{arg0, 38}), everything, "seccomp socket"},
		{"two arguments", when(socket, deny, [2]uint32{arg0, 16}, [2]uint32{arg2, 15}), when(socket, deny, [2]uint32{arg0, 16}), "seccomp socket"},
		{"the high half", when(ioctl, deny, [2]uint32{arg1, 0x5412}, [2]uint32{arg1 + 4, 0}), when(ioctl, deny, [2]uint32{arg1, 0x5412}), "seccomp ioctl"},
		{"the order", when(ioctl, deny, [2]uint32{arg1, 5}, [2]uint32{arg0, 6}), when(ioctl, deny, [2]uint32{arg0, 6}, [2]uint32{arg1, 5}), ""},
	} {
		ours, theirs := observation{report{}, []filter{c.ours}}, observation{report{}, []filter{c.theirs}}
		if err := compareFilters(ours, theirs); err != nil {
			t.Fatal(err)
		}
		var want []string
		if c.want != "" {
			want = []string{c.want}
		}
		if got := slices.Collect(maps.Keys(newComparison(nil).differences(ours.report, theirs.report))); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", c.name, got, want)
		}
	}
}
