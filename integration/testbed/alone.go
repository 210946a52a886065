package testbed

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// held is a folder that stays open, and locked, until the process ends.
var held *os.File

// alone waits until no other test program of this project runs on the machine,
// and keeps others waiting until this one ends: what one finds on the host must
// not be another's. It locks a folder that every Linux has and makes no file.
func alone() (err error) {
	const folder = "/run/lock"
	if held, err = os.Open(folder); err != nil {
		return err
	}
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", folder, err)
	}
	return nil
}
