package rootfs

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
)

// A staging is a folder in which something comes to be that nobody sees before all of
// it is on the disk. A rename makes it visible; what a crash leaves of it is removed by
// the next start.
type staging struct {
	in   *os.File // the folder that it is in
	path string
	root *os.Root // itself
}

// newStaging makes one in dir. Its end must follow, with the error that there was.
func newStaging(dir string) (*staging, error) {
	in, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	path, err := os.MkdirTemp(dir, stagingPrefix) // 0700
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	s := &staging{in: in, path: path}
	if s.root, err = os.OpenRoot(path); err != nil {
		return nil, errors.Join(err, s.discard(), in.Close())
	}
	return s, nil
}

// end closes the folder, and after an error removes it.
func (s *staging) end(err error) error {
	s.root.Close()
	if err != nil {
		err = errors.Join(err, s.discard())
	}
	s.in.Close()
	return err
}

func (s *staging) discard() error { return discard(s.in, filepath.Base(s.path)) }

// seal writes the record, and then all of the folder to the disk.
func (s *staging) seal(name string, record any) error {
	b, err := json.Marshal(record)
	if err != nil {
		return err
	}
	if err := s.root.WriteFile(name, append(b, '\n'), 0o600); err != nil {
		return err
	}
	top, err := s.root.Open(".")
	if err != nil {
		return err
	}
	defer top.Close()
	return syncTree(top)
}

// publish gives the folder its name beside it, unless there is something of that name.
func (s *staging) publish(name string) error {
	return renameNew(s.path, filepath.Join(s.in.Name(), name))
}
