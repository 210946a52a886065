package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// A report is what one attack came to.
type report struct {
	Attack string            `json:"attack"`
	Result string            `json:"result"`
	Detail map[string]string `json:"detail"`
}

// attacks are all that the probe knows, by name.
var attacks = map[string]func(r *report, args []string){
	"aliens":      aliens,
	"calls":       calls,
	"cgroups":     cgroups,
	"chain":       chain,
	"crash":       crash,
	"descriptors": descriptors,
	"devices":     devices,
	"environment": environment,
	"escape":      escape,
	"executables": executables,
	"files":       files,
	"filters":     filters,
	"forkbomb":    forkbomb,
	"hold":        hold,
	"identity":    identity,
	"image":       image,
	"ipc":         ipc,
	"knobs":       knobs,
	"leaks":       leaks,
	"litter":      litter,
	"masks":       masks,
	"memory":      memory,
	"murder":      murder,
	"namespaces":  namespaces,
	"network":     network,
	"open-files":  openFiles,
	"overwrite":   overwrite,
	"private-ipc": privateIPC,
	"privileges":  privileges,
	"quota":       quota,
	"read":        read,
	"remounts":    remounts,
	"scheduling":  scheduling,
	"setuid":      setuid,
	"sleep":       sleep,
	"sockets":     sockets,
	"stubborn":    stubborn,
	"terminal":    terminal,
	"trace":       trace,
	"watch":       watch,
	"zombies":     zombies,
}

func init() {
	// What the attacks change belongs to a thread, and this is the first one.
	runtime.LockOSThread()
}

func main() {
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "-fresh" {
		if err := fresh(); err != nil {
			fatal(err)
		}
		args = args[1:]
	}
	if len(args) == 0 || attacks[args[0]] == nil {
		fatal(errors.New("usage: probe [-fresh] attack [argument …]"))
	}
	r := &report{Attack: args[0], Result: "refused", Detail: map[string]string{}}
	attacks[args[0]](r, args[1:])
	r.print()
}

// fresh mounts what a control must not share with the host.
func fresh() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for target, fs := range map[string]string{"/proc": "proc", "/tmp": "tmpfs"} {
		if err := unix.Mount(fs, target, fs, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", target, err)
		}
	}
	return os.Setenv("TMPDIR", "/tmp")
}

func (r *report) print() {
	line, err := json.Marshal(r)
	if err != nil {
		fatal(err)
	}
	if _, err := os.Stdout.Write(append(line, '\n')); err != nil {
		fatal(err)
	}
}

// try records one attempt. Without an error it worked.
func (r *report) try(name string, err error) {
	if err == nil {
		r.Result = "worked"
	}
	r.Detail[name] = outcome(err)
}

// fact records what the attack saw.
func (r *report) fact(name string, value any) { r.Detail[name] = fmt.Sprint(value) }

// found records an attempt that works by finding something.
func (r *report) found(name string, yes bool) {
	if yes {
		r.try(name, nil)
	} else {
		r.try(name, errors.New("no"))
	}
}

func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// call is one system call.
func call(number uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
		return errno
	}
	return nil
}

// open tries to open a path and closes it again.
func open(path string, flags int) error {
	fd, err := unix.Open(path, flags|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// rest waits until the probe is killed.
func rest() {
	for {
		_ = unix.Pause()
	}
}

// sleep is a process for others to attack.
func sleep(r *report, _ []string) {
	r.print()
	rest()
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "probe:", err)
	os.Exit(2)
}
