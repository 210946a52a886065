package main

import (
	"strings"

	"golang.org/x/sys/unix"
)

// defaultPath is where programs are looked for when the app has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// lookPath finds the program as execvp(3) does: as it is when the name holds a
// slash, relative to dir, where the program starts; else along the PATH of env.
func lookPath(name, dir string, env []string) (string, error) {
	if name == "" {
		return "", unix.ENOENT
	}
	if strings.Contains(name, "/") {
		if name[0] == '/' {
			return name, executable(name)
		}
		return name, executable(dir + "/" + name)
	}
	path := defaultPath
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, "PATH="); ok && value != "" {
			path = value
		}
	}
	var found error = unix.ENOENT
	for dir := range strings.SplitSeq(path, ":") {
		if dir == "" || dir[0] != '/' {
			continue // a relative entry would mean the app's working directory
		}
		file := dir + "/" + name
		switch err := executable(file); err {
		case nil:
			return file, nil
		case unix.EACCES:
			found = err
		}
	}
	return "", found
}

// executable checks that path is a regular file that may be executed, and that
// it is not reached through /proc: /proc/self/exe would be sandbox-init itself.
func executable(path string) error {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	file, err := unix.Openat2(unix.AT_FDCWD, path, how)
	if err != nil {
		return err
	}
	defer unix.Close(file)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(file, &fs); err != nil {
		return err
	}
	if fs.Type == unix.PROC_SUPER_MAGIC {
		return unix.EACCES
	}
	var st unix.Stat_t
	if err := unix.Fstat(file, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o111 == 0 {
		return unix.EACCES
	}
	return nil
}
