package isolate

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Errors that a caller may branch on, with errors.Is.
var (
	// ErrInvalid is a Spec that is wrong in itself.
	ErrInvalid = errors.New("invalid spec")
	// ErrUnsupported is a host that lacks what a sandbox needs.
	ErrUnsupported = errors.New("not supported by this host")
	// ErrEnded is a sandbox whose program has ended.
	ErrEnded = errors.New("the sandbox has ended")
)

// A SpecError names the field of a [Spec] that is wrong. It is an [ErrInvalid].
type SpecError struct {
	Field  string
	Detail string
}

func (e *SpecError) Error() string { return "spec " + e.Field + ": " + e.Detail }

// Is makes every SpecError an ErrInvalid.
func (e *SpecError) Is(target error) bool { return target == ErrInvalid }

// A StepError is a step of a plan that the kernel refused. It prints the whole
// step, because the kernel's errno alone often blames the wrong thing.
type StepError struct {
	Step string
	Err  error
}

func (e *StepError) Error() string { return e.Step + ": " + e.Err.Error() + hint(e.Err) }

func (e *StepError) Unwrap() error { return e.Err }

// An ExecError is a program that could not be executed in its sandbox.
type ExecError struct {
	Path string
	Err  error
}

func (e *ExecError) Error() string { return fmt.Sprintf("exec %s: %v", e.Path, e.Err) }

func (e *ExecError) Unwrap() error { return e.Err }

// Code is the exit status that a shell gives for it: 127 when the program was
// not found, 126 when it could not be executed.
func (e *ExecError) Code() int {
	if errors.Is(e.Err, syscall.ENOENT) || errors.Is(e.Err, syscall.ENOTDIR) {
		return 127
	}
	return 126
}

// hint translates errors whose text misleads.
func hint(err error) string {
	switch {
	case errors.Is(err, syscall.ELOOP):
		return " (a symlink where a folder or file must be, or overlay folders that overlap)"
	case errors.Is(err, syscall.ENOSPC):
		return " (no space, or no namespace left: see /proc/sys/user/max_*_namespaces)"
	}
	return ""
}

// sanitize makes text that came out of a sandbox fit for an error message.
func sanitize(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return '?'
		}
		return r
	}, s)
}
