package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// env runs a program in a changed environment, or prints it.
func env(args []string) error {
	f := options("env")
	empty, without := f.BoolP("ignore-environment", "i", false, "begin with nothing"), f.StringArrayP("unset", "u", nil, "leave out this `NAME`")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *empty {
		os.Clearenv()
	}
	for _, name := range *without {
		os.Unsetenv(name)
	}
	rest := f.Args()
	for len(rest) > 0 {
		name, value, ok := strings.Cut(rest[0], "=")
		if !ok {
			break
		}
		if err := os.Setenv(name, value); err != nil {
			return err
		}
		rest = rest[1:]
	}
	if len(rest) == 0 {
		for _, kv := range os.Environ() {
			fmt.Println(kv)
		}
		return nil
	}
	path, err := exec.LookPath(rest[0])
	if err != nil {
		fmt.Fprintf(os.Stderr, "env: %s: command not found\n", rest[0])
		return exitError(127)
	}
	err = unix.Exec(path, rest, os.Environ())
	fmt.Fprintf(os.Stderr, "env: %s: %v\n", rest[0], err)
	return exitError(126)
}

// sleep waits for the sum of times: seconds, or with s, m, h or d behind them.
func sleep(args []string) error {
	if len(args) == 0 {
		return errors.New("how long?")
	}
	var sum time.Duration
	for _, a := range args {
		if a == "infinity" {
			select {}
		}
		unit := time.Second
		for suffix, u := range map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour} {
			if n, ok := strings.CutSuffix(a, suffix); ok {
				a, unit = n, u
				break
			}
		}
		n, err := strconv.ParseFloat(a, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("%q is no time", a)
		}
		sum += time.Duration(n * float64(unit))
	}
	time.Sleep(sum)
	return nil
}

// kill sends a signal: -TERM, -15, -s TERM; to a pid, or with a minus before it to a
// group.
func kill(args []string) error {
	sig := syscall.SIGTERM
	if len(args) > 1 && args[0] == "-s" {
		args = append([]string{"-" + args[1]}, args[2:]...)
	}
	if len(args) > 0 && strings.HasPrefix(args[0], "-") && args[0] != "--" {
		name := strings.ToUpper(args[0][1:])
		if n, err := strconv.Atoi(name); err == nil {
			sig = syscall.Signal(n)
		} else if sig = unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG")); sig == 0 {
			return fmt.Errorf("no signal %q", name)
		}
		args = args[1:]
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return errors.New("which process?")
	}
	var errs []error
	for _, a := range args {
		pid, err := strconv.Atoi(a)
		if err == nil {
			err = unix.Kill(pid, sig)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", a, err))
		}
	}
	return errors.Join(errs...)
}

// ps lists the processes that there are; every option that asks for less or more is
// taken for the same.
func ps([]string) error {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	var pids []int
	for _, d := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(d)); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PID\tUSER\tCOMMAND")
	for _, pid := range pids {
		dir := filepath.Join("/proc", strconv.Itoa(pid))
		fi, err := os.Stat(dir)
		if err != nil {
			continue // it has ended
		}
		command, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		line := strings.ReplaceAll(strings.TrimRight(string(command), "\x00"), "\x00", " ")
		if line == "" {
			comm, _ := os.ReadFile(filepath.Join(dir, "comm"))
			line = "[" + strings.TrimSpace(string(comm)) + "]"
		}
		uid := int(fi.Sys().(*syscall.Stat_t).Uid)
		who := userName(uid)
		if who == "" {
			who = strconv.Itoa(uid)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\n", pid, who, line)
	}
	return w.Flush()
}
