package isolate

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// mounts reads what is mounted where, and whether the masks hold.
func (r *factReader) mounts() error {
	file, err := os.Open(filepath.Join(r.dir, "mountinfo"))
	if err != nil {
		return err
	}
	defer file.Close()
	list, err := mountinfo.GetMountsFromReader(file, nil)
	if err != nil {
		return err
	}
	top := make(map[string]*mountinfo.Info) // the last one on a path is seen
	for _, m := range list {
		top[m.Mountpoint] = m
		if m.Optional != "" {
			r.f["propagation "+m.Mountpoint] = m.Optional
		}
	}
	plan := r.sandbox.plan
	for _, path := range plan.maskPaths() {
		r.f["mask "+path] = r.masked(path, top[path])
		delete(top, path)
	}
	for _, path := range plan.ReadOnly {
		r.f["read-only "+path] = r.readOnly(path, top[path])
		delete(top, path)
	}
	r.options(top)
	binds := plan.bindTargets()
	for path, m := range top {
		kind := m.FSType
		if slices.Contains(binds, path) {
			kind = "bind"
		}
		kind = mountKind(kind, slices.Contains(strings.Split(m.Options, ","), "idmapped"))
		r.f["mount "+path] = mountFact(kind, parseMountFlags(m.Options))
	}
	return nil
}

// options reads the planned options of the mounted file systems. What a file
// system does not show is at the kernel's default.
func (r *factReader) options(top map[string]*mountinfo.Info) {
	for path, planned := range r.sandbox.plan.mountOptions() {
		m := top[path]
		if m == nil {
			continue
		}
		if path == "/" {
			r.f["layers /"] = lowerLayers(m.VFSOptions)
		}
		shown := make(map[string]string)
		for o := range strings.SplitSeq(m.VFSOptions, ",") {
			key, _, _ := strings.Cut(o, "=")
			shown[key] = o
			if o == "fsync=volatile" { // volatile, since Linux 6.17
				shown["volatile"] = "volatile"
			}
		}
		got := make([]string, 0, len(planned))
		for _, o := range planned {
			key, _, _ := strings.Cut(o, "=")
			if s, ok := shown[key]; ok {
				got = append(got, s)
			} else if s := defaultOption(m.FSType, key); s != "" {
				got = append(got, s)
			}
		}
		r.f["options "+path] = optionsFact(got)
	}
}

// lowerLayers counts the lower layers of an overlay, which are named by numbers.
func lowerLayers(options string) string {
	for o := range strings.SplitSeq(options, ",") {
		if layers, ok := strings.CutPrefix(o, "lowerdir="); ok {
			return strconv.Itoa(strings.Count(layers, ":") + 1)
		}
	}
	return ""
}

// defaultOption is what the kernel does where a file system shows no such option:
// shmem_show_options in mm/shmem.c, ovl_show_options in fs/overlayfs/params.c.
func defaultOption(fstype, key string) string {
	onOff := func(parameter, on, off string) string {
		if text("/sys/module/overlay/parameters/"+parameter) == "Y" {
			return key + "=" + on
		}
		return key + "=" + off
	}
	switch fstype + " " + key {
	case "tmpfs mode":
		return "mode=1777"
	case "overlay index", "overlay metacopy":
		return onOff(key, "on", "off")
	case "overlay xino":
		return onOff("xino_auto", "auto", "off")
	case "overlay redirect_dir":
		if follow := onOff("redirect_always_follow", "follow", "nofollow"); follow != "redirect_dir=follow" {
			return onOff("redirect_dir", "on", "nofollow")
		}
		return onOff("redirect_dir", "on", "follow")
	}
	return ""
}

// bindTargets are where a bind is what is seen.
func (p Plan) bindTargets() []string {
	var targets []string
	for _, step := range p.Steps {
		switch s := step.(type) {
		case BindRoot:
			targets = append(targets, "/")
		case BindStep:
			targets = append(targets, s.Target)
		case Extend:
			targets = slices.DeleteFunc(targets, func(t string) bool { return t == s.Path })
		}
	}
	return targets
}

func parseMountFlags(options string) MountFlags {
	var flags MountFlags
	for o := range strings.SplitSeq(options, ",") {
		switch o {
		case "ro":
			flags |= ReadOnly
		case "nosuid":
			flags |= NoSuid
		case "nodev":
			flags |= NoDev
		case "noexec":
			flags |= NoExec
		}
	}
	return flags
}

// masked tells whether path is not there, or covered by the null device or an
// empty read-only folder.
func (r *factReader) masked(path string, m *mountinfo.Info) string {
	at := filepath.Join(r.dir, "root", path)
	fi, err := os.Lstat(at)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "hidden"
	case err != nil:
		return err.Error()
	case m == nil || m.FSType != "tmpfs" || parseMountFlags(m.Options)&ReadOnly == 0:
		return "visible"
	case fi.IsDir():
		if entries, err := os.ReadDir(at); err != nil || len(entries) > 0 {
			return "visible"
		}
		return "hidden"
	}
	var st unix.Stat_t
	if unix.Lstat(at, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(1, 3) {
		return "visible"
	}
	return "hidden"
}

func (r *factReader) readOnly(path string, m *mountinfo.Info) string {
	if _, err := os.Lstat(filepath.Join(r.dir, "root", path)); errors.Is(err, os.ErrNotExist) {
		return "yes" // this kernel does not have it
	}
	if m != nil && parseMountFlags(m.Options)&ReadOnly != 0 {
		return "yes"
	}
	return "no"
}
