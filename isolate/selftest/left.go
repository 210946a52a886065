package selftest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gilliam/hypervisor/isolate"
)

// nothingLeft comes last: it closes the bench and looks for what is there.
var nothingLeft = check{
	name: "nothing-left", promise: "sandboxes leave nothing on the host: no process, cgroup, mount or file",
	run: func(_ context.Context, b *bench) finding {
		dir := b.ground.dir
		if err := b.close(); err != nil {
			return broken(err)
		}
		return finding{wrong: left(b.used, dir)}
	},
}

// left is what is on the host of sandboxes that have ended, and of a folder that
// was removed.
func left(ids []string, dir string) []string {
	var found []string
	for _, id := range ids {
		for _, hierarchy := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
			cgroups, _ := filepath.Glob(hierarchy + isolate.CgroupParent + "/" + id) // the pattern is well-formed
			for _, path := range cgroups {
				found = append(found, "cgroup "+path)
			}
		}
	}
	all, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		for _, id := range ids {
			if bytes.Contains(text, []byte(id)) {
				found = append(found, fmt.Sprintf("process %s of %s", filepath.Base(filepath.Dir(path)), id))
			}
		}
	}
	if dir == "" {
		return found
	}
	if _, err := os.Lstat(dir); err == nil {
		found = append(found, "folder "+dir)
	}
	mounts, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return append(found, err.Error())
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, dir) {
			found = append(found, "mount "+strings.TrimSpace(line))
		}
	}
	return found
}
