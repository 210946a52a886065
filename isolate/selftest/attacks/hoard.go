package attacks

import (
	"os"

	"golang.org/x/sys/unix"
)

// Anonymous takes as many bytes of memory and keeps them.
func Anonymous(size int) error {
	m, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	for i := 0; i < size; i += os.Getpagesize() {
		m[i] = 1
	}
	return nil
}
