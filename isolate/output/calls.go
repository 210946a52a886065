package output

import "golang.org/x/sys/unix"

// splice moves up to n bytes from a pipe to a file, at an offset unless that is
// negative, and returns how many it moved.
func splice(pipe, file int, at int64, n int) (int, error) {
	var offset *int64
	if at >= 0 {
		offset = &at
	}
	moved := 0
	for moved < n {
		m, err := unix.Splice(pipe, nil, file, offset, n-moved, unix.SPLICE_F_NONBLOCK)
		if err == unix.EINTR {
			continue
		}
		if err != nil || m == 0 {
			return moved, err
		}
		moved += int(m)
	}
	return moved, nil
}

func pwrite(f int, b []byte, at int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(f, b, at)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b, at = b[n:], at+int64(n)
	}
	return nil
}

// pread reads as much of b as there is.
func pread(f int, b []byte, at int64) (int, error) {
	n := 0
	for n < len(b) {
		m, err := unix.Pread(f, b[n:], at+int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, err
		}
		if m == 0 {
			return n, nil
		}
		n += m
	}
	return n, nil
}

func ignoringEINTR(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

func now(clock int32) int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(clock, &t)
	return t.Nano()
}
