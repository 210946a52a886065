package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// mounts reports every mount: what it is, its attributes, its options, how it
// propagates, and its root.
func (r report) mounts() {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		r["mounts"] = cause(err)
		return
	}
	stacked := map[string]int{}
	for line := range strings.Lines(string(text)) {
		// proc_pid_mountinfo(5): 36 35 98:0 /root /target flags optional - type source options
		before, after, ok := strings.Cut(line, " - ")
		f, rest := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 6 || len(rest) < 3 {
			r["mounts"] = "malformed: " + line
			continue
		}
		target := f[4]
		name := "mount " + target
		if stacked[target]++; stacked[target] > 1 {
			name = fmt.Sprintf("mount %s (%d)", target, stacked[target])
		}
		propagation := "private"
		if len(f) > 6 {
			propagation = strings.Join(f[6:], " ")
		}
		r[name+" flags"] = sorted(f[5])
		r[name+" propagation"] = propagation
		r[name+" type"] = rest[0]
		r[name+" source"] = rest[1]
		r[name+" of"] = f[3]
		r.options(name, rest[2])
		r.describe(name, target)
	}
}

// options reports a file system's own options. An overlay's layers may have been
// named by the numbers of files that were open.
func (r report) options(name, list string) {
	for o := range strings.SplitSeq(list, ",") {
		key, value, _ := strings.Cut(o, "=")
		// By its number alone, or by the path of that.
		if strings.HasSuffix(key, "dir") && strings.Trim(value[strings.LastIndexByte(value, '/')+1:], "0123456789") == "" {
			value = "a descriptor"
		}
		if key == "ro" || key == "rw" {
			key, value = "access", key
		}
		r[name+" option "+key] = value
	}
}

func sorted(list string) string {
	items := strings.Split(list, ",")
	slices.Sort(items)
	return strings.Join(items, ",")
}
