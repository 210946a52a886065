package isolate

import (
	"slices"
	"strconv"
	"strings"
)

// mountFacts are type and flags of every mount, and that what is masked is.
func (p Plan) mountFacts() Facts {
	flags := map[string]MountFlags{"/proc": NoSuid | NoDev | NoExec}
	kinds := map[string]string{"/proc": "proc"}
	f := Facts{}
	for _, step := range p.Steps {
		switch s := step.(type) {
		case MountLayer:
			f["disk"] = diskFact(s.Bytes, s.Inodes)
		case MountRoot:
			kinds["/"], flags["/"] = "overlay", s.Flags
			f["layers /"] = strconv.Itoa(len(s.Lowers))
		case BindRoot:
			kinds["/"], flags["/"] = mountKind("bind", true), s.Flags
		case Mount:
			kinds[s.Target], flags[s.Target] = s.Type, s.Flags
		case BindStep:
			kinds[s.Target], flags[s.Target] = mountKind("bind", s.IDMapped), s.Flags
		case MountVolume:
			kinds[s.Target], flags[s.Target] = mountKind("ext4", true), s.Flags
			f["disk "+s.Target] = diskFact(s.Bytes, s.Inodes)
		case MountFileSystem:
			kinds[s.Target], flags[s.Target] = mountKind(s.Type, s.IDMapped), s.Flags
		case Extend:
			kinds[s.Path], flags[s.Path] = "overlay", s.Flags
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
	for target, options := range p.mountOptions() {
		f["options "+target] = optionsFact(options)
	}
	for target, kind := range kinds {
		f["mount "+target] = mountFact(kind, flags[target])
	}
	return f
}

// mountKind is what the facts call a mount: by the type of its file system, or bind.
func mountKind(kind string, idmapped bool) string {
	if idmapped {
		kind += " (idmapped)"
	}
	return kind
}

func mountFact(kind string, flags MountFlags) string {
	return strings.TrimSpace(kind + " " + flags.String())
}

// mountOptions are the options of the file systems that the plan mounts.
func (p Plan) mountOptions() map[string][]string {
	options := make(map[string][]string)
	for _, step := range p.Steps {
		switch s := step.(type) {
		case MountRoot:
			options["/"] = s.Options
		case MountVolume:
			options[s.Target] = s.Options
		case MountFileSystem:
			options[s.Target] = s.Options
		case Extend:
			options[s.Path] = s.Options
		case Mount:
			if len(s.Options) > 0 {
				options[s.Target] = s.Options
			}
		}
	}
	return options
}

// optionsFact is a list of options in one form, whoever wrote it.
func optionsFact(options []string) string {
	list := make([]string, 0, len(options))
	for _, o := range options {
		key, value, _ := strings.Cut(o, "=")
		if n, ok := parseSize(value); ok && key == "size" {
			o = "size=" + strconv.FormatInt(n, 10)
		}
		list = append(list, o)
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}

// parseSize reads bytes as the kernel writes them (memparse in lib/cmdline.c).
func parseSize(s string) (int64, bool) {
	unit := int64(1)
	for i, suffix := range []string{"k", "m", "g"} {
		if rest, ok := strings.CutSuffix(strings.ToLower(s), suffix); ok {
			s, unit = rest, 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n * unit, err == nil
}
