package proc

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/gilliam/hypervisor/isolate"
)

// ErrUnwritable is a state folder that records cannot be written to.
var ErrUnwritable = errors.New("the state folder cannot be written to")

// PressureKinds are what a host may have too little of, or not at all: room on a
// disk, a disk that can be written to, one that does what it is told, open files,
// memory, processes.
var PressureKinds = []string{"disk", "read-only", "io", "files", "memory", "pids"}

// shortages are how the kernel says so (errno(3)).
var shortages = []struct {
	err  error
	kind string
}{
	{syscall.ENOSPC, "disk"},
	{syscall.EDQUOT, "disk"},
	{syscall.EROFS, "read-only"},
	{ErrUnwritable, "read-only"},
	{syscall.EIO, "io"},
	{syscall.EMFILE, "files"},
	{syscall.ENFILE, "files"},
	{syscall.ENOMEM, "memory"},
	{syscall.ENOBUFS, "memory"},
	{syscall.EAGAIN, "pids"}, // clone(2)
}

// shortage is what the host has too little of, as err says, or "".
func shortage(err error) string {
	var app *isolate.ExecError
	if errors.As(err, &app) { // what its own limits keep an app from is its own affair
		return ""
	}
	for _, s := range shortages {
		if errors.Is(err, s.err) {
			return s.kind
		}
	}
	return ""
}

// unwritable makes an error of writing a record say so when it was not allowed, as in
// a folder that is immutable (chattr(1)).
func unwritable(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return errors.Join(ErrUnwritable, err)
	}
	return err
}

// pressed counts what the host had too little of.
func (m *Manager) pressed(err error) {
	kind := shortage(err)
	if kind == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Pressure[kind]++
}
