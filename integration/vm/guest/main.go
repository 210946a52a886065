package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/vm/job"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest: for PID 1 of a test machine only")
		os.Exit(1)
	}
	say(job.Fact("booted", uptime().String()))
	if err := run(); err != nil {
		say(job.Fatal(err))
	} else {
		say(job.Done())
	}
	unix.Sync()
	say(job.Fact("off", fmt.Sprint(unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))))
}

// say prints on the console, which is all that the host sees.
func say(frame string) { _, _ = os.Stdout.WriteString(frame) }

func run() error {
	j, err := readJob()
	if err != nil {
		return err
	}
	if err := errors.Join(j.load(), newRoot(), j.mountState(), furnish(), loadProfiles()); err != nil {
		return err
	}
	facts()
	for _, t := range j.Tasks {
		say(job.Begin(t.Name))
		start := time.Now()
		code, err := runTask(t)
		if err != nil {
			return fmt.Errorf("run %s: %w", t.Name, err)
		}
		say(job.End(t.Name, code, time.Since(start)))
	}
	return complaints()
}

type guest struct{ job.Job }

func readJob() (guest, error) {
	var g guest
	text, err := os.ReadFile(job.Path)
	if err != nil {
		return g, err
	}
	return g, json.Unmarshal(text, &g.Job)
}

// load loads the kernel modules.
func (g guest) load() error {
	for _, file := range g.Modules {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil {
			return &os.PathError{Op: "finit_module", Path: file, Err: err}
		}
	}
	return nil
}

// loadProfiles loads the AppArmor profiles (security/apparmor/apparmorfs.c), as
// apparmor.service does on a Debian host.
func loadProfiles() error {
	profiles, err := os.ReadFile(job.Profiles)
	if err != nil {
		return err
	}
	return os.WriteFile("/sys/kernel/security/apparmor/.load", profiles, 0)
}

// uptime is how long the kernel has run.
func uptime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano()).Round(time.Millisecond)
}
