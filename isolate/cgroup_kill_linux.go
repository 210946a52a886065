package isolate

import (
	"os"
	"slices"

	"github.com/opencontainers/cgroups"
)

// killCgroup sends SIGKILL to every process in the cgroup, of which I/O may be
// limited. With cgroup.kill nothing can fork past it (cgroup-v2.rst); without, it
// is done until no process is left, and the death of PID 1 of the sandbox ends the
// rest anyway.
func killCgroup(m cgroups.Manager, limited bool) {
	if limited {
		liftIO(m)
	}
	if dir := m.Path(""); dir != "" && cgroups.WriteFile(dir, "cgroup.kill", "1") == nil {
		return
	}
	for range 10 {
		pids, err := m.GetAllPids()
		if err != nil || len(pids) == 0 {
			return
		}
		for part := range slices.Chunk(pids, 128) { // each of them is an open file
			killListed(m, part)
		}
	}
}

// killListed sends SIGKILL to those that were listed in the cgroup and are in it still.
// By the time that it is read a number may be that of a process which has nothing to do
// with us. So it is held (pidfd_open(2)), and then looked for again: if it is not the one
// that is listed now, it has ended.
func killListed(m cgroups.Manager, pids []int) {
	held := make(map[int]*os.Process, len(pids))
	for _, pid := range pids {
		if p, err := os.FindProcess(pid); err == nil {
			held[pid] = p
		}
	}
	now, err := m.GetAllPids()
	for pid, p := range held {
		if err == nil && slices.Contains(now, pid) {
			_ = p.Kill() // it may have ended
		}
		_ = p.Release()
	}
}
