package isolate

import (
	"strings"

	"github.com/opencontainers/cgroups"
)

// throttleFiles are cgroup v1's files of what cgroup v2 has as keys of io.max
// (cgroup-v1/blkio-controller.rst).
var throttleFiles = map[string]string{
	"rbps":  "blkio.throttle.read_bps_device",
	"wbps":  "blkio.throttle.write_bps_device",
	"riops": "blkio.throttle.read_iops_device",
	"wiops": "blkio.throttle.write_iops_device",
}

// ioController is the name of the controller's own hierarchy: v2 has but one.
func (m CgroupMode) ioController() string {
	if m == CgroupV2 {
		return ""
	}
	return "blkio"
}

// liftIO takes the limits of I/O off a cgroup. A process cannot be killed while
// its I/O is held back: with a low limit and much of it under way that would be
// minutes. Whoever calls it kills next. What cannot be lifted stays, and is only
// slower to end.
func liftIO(m cgroups.Manager) {
	if dir := m.Path(""); dir != "" {
		for _, line := range ioLines(dir, "io.max") {
			device, _, _ := strings.Cut(line, " ")
			_ = cgroups.WriteFile(dir, "io.max", device+" rbps=max wbps=max riops=max wiops=max")
		}
	}
	if dir := m.Path("blkio"); dir != "" {
		for _, file := range throttleFiles {
			for _, line := range ioLines(dir, file) {
				device, _, _ := strings.Cut(line, " ")
				_ = cgroups.WriteFile(dir, file, device+" 0")
			}
		}
	}
}

// ioLines are the lines of a file that may not be there.
func ioLines(dir, file string) []string {
	content, err := cgroups.ReadFile(dir, file)
	if err != nil {
		return nil
	}
	return nonEmptyLines(content)
}

func nonEmptyLines(content string) []string {
	return strings.FieldsFunc(content, func(r rune) bool { return r == '\n' })
}
