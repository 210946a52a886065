package attacks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Environment is what must come of environment.
var Environment = Expectation{Errno: "EACCES", Want: map[string]string{"child": "CHILD=1"}}

// environment tells this process's environment and what it can see of others'.
func environment(r *Report, _ []string) {
	r.Fact("own", strings.Join(os.Environ(), "\n"))
	child := exec.Command("/proc/self/exe", "sleep")
	child.Env = []string{"CHILD=1"}
	out, err := child.StdoutPipe()
	if err != nil {
		Fatal(err)
	}
	if err := child.Start(); err != nil {
		Fatal(err)
	}
	_, _ = out.Read(make([]byte, 1)) // it runs
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		Fatal(err)
	}
	for _, path := range all {
		if path == filepath.Join("/proc", pid(), "environ") {
			continue
		}
		b, err := os.ReadFile(path)
		if path == fmt.Sprintf("/proc/%d/environ", child.Process.Pid) {
			r.Fact("child", strings.TrimRight(string(b), "\x00"))
			continue
		}
		r.Try("read "+path, err)
		if err == nil {
			r.Fact("text of "+path, string(b))
		}
	}
	_ = child.Process.Kill()
}
