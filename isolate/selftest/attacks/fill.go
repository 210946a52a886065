package attacks

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// fill fills the disk: first the number of MiB, then that of files, and then the
// folders to do it in, by each way that takes bytes or inodes. What one way takes
// makes room for the next. A way works when it gets all that it wants; the facts say
// how much it got.
func fill(r *Report, args []string) {
	mib, files := amounts(args)
	for _, dir := range args[2:] {
		path := filepath.Join(dir, "fill")
		for way, take := range bytesWays {
			got, err := take(path, mib)
			r.filled(way, path, got, err)
		}
		for way, one := range nameWays {
			got, err := manyNames(path, files, one)
			r.filled(way, path, got, err)
		}
	}
}

// filled records what one way came to, and makes room.
func (r *Report) filled(way, path string, got int, err error) {
	name := way + " in " + filepath.Dir(path)
	r.Try(name, err)
	r.Fact("got by "+name, got)
	if err := os.RemoveAll(path); err != nil {
		Fatal(err)
	}
}

// full fills the disk, as fill does, with bytes and files at once, and keeps it so.
func full(r *Report, args []string) {
	mib, files := amounts(args)
	for _, dir := range args[2:] {
		_, err := manyNames(filepath.Join(dir, "names"), files, nameWays["file"])
		r.Try("files in "+dir, err)
		_, err = writeMiB(filepath.Join(dir, "names/0"), mib, 0)
		r.Try("bytes in "+dir, err)
	}
	r.Print()
	Rest()
}

// amounts are how many MiB and files an attack wants.
func amounts(args []string) (mib, files int) {
	mib, err := strconv.Atoi(args[0])
	if err == nil {
		files, err = strconv.Atoi(args[1])
	}
	if err != nil {
		Fatal(err)
	}
	return mib, files
}

// bytesWays fill a file until they have so many MiB, and say how many they got.
var bytesWays = map[string]func(path string, mib int) (int, error){
	"write":  func(path string, mib int) (int, error) { return writeMiB(path, mib, 0) },
	"direct": func(path string, mib int) (int, error) { return writeMiB(path, mib, unix.O_DIRECT) },
	"allocate": func(path string, mib int) (int, error) {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return 0, err
		}
		defer unix.Close(fd)
		for n := range mib {
			if err := unix.Fallocate(fd, 0, int64(n)<<20, 1<<20); err != nil {
				return n, err
			}
		}
		return mib, nil
	},
}

// writeMiB writes what no file system could store in less room.
func writeMiB(path string, mib, flags int) (int, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|flags, 0o600)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	block, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // aligned
	if err != nil {
		return 0, err
	}
	defer unix.Munmap(block)
	for i := range block {
		block[i] = byte(i * i >> 4)
	}
	for n := range mib {
		for done := 0; done < len(block); {
			w, err := unix.Write(fd, block[done:])
			if err != nil {
				return n, err
			}
			done += w
		}
	}
	return mib, nil
}

// nameWays make one thing that has an inode.
var nameWays = map[string]func(path string) error{
	"file":    func(path string) error { return unix.Mknod(path, unix.S_IFREG|0o600, 0) },
	"fifo":    func(path string) error { return unix.Mkfifo(path, 0o600) },
	"symlink": func(path string) error { return unix.Symlink("x", path) },
	"folder":  func(path string) error { return unix.Mkdir(path, 0o700) },
}

// manyNames makes so many in a new folder, and says how many it got.
func manyNames(dir string, n int, one func(path string) error) (int, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return 0, err
	}
	for i := range n {
		if err := one(filepath.Join(dir, strconv.Itoa(i))); err != nil {
			return i, err
		}
	}
	return n, nil
}
