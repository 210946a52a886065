package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Machine is a virtual one.
type Machine struct {
	Kernel string // the bootable file
	Initrd string // the initramfs, compressed or not
	Append string // further words of the kernel's command line
	Disks  []Disk // /dev/vda, /dev/vdb and so on
	CPUs   int
	Memory int // MiB
}

// A Disk is a raw image, such as [MakeDisk] makes.
type Disk struct {
	Image string

	// Forgets tells that what the guest writes goes when the machine does, so
	// that machines may share the image. If false (the default) it stays, and
	// does so when the machine is killed.
	Forgets bool
}

// args are qemu's. Without a network, without devices that nobody asked for, and
// without KVM: TCG works everywhere, in other virtual machines too.
func (m Machine) args() []string {
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-nic", "none", "-no-reboot",
		// max has RDRAND: no wait for entropy. A fifth level of page tables would cost
		// a tenth of all time.
		"-machine", "pc", "-accel", "tcg,thread=multi", "-cpu", "max,la57=off",
		"-smp", strconv.Itoa(m.CPUs), "-m", strconv.Itoa(m.Memory) + "M",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-kernel", m.Kernel, "-initrd", m.Initrd,
		// A panic reboots at once, which -no-reboot makes an exit.
		"-append", strings.TrimSpace("console=ttyS0 panic=-1 loglevel=3 " + m.Append),
	}
	for _, disk := range m.Disks {
		// Unsafe is for the guest what writeback is, as long as this machine itself
		// does not crash: what is written is in its page cache, flushed or not.
		drive := "if=virtio,format=raw,cache=unsafe,file=" + strings.ReplaceAll(disk.Image, ",", ",,")
		if disk.Forgets {
			drive += ",snapshot=on"
		}
		args = append(args, "-drive", drive)
	}
	return args
}

// Run boots the machine and returns when it is off. What the guest prints is
// written to console. The machine is turned off when ctx ends, and never outlives
// this process.
func (m Machine) Run(ctx context.Context, console io.Writer) error {
	r, err := m.Boot(ctx, console)
	if err != nil {
		return err
	}
	return r.Wait()
}

// A Running machine was turned on. Its methods may be called at once from
// anywhere.
type Running struct {
	process *os.Process
	ended   chan struct{} // closed when qemu has, and err is set
	err     error
}

// Boot is [Machine.Run] that does not wait for the end.
func (m Machine) Boot(ctx context.Context, console io.Writer) (*Running, error) {
	r := &Running{ended: make(chan struct{})}
	started := make(chan error)
	// Ends with qemu, which the machine's owner waits for with Wait or Kill. It
	// keeps its thread: a parent-death signal comes when the thread that forked
	// ends (prctl(2)).
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		cmd := exec.CommandContext(ctx, "qemu-system-x86_64", m.args()...)
		var complaints strings.Builder
		cmd.Stdout, cmd.Stderr = console, &complaints
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		cmd.WaitDelay = 5 * time.Second
		err := cmd.Start()
		r.process = cmd.Process
		started <- err
		if err != nil {
			return
		}
		if err := errors.Join(cmd.Wait(), context.Cause(ctx)); err != nil {
			r.err = fmt.Errorf("qemu-system-x86_64: %w\n%s", err, complaints.String())
		}
		close(r.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start qemu-system-x86_64: %w", err)
	}
	return r, nil
}

// Done is closed when the machine is off.
func (r *Running) Done() <-chan struct{} { return r.ended }

// Wait waits until the machine is off. It is an error when it did not turn
// itself off.
func (r *Running) Wait() error {
	<-r.ended
	return r.err
}

// Kill is a power cut: qemu is killed, and with it goes all that the guest has
// in memory. What the guest had its disks write, they have. It is an error when
// the machine was off already.
func (r *Running) Kill() error {
	select {
	case <-r.ended:
		return fmt.Errorf("cut the power: %w", os.ErrProcessDone)
	default:
	}
	if err := r.process.Kill(); err != nil {
		return fmt.Errorf("cut the power: %w", err)
	}
	<-r.ended
	return nil
}
