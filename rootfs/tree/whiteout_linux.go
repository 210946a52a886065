package tree

import (
	"errors"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// The names that take away (OCI image-spec, layer.md, "Whiteouts").
const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq" // all that is in its folder
	whiteoutMeta   = ".wh..wh."     // others of aufs, which are about nothing
)

// whiteout takes away what layers before this one have made.
func (w *Writer) whiteout(name, base string) error {
	dir, err := w.open(path.Dir(name))
	if gone(err) {
		return nil // nothing is there to be taken away
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	switch {
	case base == whiteoutOpaque:
		return w.sweep(dir)
	case strings.HasPrefix(base, whiteoutMeta):
		return nil
	}
	victim := strings.TrimPrefix(base, whiteoutPrefix)
	if victim == "" || victim == "." || victim == ".." {
		return errors.New("a whiteout of no name")
	}
	return w.takeAway(dir, victim)
}

// sweep takes away all in dir that this layer has not made.
func (w *Writer) sweep(dir *os.File) error {
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := w.takeAway(dir, name); err != nil {
			return err
		}
	}
	return nil
}

// takeAway removes name from dir. Of a folder that this layer has made or changed
// only what it has not made goes.
func (w *Writer) takeAway(dir *os.File, name string) error {
	st, there, err := look(dir, name)
	if err != nil || !there {
		return err
	}
	if !w.layer[inode{st.Dev, st.Ino}] {
		w.leave() // it may be what is removed
		return remove(dir, name)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	sub, err := openAt(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer sub.Close()
	return w.sweep(sub)
}
