package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gilliam/hypervisor/isolate"
)

// BindDirs are the folders of the host below which procs may be shown what is there,
// read-only.
type BindDirs struct{ dirs []bindDir }

type bindDir struct{ given, real string }

// kernelDirs are never shown: what is in them is not the host's to give.
var kernelDirs = []string{"/proc", "/sys", "/dev"}

// OpenBindDirs checks the folders that an operator allows, and finds out where they
// really are. None of them may hold, or lie in, one that is private: the
// hypervisor's own.
func OpenBindDirs(dirs, private []string) (*BindDirs, error) {
	var all BindDirs
	for _, given := range dirs {
		if !filepath.IsAbs(given) {
			return nil, invalid("folder %s: must be an absolute path", quote(given))
		}
		real, err := filepath.EvalSymlinks(given)
		if err != nil {
			return nil, err
		}
		if fi, err := os.Stat(real); err != nil || !fi.IsDir() {
			return nil, errors.Join(err, invalid("%s: must be a folder", given))
		}
		if real == "/" {
			return nil, invalid("%s: must not be /", given)
		}
		for _, dir := range slices.Concat(kernelDirs, private) {
			if own, err := filepath.EvalSymlinks(dir); err == nil {
				dir = own
			}
			if isolate.Nested(real, dir) {
				return nil, invalid("%s: must neither hold nor lie in %s", given, dir)
			}
		}
		all.dirs = append(all.dirs, bindDir{filepath.Clean(given), real})
	}
	return &all, nil
}

// Check finds out how source, which a client has named, can be shown: within which
// folder. Whether it is there, and whether links lead out of that folder, is looked
// at now, so that the client can be told, and again when it is mounted. The error is
// an [ErrInvalid].
func (b *BindDirs) Check(source string) (isolate.Bind, error) {
	if !filepath.IsAbs(source) || filepath.Clean(source) != source || len(source) > maxURL || strings.ContainsRune(source, 0) {
		return isolate.Bind{}, invalid("must be an absolute path without \"..\"")
	}
	var allowed []string
	for _, dir := range b.dirs {
		rest, ok := strings.CutPrefix(source+"/", dir.given+"/")
		if !ok {
			allowed = append(allowed, dir.given)
			continue
		}
		if err := lookWithin(dir.real, rest); err != nil {
			return isolate.Bind{}, err
		}
		return isolate.Bind{Source: filepath.Join(dir.real, rest), Within: dir.real}, nil
	}
	if len(allowed) == 0 {
		return isolate.Bind{}, invalid("the operator allows no folder of this host to be shown (--allow-bind)")
	}
	return isolate.Bind{}, invalid("must be %s, which the operator allows, or lie in it", strings.Join(allowed, " or "))
}

// lookWithin tells why what is at path in dir cannot be shown.
func lookWithin(dir, path string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return invalid("%v", err)
	}
	defer root.Close()
	fi, err := root.Stat(filepath.Clean(path))
	var pe *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return invalid("there is nothing there on this host")
	case errors.As(err, &pe):
		return invalid("%v: links must not lead out of the folder that the operator allows", pe.Err)
	case err != nil:
		return err
	case !fi.IsDir() && !fi.Mode().IsRegular():
		return invalid("must be a file or a folder, not a %s", kindOf(fi.Mode()))
	}
	return nil
}
