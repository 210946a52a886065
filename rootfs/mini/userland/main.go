package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

func main() { os.Exit(run(os.Args)) }

// A program is one of those that this is. An exitError is its exit status; every
// other error is printed, and 1.
type program func(args []string) error

// An exitError is an exit status without further words.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// run is the program that args name, directly or behind the name of this one.
func run(args []string) int {
	name := filepath.Base(args[0])
	if (programs()[name] == nil || name == "userland") && len(args) > 1 {
		args = args[1:]
		name = filepath.Base(args[0])
	}
	p := programs()[name]
	if p == nil {
		fmt.Fprintf(os.Stderr, "userland: no program %q; there is %q\n", name, names())
		return 127
	}
	var exit exitError
	switch err := p(args[1:]); {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	default:
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
}

// programs are all of them by name.
func programs() map[string]program {
	all := map[string]program{
		"sh": shell("sh"), "bash": shell("bash"), "test": builtin("test"), "[": builtin("["), "echo": builtin("echo"), "printf": builtin("printf"),
		"pwd": builtin("pwd"), "true": builtin("true"), "false": builtin("false"),
		"env": env, "id": id, "whoami": whoami, "hostname": hostname, "uname": uname, "nproc": nproc, "date": date,
		"sleep": sleep, "kill": kill, "ps": ps,
		"head": head, "tail": tail, "wc": wc, "grep": grep, "sort": sortLines, "uniq": uniq, "cut": cut, "tr": tr, "tee": tee, "seq": seq,
		"ln": ln, "rmdir": rmdir, "readlink": readlink, "basename": basename, "dirname": dirname,
		"httpd": httpd, "userland": list,
	}
	maps.Copy(all, fileCommands())
	return all
}

// names are those of all programs, sorted.
func names() []string {
	var all []string
	for name := range programs() {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// list prints the names of all programs, one a line.
func list([]string) error {
	for _, name := range names() {
		fmt.Println(name)
	}
	return nil
}
