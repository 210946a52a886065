package rootfs

import (
	"os"
	"slices"
	"strings"
)

// ClearAside removes what was set aside as damaged, but for that from which a proc
// runs, and tells how many there were.
func (i *Images) ClearAside() (removed int, err error) {
	return i.clearAside(func(bool) bool { return true })
}

// thinAside keeps one of each that was set aside: a disk that damages the same image
// again and again is not to fill up with what is left of it.
func (i *Images) thinAside() error {
	_, err := i.clearAside(func(newest bool) bool { return !newest })
	return err
}

// clearAside removes what goes of what no proc runs from.
func (i *Images) clearAside(goes func(newest bool) bool) (removed int, err error) {
	for where, used := range map[string]func(id string) bool{i.cfg.Dir: i.inUse, i.layersDir(): i.layerInUse} {
		n, err := clearAside(where, func(id string, newest bool) bool { return goes(newest) && !used(id) })
		if removed += n; err != nil {
			return removed, err
		}
	}
	return removed, nil
}

func clearAside(where string, goes func(id string, newest bool) bool) (removed int, err error) {
	dir, err := os.Open(where)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return asideOf(name) == "" })
	slices.Sort(names) // those of one id by time
	for n, name := range names {
		id := asideOf(name)
		newest := n == len(names)-1 || asideOf(names[n+1]) != id
		if !goes(id, newest) {
			continue
		}
		if err := discard(dir, name); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}

// asideOf is the id of what was set aside under that name; empty: nothing was.
func asideOf(name string) string {
	id, aside := strings.CutPrefix(name, damagedPrefix)
	if id, _, _ = strings.Cut(id, "-"); !aside {
		return ""
	}
	return id
}
