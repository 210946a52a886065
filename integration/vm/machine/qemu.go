package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Machine is a virtual one.
type Machine struct {
	Kernel string   // the bootable file
	Initrd string   // the initramfs, compressed or not
	Append string   // further words of the kernel's command line
	Disks  []string // raw images: /dev/vda, /dev/vdb and so on
	CPUs   int
	Memory int // MiB
}

// args are qemu's. Without a network, without devices that nobody asked for, and
// without KVM: TCG works everywhere, in other virtual machines too.
func (m Machine) args() []string {
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-nic", "none", "-no-reboot",
		"-machine", "pc", "-accel", "tcg,thread=multi", "-cpu", "max", // max has RDRAND: no wait for entropy
		"-smp", strconv.Itoa(m.CPUs), "-m", strconv.Itoa(m.Memory) + "M",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-kernel", m.Kernel, "-initrd", m.Initrd,
		// A panic reboots at once, which -no-reboot makes an exit.
		"-append", strings.TrimSpace("console=ttyS0 panic=-1 loglevel=3 " + m.Append),
	}
	for _, disk := range m.Disks {
		args = append(args, "-drive", "if=virtio,format=raw,cache=unsafe,file="+strings.ReplaceAll(disk, ",", ",,"))
	}
	return args
}

// Run boots the machine and returns when it is off. What the guest prints is
// written to console. The machine is turned off when ctx ends, and never outlives
// this process.
func (m Machine) Run(ctx context.Context, console io.Writer) error {
	// A parent-death signal comes when the thread that forked ends (prctl(2)).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", m.args()...)
	var complaints strings.Builder
	cmd.Stdout, cmd.Stderr = console, &complaints
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	if err := errors.Join(cmd.Run(), context.Cause(ctx)); err != nil {
		return fmt.Errorf("qemu-system-x86_64: %w\n%s", err, complaints.String())
	}
	return nil
}
