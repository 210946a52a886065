package isolate

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Facts are what is asked of the kernel for a sandbox, or what it says: values
// as text, by names such as "rlimit nofile" or "mount /proc".
type Facts map[string]string

// A Difference is a fact that is not as the plan has it.
type Difference struct {
	Fact string `json:"fact"`
	Want string `json:"want"` // empty: the plan has no such thing
	Got  string `json:"got"`  // empty: the kernel shows no such thing
}

func (d Difference) String() string {
	return fmt.Sprintf("%s: want %q, got %q", d.Fact, d.Want, d.Got)
}

// Diff lists where the facts differ, sorted by name.
func (want Facts) Diff(got Facts) []Difference {
	var list []Difference
	for name, w := range want {
		if g := got[name]; g != w {
			list = append(list, Difference{name, w, g})
		}
	}
	for name, g := range got {
		if _, ok := want[name]; !ok {
			list = append(list, Difference{name, "", g})
		}
	}
	slices.SortFunc(list, func(a, b Difference) int { return strings.Compare(a.Fact, b.Fact) })
	return list
}

// Facts are what the kernel must say of the plan's program while it runs on h.
// It is pure, as the plan is.
func (p Plan) Facts(h Host) Facts {
	f := Facts{
		"hostname":      p.Hostname,
		"uid_map":       fmt.Sprintf("0 %d %d", p.IDs.Base, p.IDs.Size),
		"gid_map":       fmt.Sprintf("0 %d %d", p.IDs.Base, p.IDs.Size),
		"uid":           fourTimes(p.IDs.Base + p.User.UID),
		"gid":           fourTimes(p.IDs.Base + p.User.GID),
		"groups":        "none",
		"no_new_privs":  "1",
		"seccomp":       "2", // SECCOMP_MODE_FILTER
		"filters":       "1",
		"init":          p.initFact(),
		"umask":         fmt.Sprintf("%04o", p.Umask),
		"oom_score_adj": strconv.Itoa(p.OOMScoreAdj),
	}
	maps.Copy(f, p.capabilityFacts())
	if p.AppArmor != "" {
		f["apparmor"] = profileFact(p.AppArmor)
	}
	if h.Keys {
		f["session keyring"] = "own"
	}
	for _, ns := range namespaceNames {
		f["namespace "+ns] = "own"
	}
	if p.Network == NetworkHost {
		f["namespace net"] = "host"
	}
	for _, r := range p.Rlimits {
		f["rlimit "+r.Name] = fmt.Sprintf("%d:%d", r.Soft, r.Hard)
	}
	maps.Copy(f, p.mountFacts())
	maps.Copy(f, p.Cgroup.facts(h))
	return f
}

var (
	capabilitySets = []string{"inheritable", "permitted", "effective", "bounding", "ambient"}
	namespaceNames = []string{"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"}
)

// initCapabilities are what sandbox-init keeps, beside those of the program, to
// start programs as their user and to signal them.
var initCapabilities = []string{"CAP_SETUID", "CAP_SETGID", "CAP_KILL"}

func (p Plan) initFact() string {
	mask := fmt.Sprintf("%016x", mustMask(initCapabilities)|mustMask(p.Capabilities))
	return initFact(mask, mask, "1", "2", "1")
}

func initFact(permitted, effective, noNewPrivs, seccomp, filters string) string {
	return fmt.Sprintf("permitted %s effective %s no_new_privs %s seccomp %s filters %s", permitted, effective, noNewPrivs, seccomp, filters)
}

const noCapabilities = "0000000000000000"

func fourTimes(id uint32) string { return fmt.Sprintf("%d %d %d %d", id, id, id, id) }

// noLimit is how facts say that there is no limit.
const noLimit = "max"

// facts are the limits as each version of the controllers shows them.
func (c Cgroup) facts(h Host) Facts {
	f := Facts{
		"cgroup":        c.Path,
		"cgroup memory": strconv.FormatInt(c.Memory, 10),
		"cgroup pids":   strconv.FormatInt(c.Pids, 10),
		"cgroup cpu":    noLimit,
	}
	if c.OOMGroup {
		f["cgroup oom.group"] = "1"
	}
	if c.CPUQuota > 0 {
		f["cgroup cpu"] = fmt.Sprintf("%d/%d", c.CPUQuota, c.CPUPeriod)
	}
	switch {
	case h.SwapLimit:
		f["cgroup memory+swap"] = strconv.FormatInt(c.MemorySwap, 10)
	case h.Cgroup != CgroupV2:
		f["cgroup swappiness"] = "0"
	}
	if c.TCPBuffers > 0 {
		f["cgroup tcp"] = strconv.FormatInt(c.TCPBuffers, 10)
	}
	if h.Cgroup == CgroupV2 {
		f["cgroup cpu.weight"] = strconv.FormatInt(c.CPUWeight, 10)
	} else {
		f["cgroup cpu.shares"] = strconv.FormatUint(c.shares(), 10)
	}
	if h.IO {
		f["cgroup io.max"] = noLimit
		if c.IO.limited() {
			f["cgroup io.max"] = c.IO.String()
		}
	}
	if c.IO.Weight > 0 {
		f["cgroup io.weight"] = strconv.FormatInt(c.IO.kernelWeight(), 10)
	}
	if h.Cgroup != CgroupV2 { // v2's are a program that cannot be read back
		var rules []string
		for _, d := range c.Devices {
			rules = append(rules, d.String())
		}
		slices.Sort(rules)
		f["cgroup devices"] = strings.Join(rules, ", ")
	}
	return f
}
