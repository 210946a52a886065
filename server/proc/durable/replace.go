package durable

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// tempPrefix begins the name of a file that is being written.
const tempPrefix = ".new-"

// Replace makes b the content of the file at path, mode 0600. Where it fails,
// the file is as it was.
func Replace(path string, b []byte) error {
	if err := replace(path, b, (*os.File).Sync); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Swap is a Replace that does not wait for the disk: the end of the process does
// not harm it, but after a crash of the machine the content may be the old one.
func Swap(path string, b []byte) error {
	return replace(path, b, func(*os.File) error { return nil })
}

func replace(path string, b []byte, sync func(*os.File) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tempPrefix+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, sync(f), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// IsTemp tells whether a name is that of a file that Replace was writing. One
// that is found at start was left by a crash and holds nothing of value.
func IsTemp(name string) bool { return strings.HasPrefix(name, tempPrefix) }

// SyncDir makes the names in a folder durable, as fsync(2) demands.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
