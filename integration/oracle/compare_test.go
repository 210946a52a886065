//go:build integration

package oracle

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// An accepted is a difference that is meant to be. In the field and in the two
// values * stands for anything.
type accepted struct {
	field, ours, theirs string
	why                 string

	// varies tells that the difference depends on the machine, so that it may
	// be missing.
	varies bool
}

// absent is the value of a field that one of the two does not have.
const absent = "(absent)"

func (a accepted) covers(field, ours, theirs string) bool {
	return matches(a.field, field) && matches(a.ours, ours) && matches(a.theirs, theirs)
}

func matches(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	for i, part := range parts {
		switch {
		case i == 0 && len(parts) == 1:
			return text == part
		case i == 0:
			if !strings.HasPrefix(text, part) {
				return false
			}
			text = text[len(part):]
		case i == len(parts)-1:
			return strings.HasSuffix(text, part)
		default:
			_, after, ok := strings.Cut(text, part)
			if !ok {
				return false
			}
			text = after
		}
	}
	return true
}

// volatile are fields that change by themselves, whoever looks.
var volatile = []string{
	"sysctl kernel/random/", "sysctl kernel/ns_last_pid", "sysctl kernel/pty/nr", "sysctl kernel/perf_event_max_sample_rate",
	"sysctl fs/dentry-state", "sysctl fs/inode-nr", "sysctl fs/inode-state", "sysctl fs/file-nr", "sysctl fs/aio-nr", "sysctl fs/quota/",
	"sysctl net/netfilter/nf_conntrack_count",
}

func isVolatile(field string) bool {
	return slices.ContainsFunc(volatile, func(prefix string) bool { return strings.HasPrefix(field, prefix) })
}

// A comparison knows which of its rows were needed.
type comparison struct {
	rows []accepted
	used []bool
}

func newComparison(rows []accepted) *comparison { return &comparison{rows, make([]bool, len(rows))} }

// differences are the fields that are not the same in the two reports and that
// no row accepts, with both values.
func (c *comparison) differences(ours, theirs report) map[string]string {
	fields := map[string]bool{}
	for f := range ours {
		fields[f] = true
	}
	for f := range theirs {
		fields[f] = true
	}
	found := map[string]string{}
	for f := range fields {
		a, b := value(ours, f), value(theirs, f)
		if a != b && !isVolatile(f) && !c.accept(f, a, b) {
			found[f] = fmt.Sprintf("%s\n\t\tours:   %s\n\t\ttheirs: %s", f, a, b)
		}
	}
	return found
}

func (c *comparison) accept(field, ours, theirs string) (ok bool) {
	for i, row := range c.rows {
		if row.covers(field, ours, theirs) {
			c.used[i], ok = true, true
		}
	}
	return ok
}

// stale are the rows that no difference needed.
func (c *comparison) stale() (rows []string) {
	for i, row := range c.rows {
		if !c.used[i] && !row.varies {
			rows = append(rows, fmt.Sprintf("%s: %s, %s (%s)", row.field, row.ours, row.theirs, row.why))
		}
	}
	return rows
}

// list is the differences as text, in order.
func list(found map[string]string) string {
	var text []string
	for _, f := range slices.Sorted(maps.Keys(found)) {
		text = append(text, found[f])
	}
	return strings.Join(text, "\n\t")
}

func value(r report, field string) string {
	if v, ok := r[field]; ok {
		return v
	}
	return absent
}

func TestDifferences(t *testing.T) {
	ours := report{"same": "1", "one": "a", "two": "b", "gone": "x", "sysctl fs/file-nr": "7"}
	theirs := report{"same": "1", "one": "c", "two": "b2", "more": "y", "sysctl fs/file-nr": "8"}
	for _, c := range []struct {
		rows         []accepted
		found, stale int
	}{
		{nil, 4, 0},
		{[]accepted{{field: "one", ours: "a", theirs: "c"}}, 3, 0},
		{[]accepted{{field: "one", ours: "a", theirs: "d"}}, 4, 1},
		{[]accepted{{field: "one", ours: "a", theirs: "d", varies: true}}, 4, 0},
		{[]accepted{{field: "same", ours: "*", theirs: "*"}}, 4, 1},
		{[]accepted{{field: "gone", ours: "x", theirs: absent}, {field: "more", ours: absent, theirs: "*"}}, 2, 0},
		{[]accepted{{field: "*", ours: "*", theirs: "*"}}, 0, 0},
		{[]accepted{{field: "t*o", ours: "b", theirs: "b*"}}, 3, 0},
		{[]accepted{{field: "t*x", ours: "b", theirs: "b*"}}, 4, 1},
	} {
		compared := newComparison(c.rows)
		found, stale := compared.differences(ours, theirs), compared.stale()
		if len(found) != c.found || len(stale) != c.stale {
			t.Errorf("%+v: found %q, stale %q", c.rows, found, stale)
		}
	}
}
