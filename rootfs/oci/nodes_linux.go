package oci

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// makeNode makes a named pipe, or the character device 0:0 that overlayfs takes for
// what is not there.
func makeNode(dir *os.Root, name string, mode fs.FileMode) error {
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	kind := uint32(unix.S_IFIFO)
	if mode&fs.ModeCharDevice != 0 {
		kind = unix.S_IFCHR
	}
	if err := unix.Mknodat(int(d.Fd()), name, kind|uint32(mode.Perm()), 0); err != nil {
		return &fs.PathError{Op: "mknod", Path: name, Err: err}
	}
	if err := unix.Fchmodat(int(d.Fd()), name, uint32(mode.Perm()), 0); err != nil { // whatever the umask
		return &fs.PathError{Op: "chmod", Path: name, Err: err}
	}
	return nil
}

// setOpaque makes overlayfs show nothing of a folder that is in the layers below.
func setOpaque(d *os.File) error {
	const attribute = "trusted.overlay.opaque"
	if err := unix.Fsetxattr(int(d.Fd()), attribute, []byte("y"), 0); err != nil {
		return &fs.PathError{Op: "set " + attribute + " of", Path: d.Name(), Err: err}
	}
	return nil
}
