package isolate

import (
	"fmt"
	"math"
	"path"
	"regexp"
	"strings"
)

var validID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

// validate says what is wrong with s, as a [SpecError].
func (s Spec) validate() error {
	bad := func(field, detail string) error { return &SpecError{field, detail} }
	switch {
	case !validID.MatchString(s.ID):
		return bad("ID", "must be 1 to 64 of a-z, 0-9 and -")
	case len(s.Hostname) > 64:
		return bad("Hostname", "must be at most 64 bytes")
	case strings.ContainsFunc(s.Hostname, func(r rune) bool { return r <= ' ' || r > '~' }):
		return bad("Hostname", "must be printable ASCII without spaces")
	case len(s.Args) == 0 || s.Args[0] == "":
		return bad("Args", "must name a program")
	case under(path.Clean(s.Args[0]), "/proc"):
		return bad("Args", "a program below /proc could be the hypervisor's own")
	case hasNUL(s.Args):
		return bad("Args", "must not hold a NUL byte")
	case hasNUL(s.Env):
		return bad("Env", "must not hold a NUL byte")
	case s.Dir != "" && !cleanAbs(s.Dir):
		return bad("Dir", "must be a clean absolute path")
	case under(s.Dir, "/proc"):
		return bad("Dir", "must not lie below /proc")
	case s.IDs.Base == 0:
		return bad("IDs", "must not begin at 0: that would map the host's root")
	case s.IDs.Size == 0 || uint64(s.IDs.Base)+uint64(s.IDs.Size) > math.MaxInt32:
		return bad("IDs", "must hold at least one id and end below 2^31")
	case (s.User.UID == 0) != (s.User.GID == 0):
		return bad("User", "must be root in both uid and gid, or in neither")
	case s.User.UID >= s.IDs.Size || s.User.GID >= s.IDs.Size:
		return bad("User", "must lie in the range of ids")
	}
	if err := s.validateRoot(); err != nil {
		return err
	}
	if _, err := capabilityMask(s.Capabilities); err != nil {
		return bad("Capabilities", err.Error())
	}
	if err := s.validateEnv(); err != nil {
		return err
	}
	if s.Network != "" && s.Network != NetworkNone && s.Network != NetworkHost {
		return bad("Network", `must be "none" or "host"`)
	}
	if err := s.Limits.Check(); err != nil {
		return err
	}
	return s.validateMounts()
}

// validateRoot wants a template with a layer, or a tree and neither.
func (s Spec) validateRoot() error {
	switch {
	case s.Tree != "" && (!cleanAbs(s.Tree) || s.Tree == "/"):
		return &SpecError{"Tree", "must be a clean absolute path and not /"}
	case s.Tree != "" && (s.Template != "" || len(s.Lowers) > 0 || s.Layer != Layer{}):
		return &SpecError{"Tree", "is in place of Template, Lowers and Layer: must not stand beside them"}
	case s.Tree != "":
		return nil
	case !cleanAbs(s.Template) || s.Template == "/":
		return &SpecError{"Template", "must be a clean absolute path and not /"}
	case !validLowers(s.lowers()):
		return &SpecError{"Lowers", fmt.Sprintf("must be clean absolute paths, all different, at most %d with the template", maxLowers)}
	}
	return s.validateLayer()
}

// validateLayer wants two folders, or an image and what its file system may hold.
func (s Spec) validateLayer() error {
	switch l := s.Layer; {
	case l.Image != "" && (l.Upper != "" || l.Work != ""):
		return &SpecError{"Layer", "must be an image or two folders, not both"}
	case l.Image != "" && (!cleanAbs(l.Image) || path.Dir(l.Image) == "/"):
		return &SpecError{"Layer", "the image must be a clean absolute path, in a folder of its own"}
	case l.Image != "" && s.Limits.Disk == 0:
		return &SpecError{"Limits.Disk", "must be given: the layer is an image"}
	case l.Image == "" && s.Limits.Disk != 0:
		return &SpecError{"Limits.Disk", "needs a layer that is an image"}
	case l.Image == "" && (!cleanAbs(l.Upper) || !cleanAbs(l.Work)):
		return &SpecError{"Layer", "must be two clean absolute paths"}
	}
	return nil
}

// maxLowers is how many lower layers overlayfs takes (OVL_MAX_STACK in
// fs/overlayfs/params.h).
const maxLowers = 500

// validLowers tells whether an overlay can be made of these layers: it takes no
// folder twice.
func validLowers(all []string) bool {
	seen := make(map[string]bool, len(all))
	for _, dir := range all {
		if !cleanAbs(dir) || dir == "/" || seen[dir] {
			return false
		}
		seen[dir] = true
	}
	return len(all) <= maxLowers
}

func (s Spec) validateEnv() error {
	for _, kv := range s.Env {
		if name, _, ok := strings.Cut(kv, "="); !ok || name == "" {
			return &SpecError{"Env", "must be KEY=value"}
		}
	}
	return nil
}

func cleanAbs(p string) bool {
	return strings.HasPrefix(p, "/") && path.Clean(p) == p && !strings.ContainsRune(p, 0)
}

// under tells whether the clean path p is dir or lies in it.
func under(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, dir+"/")
}

func hasNUL(list []string) bool {
	for _, s := range list {
		if strings.ContainsRune(s, 0) {
			return true
		}
	}
	return false
}
