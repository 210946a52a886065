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
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tempPrefix+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return SyncDir(dir)
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
