//go:build !linux

package oci

import (
	"errors"
	"io/fs"
	"os"
)

// The hypervisor runs on Linux only. These let the rest of the package be compiled
// and vetted elsewhere.

func makeNode(*os.Root, string, fs.FileMode) error { return errors.ErrUnsupported }
func setOpaque(*os.File) error                     { return errors.ErrUnsupported }
