package manifest

import (
	"fmt"
	"strings"
)

// A Change is what became of one file.
type Change struct {
	Path string `json:"path"`
	What string `json:"what"` // "added", "missing", or what is different
}

func (c Change) String() string { return c.Path + ": " + c.What }

// Diff lists what is different in now, by path.
func (m Manifest) Diff(now Manifest) []Change {
	var changes []Change
	a, b := m.lines, now.lines
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].path < b[0].path:
			changes = append(changes, Change{a[0].path, "missing"})
			a = a[1:]
		case len(a) == 0 || b[0].path < a[0].path:
			changes = append(changes, Change{b[0].path, "added"})
			b = b[1:]
		default:
			if a[0].rest != b[0].rest {
				changes = append(changes, Change{a[0].path, difference(a[0].rest, b[0].rest)})
			}
			a, b = a[1:], b[1:]
		}
	}
	return changes
}

// difference says which keywords are not what they were.
func difference(was, is string) string {
	old, now := keyed(was), keyed(is)
	var all []string
	for _, k := range now.order {
		if before, ok := old.values[k]; !ok {
			all = append(all, fmt.Sprintf("%s is %s, was none", k, now.values[k]))
		} else if before != now.values[k] {
			all = append(all, fmt.Sprintf("%s is %s, was %s", k, now.values[k], before))
		}
	}
	for _, k := range old.order {
		if _, ok := now.values[k]; !ok {
			all = append(all, fmt.Sprintf("%s is none, was %s", k, old.values[k]))
		}
	}
	return strings.Join(all, "; ")
}

// keywords are those of a line.
type keywords struct {
	order  []string
	values map[string]string
}

func keyed(rest string) keywords {
	k := keywords{values: make(map[string]string)}
	for _, word := range strings.Fields(rest) {
		key, value, _ := strings.Cut(word, "=")
		k.order = append(k.order, key)
		k.values[key] = value
	}
	return k
}
