package debian

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/gilliam/hypervisor/rootfs/debian/control"
)

// Triggers (deb-triggers(5)): what packages are interested in is in the database,
// too. For names without a slash dpkg activates them itself when it configures a
// package; files are our business, for it is we who unpack them.

const (
	fileTriggers = adminDir + "/triggers/File"     // lines of path and package
	pending      = adminDir + "/triggers/Unincorp" // what dpkg has not looked at yet
)

// dpkgsOwn are files in the folder of triggers that are none.
var dpkgsOwn = []string{"File", "Lock", "Unincorp"}

// An interest of a package in a trigger.
type interest struct{ trigger, pkg string }

// recordTriggers adds the interests of packages, and activates those in files that
// these packages have brought, of packages that are configured already.
func (j *job) recordTriggers(list []*unpacked) error {
	old, err := j.fileInterests()
	if err != nil {
		return err
	}
	files := map[string]string{} // content of the file by its name
	for _, u := range list {
		for _, i := range interests(u) {
			name, line := adminDir+"/triggers/"+i.trigger, i.pkg
			if strings.HasPrefix(i.trigger, "/") {
				name, line = fileTriggers, i.trigger+" "+i.pkg
			}
			files[name] += line + "\n"
		}
	}
	for name, text := range files {
		before, err := readFile(j.root, name, maxStatus)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := j.write(name, []byte(before+text), 0o644); err != nil {
			return err
		}
	}
	return j.activate(old, list)
}

// interests are those that a package's triggers file has.
func interests(u *unpacked) []interest {
	var list []interest
	for line := range strings.Lines(string(u.script("triggers"))) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) != 2 || !strings.HasPrefix(f[1], "/") && !control.ValidName(strings.ToLower(f[1])) || slices.Contains(dpkgsOwn, f[1]) {
			continue
		}
		switch f[0] {
		case "interest", "interest-await":
			list = append(list, interest{f[1], u.infoName()})
		case "interest-noawait":
			list = append(list, interest{f[1], u.infoName() + "/noawait"})
		}
	}
	return list
}

// fileInterests reads those in files.
func (j *job) fileInterests() ([]interest, error) {
	text, err := readFile(j.root, fileTriggers, maxStatus)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []interest
	for line := range strings.Lines(text) {
		if trigger, pkg, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			list = append(list, interest{trigger, pkg})
		}
	}
	return list, nil
}

// activate leaves to dpkg which triggers the files of the packages activate.
func (j *job) activate(interests []interest, list []*unpacked) error {
	var active []string
	for _, i := range interests {
		touched := slices.ContainsFunc(list, func(u *unpacked) bool {
			return slices.ContainsFunc(u.names, func(name string) bool {
				return name == i.trigger || strings.HasPrefix(name, i.trigger+"/")
			})
		})
		if touched {
			active = append(active, fmt.Sprintf("%s -\n", i.trigger))
		}
	}
	if len(active) == 0 {
		return nil
	}
	slices.Sort(active)
	before, err := readFile(j.root, pending, maxStatus)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return j.write(pending, []byte(before+strings.Join(slices.Compact(active), "")), 0o644)
}
