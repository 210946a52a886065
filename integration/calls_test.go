//go:build integration

package integration

import (
	"path/filepath"
	"regexp"
	"strings"
)

// A call is a system call that succeeded, as strace(1) has written it down. The lines of
// its beginning and its end are in the order in which they were: whoever waited for its
// end began later.
type call struct {
	name, text string
	begun, end int
}

// calls are all of them.
type calls []call

var succeeded = regexp.MustCompile(`\)\s+= (\d+)`)

// parseCalls reads what strace has written. Calls of many threads are between each other,
// so that one may have its beginning and its end on lines of their own.
func parseCalls(text string) (all calls) {
	open := map[string]call{} // by thread
	for n, line := range strings.Split(text, "\n") {
		thread, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		if before, ok := strings.CutSuffix(rest, " <unfinished ...>"); ok {
			name, _, _ := strings.Cut(before, "(")
			open[thread] = call{name: name, text: before, begun: n}
			continue
		}
		name, _, _ := strings.Cut(rest, "(")
		c := call{name: name, text: rest, begun: n}
		if _, after, ok := strings.Cut(rest, " resumed>"); ok && strings.HasPrefix(rest, "<... ") {
			c = open[thread]
			c.text += after
		}
		if c.end = n; succeeded.MatchString(c.text) {
			all = append(all, c)
		}
	}
	return all
}

// first is the first call of that name that ended before a line, with all of the texts in
// what was written of it.
func (all calls) first(name string, before int, texts ...string) (found call, ok bool) {
next:
	for _, c := range all {
		if c.name != name || c.end >= before {
			continue
		}
		for _, text := range texts {
			if !strings.Contains(c.text, text) {
				continue next
			}
		}
		return c, true
	}
	return call{}, false
}

var flushing = regexp.MustCompile(`^(?:fsync|syncfs)\(\d+<([^>]*)>`)

// flushed tells whether a file or folder was flushed, from one line on and before another.
func (all calls) flushed(path string, after, before int) bool {
	for _, c := range all {
		if f := flushing.FindStringSubmatch(c.text); f != nil && f[1] == path && c.begun > after && c.end < before {
			return true
		}
	}
	return false
}

var renaming = regexp.MustCompile(`^renameat2?\([^<]*<([^>]*)>, "([^"]*)", [^<]*<([^>]*)>, "([^"]*)"`)

// A rename gives what is at from the name to.
type rename struct {
	call
	from, to string
}

// renames are all of them.
func (all calls) renames() (list []rename) {
	for _, c := range all {
		if f := renaming.FindStringSubmatch(c.text); f != nil {
			list = append(list, rename{c, below(f[1], f[2]), below(f[3], f[4])})
		}
	}
	return list
}

// below is a path as openat(2) takes it.
func below(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

var writing = regexp.MustCompile(`^write\(\d+<(/[^>]*)>`)

// file is the file that a call writes to; empty: none, but a socket, say.
func (c call) file() string {
	if f := writing.FindStringSubmatch(c.text); f != nil {
		return f[1]
	}
	return ""
}
