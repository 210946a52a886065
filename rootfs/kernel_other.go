//go:build !linux

package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

// The hypervisor runs on Linux only. These let the rest of the package be
// compiled and vetted elsewhere.

func syncTree(*os.File) error                       { return errors.ErrUnsupported }
func allocate(*os.File, int64) error                { return errors.ErrUnsupported }
func renameNew(_, _ string) error                   { return errors.ErrUnsupported }
func openFolder(*os.File, string) (*os.File, error) { return nil, errors.ErrUnsupported }
func spaceOf(*os.File) (Space, error)               { return Space{}, errors.ErrUnsupported }
func birthTime(*os.File) (time.Time, bool)          { return time.Time{}, false }
func changeTime(fi fs.FileInfo) time.Time           { return fi.ModTime() }
func owner(fs.FileInfo) (uid, gid int)              { return -1, -1 }
func device(fs.FileInfo) uint64                     { return 0 }
