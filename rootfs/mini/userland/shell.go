package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// An invocation is how a shell was called.
type invocation struct {
	login, command bool
	options        []string // of set
	args           []string // the command line or the script, and its own arguments
}

// parseShell reads the arguments of sh and bash.
func parseShell(args []string) (invocation, error) {
	var in invocation
	for len(args) > 0 {
		a := args[0]
		if a == "--login" {
			in.login, args = true, args[1:]
			continue
		}
		if a == "--" || a == "-" {
			args = args[1:]
			break
		}
		if len(a) < 2 || a[0] != '-' && a[0] != '+' {
			break
		}
		args = args[1:]
		for _, c := range a[1:] {
			switch {
			case a[0] == '-' && c == 'l':
				in.login = true
			case a[0] == '-' && c == 'c':
				in.command = true
			case c == 'i' || c == 's': // there is nobody to talk to, and the standard input is read anyway
			case c == 'o':
				if len(args) == 0 {
					return in, errors.New("-o needs the name of an option")
				}
				in.options = append(in.options, a[:1]+"o", args[0])
				args = args[1:]
			case strings.ContainsRune("aefnux", c):
				in.options = append(in.options, a[:1]+string(c))
			default:
				return in, fmt.Errorf("no option -%c", c)
			}
		}
	}
	if in.command && len(args) == 0 {
		return in, errors.New("-c needs a command line")
	}
	in.args = args
	return in, nil
}

// shell runs a command line, a script, or the standard input.
func shell(name string) program {
	return func(args []string) error {
		in, err := parseShell(args)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			return exitError(2)
		}
		if os.Getenv("PATH") == "" {
			os.Setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
		}
		s := &session{name: name}
		params := append(append(in.options, "--"), in.rest()...)
		s.runner, err = interp.New(interp.StdIO(os.Stdin, os.Stdout, os.Stderr), interp.Params(params...),
			interp.CallHandler(s.call), interp.ExecHandlers(s.exec))
		if err != nil {
			return err
		}
		if in.login {
			if err := s.profile(); err != nil {
				return err
			}
		}
		switch {
		case in.command:
			if len(in.args) > 1 {
				s.name = in.args[1]
			}
			return s.run(strings.NewReader(in.args[0]), true)
		case len(in.args) > 0:
			s.name = in.args[0]
			f, err := os.Open(in.args[0])
			if err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
				return exitError(127)
			}
			defer f.Close()
			return s.run(f, false)
		}
		return s.run(os.Stdin, false)
	}
}

// rest are the arguments of the command line or of the script itself.
func (in invocation) rest() []string {
	skip := 1
	if in.command {
		skip = 2 // the command line, and what it is called
	}
	return in.args[min(skip, len(in.args)):]
}

// A session is one run of a shell.
type session struct {
	name    string // $0
	runner  *interp.Runner
	replace map[uint]bool // where in the text stand commands that this process becomes
	other   atomic.Bool   // another text is run, or was: where something stands says nothing any more
}

// profile reads what a login shell begins with.
func (s *session) profile() error {
	f, err := os.Open("/etc/profile")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return s.run(f, false)
}

// run runs a text, which is a command line or not.
func (s *session) run(text io.Reader, single bool) error {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(text, s.name)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitError(2)
	}
	s.replace = replaceable(file, single)
	err = s.runner.Run(context.Background(), file)
	var status interp.ExitStatus
	if errors.As(err, &status) {
		return exitError(status)
	}
	return err
}

// builtin is what the shell has built in, as a program.
func builtin(name string) program {
	return func(args []string) error {
		s := &session{name: name}
		var err error
		s.runner, err = interp.New(interp.StdIO(os.Stdin, os.Stdout, os.Stderr), interp.Params(append([]string{"--"}, args...)...))
		if err != nil {
			return err
		}
		return s.run(strings.NewReader(name+` "$@"`), false)
	}
}
