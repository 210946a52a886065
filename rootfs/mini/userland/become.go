package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// A shell that runs "exec app", or whose last command is app, becomes that program
// by execve(2): the app gets the signals that are meant for it, and no process waits
// for it that nobody has asked for. The interpreter would start another process.

// replaceable finds the commands that the shell becomes: those after exec, unless they
// are in a part that runs beside the shell, and the last one of a command line, as
// with bash, unless something is to be done after it.
func replaceable(file *syntax.File, single bool) map[uint]bool {
	found := make(map[uint]bool)
	trapped := false
	syntax.Walk(file, func(node syntax.Node) bool {
		switch n := node.(type) {
		case *syntax.Subshell, *syntax.CmdSubst, *syntax.ProcSubst, *syntax.CoprocClause:
			return false
		case *syntax.Stmt:
			if n.Background {
				return false
			}
		case *syntax.BinaryCmd:
			if n.Op == syntax.Pipe || n.Op == syntax.PipeAll {
				return false
			}
		case *syntax.CallExpr:
			switch first(n) {
			case "exec":
				found[n.Args[0].Pos().Offset()] = true
			case "trap":
				trapped = true
			}
		}
		return true
	})
	if n := len(file.Stmts); single && n > 0 && !trapped {
		last := file.Stmts[n-1]
		if call, ok := last.Cmd.(*syntax.CallExpr); ok && len(call.Args) > 0 && !last.Background && !last.Negated && !last.Coprocess {
			found[call.Args[0].Pos().Offset()] = true
		}
	}
	return found
}

// first is the command's name, where it is a plain word.
func first(call *syntax.CallExpr) string {
	if len(call.Args) == 0 {
		return ""
	}
	return call.Args[0].Lit()
}

// call sends to programs what the interpreter has no builtin for though its name is
// one's.
func (s *session) call(_ context.Context, args []string) ([]string, error) {
	switch args[0] {
	case "kill":
		args[0] = "/usr/bin/kill"
	case "eval", "source", ".":
		s.other.Store(true)
	}
	return args, nil
}

// exec becomes the program, where that is to be, or leaves it to the interpreter to
// start it.
func (s *session) exec(next interp.ExecHandlerFunc) interp.ExecHandlerFunc {
	return func(ctx context.Context, args []string) error {
		hc := interp.HandlerCtx(ctx)
		if s.other.Load() || !s.replace[hc.Pos.Offset()] {
			return next(ctx, args)
		}
		path, err := interp.LookPathDir(hc.Dir, hc.Env, args[0])
		if err != nil {
			return s.noProgram(hc, args[0])
		}
		err = become(hc, path, args)
		if errors.Is(err, unix.ENOEXEC) || errors.Is(err, errNoFile) {
			return next(ctx, args) // a script without its first line, or the output is no file
		}
		fmt.Fprintf(hc.Stderr, "%s: %s: %v\n", s.name, args[0], err)
		return interp.ExitStatus(126)
	}
}

// noProgram says why a program is not executed.
func (s *session) noProgram(hc interp.HandlerContext, name string) error {
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(hc.Dir, path)
	}
	if _, err := os.Stat(path); err == nil && strings.ContainsRune(name, '/') {
		fmt.Fprintf(hc.Stderr, "%s: %s: permission denied\n", s.name, name)
		return interp.ExitStatus(126)
	}
	fmt.Fprintf(hc.Stderr, "%s: %s: command not found\n", s.name, name)
	return interp.ExitStatus(127)
}

var errNoFile = errors.New("not a file")

// become makes this process the program. It returns only when that fails.
func become(hc interp.HandlerContext, path string, args []string) error {
	var files []*os.File
	for _, stream := range []any{hc.Stdin, hc.Stdout, hc.Stderr} {
		f, ok := stream.(*os.File)
		if !ok {
			return errNoFile
		}
		files = append(files, f)
	}
	// Away from 0 to 2 first: they may be each other's.
	var fds []int
	for _, f := range files {
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 10)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		fds = append(fds, fd)
	}
	for to, fd := range fds {
		if err := unix.Dup3(fd, to, 0); err != nil {
			return err
		}
	}
	if err := os.Chdir(hc.Dir); err != nil {
		return err
	}
	var env []string
	hc.Env.Each(func(name string, v expand.Variable) bool {
		if v.Exported && v.Kind == expand.String {
			env = append(env, name+"="+v.String())
		}
		return true
	})
	return unix.Exec(path, args, env)
}
