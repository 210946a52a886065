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
		"umask":         fmt.Sprintf("%04o", p.Umask),
		"oom_score_adj": strconv.Itoa(p.OOMScoreAdj),
	}
	maps.Copy(f, p.capabilityFacts())
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

const noCapabilities = "0000000000000000"

func fourTimes(id uint32) string { return fmt.Sprintf("%d %d %d %d", id, id, id, id) }

// mountFacts are type and flags of every mount, and that what is masked is.
func (p Plan) mountFacts() Facts {
	flags := map[string]MountFlags{"/proc": NoSuid | NoDev | NoExec}
	kinds := map[string]string{"/proc": "proc"}
	f := Facts{}
	for _, step := range p.Steps {
		switch s := step.(type) {
		case MountRoot:
			kinds["/"], flags["/"] = "overlay", s.Flags
		case Mount:
			kinds[s.Target], flags[s.Target] = s.Type, s.Flags
		case BindStep:
			kinds[s.Target], flags[s.Target] = "bind", s.Flags
		case Protect:
			flags[s.Path] |= s.Flags
		case Mask:
			f["mask "+s.Path] = "hidden"
		}
	}
	for _, path := range p.Masked {
		f["mask "+path] = "hidden"
	}
	for _, path := range p.ReadOnly {
		f["read-only "+path] = "yes"
	}
	if p.Cgroup.View {
		kinds["/sys/fs/cgroup"], flags["/sys/fs/cgroup"] = "cgroup2", ReadOnly|NoSuid|NoDev|NoExec
	}
	for target, kind := range kinds {
		f["mount "+target] = mountFact(kind, flags[target])
	}
	return f
}

func mountFact(kind string, flags MountFlags) string {
	return strings.TrimSpace(kind + " " + flags.String())
}

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
			minor := "*"
			if d.Minor >= 0 {
				minor = strconv.FormatInt(d.Minor, 10)
			}
			rules = append(rules, fmt.Sprintf("c %d:%s rw", d.Major, minor))
		}
		slices.Sort(rules)
		f["cgroup devices"] = strings.Join(rules, ", ")
	}
	return f
}
