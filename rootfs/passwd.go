package rootfs

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// The ids that useradd(8) gives to people on Debian: UID_MIN and UID_MAX of
// login.defs(5), short of 65534, which is nobody.
const (
	minID = 1000
	maxID = 60000

	// maxMappedID is the last id of a sandbox's range of 65,536 that may be a
	// user of its own: 65534 is who unmapped ids are shown as.
	maxMappedID = 65533
)

// An account is a line of passwd(5), as far as it matters here.
type account struct {
	UID, GID uint32
	Home     string
}

// findAccount looks a user up as getpwnam(3) does: the first line wins. Numbers
// are strict: no sign, no overflow, never a name instead.
func findAccount(passwd []byte, name string) (account, bool, error) {
	for line := range strings.Lines(string(passwd)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if f[0] != name {
			continue
		}
		if len(f) != 7 {
			return account{}, false, fmt.Errorf("user %s has %d fields instead of 7", name, len(f))
		}
		uid, err := parseID(f[2])
		if err != nil {
			return account{}, false, fmt.Errorf("uid of user %s: %w", name, err)
		}
		gid, err := parseID(f[3])
		if err != nil {
			return account{}, false, fmt.Errorf("gid of user %s: %w", name, err)
		}
		return account{UID: uid, GID: gid, Home: f[5]}, true, nil
	}
	return account{}, false, nil
}

// parseID reads the id of an ordinary user.
func parseID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s is not a number", quote(s))
	case n == 0:
		return 0, fmt.Errorf("0 is root's: apps run as an ordinary user")
	case n > maxMappedID:
		return 0, fmt.Errorf("%d is above %d, the last id that a sandbox has", n, maxMappedID)
	}
	return uint32(n), nil
}

// accounts are the files that name users and groups. A file that the tree does
// not have is nil.
type accounts struct {
	passwd, group, shadow, gshadow []byte
}

// add is what "useradd -d HOME NAME" does: a user and a group of that name, with
// the first id from 1000 on that is neither a user's nor a group's, and a locked
// password. A user that is there is left alone.
func (a accounts) add(name, home string) (accounts, error) {
	if _, ok, err := findAccount(a.passwd, name); ok || err != nil {
		return a, err
	}
	uid, err := a.freeID()
	if err != nil {
		return a, err
	}
	gid := strconv.Itoa(uid)
	if g, ok := field(a.group, name, 2); ok {
		if _, err := parseID(g); err != nil {
			return a, fmt.Errorf("gid of group %s: %w", name, err)
		}
		gid = g
	} else {
		a.group = appendLine(a.group, name+":x:"+gid+":")
	}
	if _, ok := field(a.gshadow, name, 0); !ok && a.gshadow != nil {
		a.gshadow = appendLine(a.gshadow, name+":!::")
	}
	// The day of the last change stays empty: two runs give the same template.
	if _, ok := field(a.shadow, name, 0); !ok && a.shadow != nil {
		a.shadow = appendLine(a.shadow, name+":!::0:99999:7:::")
	}
	a.passwd = appendLine(a.passwd, fmt.Sprintf("%s:x:%d:%s::%s:/bin/sh", name, uid, gid, home))
	return a, nil
}

// freeID is the first number from 1000 on that no user and no group has.
func (a accounts) freeID() (int, error) {
	used := map[string]bool{}
	for _, file := range [][]byte{a.passwd, a.group} {
		for line := range strings.Lines(string(file)) {
			if f := strings.Split(strings.TrimSuffix(line, "\n"), ":"); len(f) > 2 {
				used[f[2]] = true
			}
		}
	}
	for id := minID; id < maxID; id++ {
		if !used[strconv.Itoa(id)] {
			return id, nil
		}
	}
	return 0, fmt.Errorf("every id from %d to %d is taken", minID, maxID-1)
}

// field is field n of the first line whose field 0 is name.
func field(file []byte, name string, n int) (string, bool) {
	for line := range strings.Lines(string(file)) {
		if f := strings.Split(strings.TrimSuffix(line, "\n"), ":"); f[0] == name && len(f) > n {
			return f[n], true
		}
	}
	return "", false
}

// appendLine adds a line, whether or not the last one was ended.
func appendLine(file []byte, line string) []byte {
	out := bytes.Clone(file)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	return append(append(out, line...), '\n')
}
