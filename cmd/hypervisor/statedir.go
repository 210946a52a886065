package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/server/proc/durable"
)

// makeStateDir makes the state folder, or takes an existing one over. The tree
// holds secrets and the apps' files: no one but us may look into it.
func makeStateDir(dir string) error {
	err := os.MkdirAll(filepath.Dir(dir), 0o755)
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	st, err := os.Stat(dir)
	switch {
	case err != nil:
		return err
	case !st.IsDir():
		return fmt.Errorf("state folder %s: is not a folder", dir)
	case st.Mode().Perm()&0o077 == 0:
		return nil
	}
	if err := looksOurs(dir, st); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// looksOurs guards against closing a folder that others use, such as /tmp or /.
func looksOurs(dir string, st fs.FileInfo) error {
	var sys unix.Stat_t
	if err := unix.Stat(dir, &sys); err != nil {
		return &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	ours := len(entries) == 0
	for _, e := range entries {
		switch e.Name() {
		case "lock", "token", "template", "templates":
			ours = true
		}
	}
	if !ours || int(sys.Uid) != os.Geteuid() || st.Mode().Perm()&0o002 != 0 {
		return fmt.Errorf("state folder %s: is open to others (mode %04o) and does not look like ours: choose another, or chmod 700 it", dir, st.Mode().Perm())
	}
	return nil
}

// lockState locks the folder for as long as the file is open. The file says who
// has it, for the next who tries: only the lock itself is to be trusted.
func lockState(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(f); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, inUse(dir, f)
		}
		return nil, &fs.PathError{Op: "flock", Path: path, Err: err}
	}
	// A disk that is full keeps nobody from starting.
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return f, nil
}

// lockTime is how long a lock may outlive who held it: a child that it was forking
// when it was killed has a copy of the descriptor until it executes.
const lockTime = 5 * time.Second

// flock locks the file. It waits for the lock of a process that has ended, and for
// no other.
func flock(f *os.File) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(lockTime); ; <-tick.C {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			return err
		}
		if pid := holder(f); pid == 0 || unix.Kill(pid, 0) != unix.ESRCH {
			return err
		}
	}
}

// holder is the process that has locked the file last, or 0.
func holder(lock *os.File) int {
	b := make([]byte, 16)
	n, _ := lock.ReadAt(b, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil || pid < 1 {
		return 0
	}
	return pid
}

// inUse says who has locked the folder, and what to do.
func inUse(dir string, lock *os.File) error {
	who, stop := "another hypervisor", "stop it"
	if pid := holder(lock); pid > 0 {
		who, stop = fmt.Sprintf("another hypervisor, process %d,", pid), fmt.Sprintf("stop it with kill %d", pid)
	}
	return fmt.Errorf("%s uses the state folder %s (it holds the lock %s): %s, or with systemctl stop where it is a service, or give this one another --state-dir",
		who, dir, lock.Name(), stop)
}

// minToken is the shortest token that is taken: 128 bits in hexadecimal.
const minToken = 32

// stateToken reads the token that TCP clients must show, or makes it. The
// caller holds the lock.
func stateToken(dir string) (string, error) {
	path := filepath.Join(dir, "token")
	token, err := readToken(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return token, err
	}
	b := make([]byte, 32)
	rand.Read(b) // never fails
	token = hex.EncodeToString(b)
	return token, durable.Replace(path, []byte(token+"\n"))
}

func readToken(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	if len(token) < minToken || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("token %s: must be one word of at least %d characters; remove the file, and the next start of the daemon makes a new one", path, minToken)
	}
	return token, nil
}
