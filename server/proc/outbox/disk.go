package outbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/server/proc/durable"
)

// A disk is where the files of the boxes are. Each call names a file; those of
// one file come one after the other.
type disk interface {
	// append adds to the end of a file. When sync is set it is durable when
	// this returns nil.
	append(name string, b []byte, sync bool) error
	// replace makes b the file, durably.
	replace(name string, b []byte) error
	// remove removes the file.
	remove(name string) error
}

// A folder is a disk.
type folder string

func (f folder) path(name string) string { return filepath.Join(string(f), name) }

func (f folder) append(name string, b []byte, sync bool) error {
	file, err := os.OpenFile(f.path(name), os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	if err == nil && sync {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

func (f folder) replace(name string, b []byte) error { return durable.Replace(f.path(name), b) }

func (f folder) remove(name string) error {
	if err := os.Remove(f.path(name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil // it was never written
}

const suffix = ".log"

func fileOf(proc string) string { return proc + suffix }

// maxFile bounds a file that is read. Ours are anew long before.
const maxFile = 64 << 20

// A found file is what is in the folder.
type found struct {
	name   string
	box    *box    // nil: nothing can be read of it
	damage []error // what cannot be read of it
	torn   bool    // its last line has no end
}

// why says in words what is wrong with the file; of much of it, the beginning.
func (f found) why() string {
	var texts []string
	for _, d := range f.damage[:min(len(f.damage), 10)] {
		texts = append(texts, d.Error())
	}
	if more := len(f.damage) - len(texts); more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, "; ")
}

// load reads every file. What a crash has left of a file that was being written
// is removed.
func (f folder) load() ([]found, error) {
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return nil, err
	}
	var all []found
	for _, e := range entries {
		switch {
		case !e.Type().IsRegular():
			all = append(all, found{name: e.Name(), damage: []error{errors.New("it is not a file")}})
		case durable.IsTemp(e.Name()):
			if err := f.remove(e.Name()); err != nil {
				return nil, err
			}
		default:
			all = append(all, f.read(e.Name()))
		}
	}
	return all, nil
}

// read reads one file as far as that can be done.
func (f folder) read(name string) found {
	proc, ok := strings.CutSuffix(name, suffix)
	if !ok || proc == "" {
		return found{name: name, damage: []error{errors.New("it has another name than our files")}}
	}
	st, err := os.Lstat(f.path(name))
	if err == nil && st.Size() > maxFile {
		err = fmt.Errorf("it has %d bytes", st.Size())
	}
	if err != nil {
		return found{name: name, damage: []error{err}}
	}
	b, err := os.ReadFile(f.path(name))
	if err != nil {
		return found{name: name, damage: []error{err}}
	}
	return parse(name, proc, b)
}

// parse makes the box of a file's content.
func parse(name, proc string, content []byte) found {
	lines, damage, torn := decode(content)
	b := newBox()
	for _, l := range lines {
		if err := b.apply(l); err != nil {
			damage = append(damage, err)
		}
	}
	switch {
	case b.proc == "":
		return found{name: name, damage: append(damage, errNoBox)}
	case b.proc != proc:
		return found{name: name, damage: append(damage, fmt.Errorf("it is the box of %q", b.proc))}
	}
	anew, err := encode(b.lines()...)
	if err != nil {
		return found{name: name, damage: append(damage, err)}
	}
	b.stale = torn || len(damage) > 0
	b.size, b.base = len(content), len(anew)
	return found{name, b, damage, torn}
}

// setAside puts a file where a person can look at it, and leaves the file that
// is there, too, when it is still of use.
func (f folder) setAside(aside, name string, keep bool) (to string, err error) {
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return "", err
	}
	to = filepath.Join(aside, fmt.Sprintf("%s.%d", name, time.Now().UnixNano()))
	if keep {
		return to, os.Link(f.path(name), to)
	}
	return to, os.Rename(f.path(name), to)
}
