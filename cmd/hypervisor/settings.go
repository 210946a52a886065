package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/gilliam/hypervisor/isolate"
)

// A setting is one NAME of a flag that takes NAME=VALUE.
type setting struct {
	name  string
	to    *int64
	parse func(string) (int64, error)
}

// A settingsValue is a flag that may be repeated; commas separate too.
type settingsValue struct {
	settings []setting
	text     []string
}

func (v *settingsValue) Set(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		if err := v.setOne(part); err != nil {
			return err
		}
	}
	v.text = append(v.text, s)
	return nil
}

func (v *settingsValue) setOne(s string) error {
	name, value, found := strings.Cut(s, "=")
	for _, one := range v.settings {
		if one.name != name || !found || value == "" {
			continue
		}
		n, err := one.parse(value)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		*one.to = n
		return nil
	}
	return fmt.Errorf("must be NAME=VALUE, NAME one of %s", v.names())
}

func (v *settingsValue) names() string {
	var names []string
	for _, one := range v.settings {
		names = append(names, one.name)
	}
	return strings.Join(names, ", ")
}

func (v *settingsValue) Type() string   { return "NAME=VALUE" }
func (v *settingsValue) String() string { return strings.Join(v.text, ",") }

// addSettings adds a repeatable flag of settings, none by default.
func addSettings(f *pflag.FlagSet, settings []setting, name, usage string) {
	v := &settingsValue{settings: settings}
	f.Var(v, name, usage+"; NAME is "+v.names()+"; repeatable")
}

// limitFlags adds what a proc may be told of its limits.
func limitFlags(f *pflag.FlagSet, l *isolate.Limits) {
	add(f, &l.Memory, "memory", "", "SIZE", "most memory, as 512M or 1G (default 1G)", parseSize)
	add(f, &l.CPU, "cpu", "", "N", "most CPUs, as 0.5 (default no limit)", parseCPU)
	add(f, &l.Pids, "pids", "", "N", "most processes and threads (default 512)", parseCount)
	add(f, &l.Disk, "disk", "", "SIZE", "most bytes that it may write to its root (default 1G, where the host can)", parseSize)
	add(f, &l.Inodes, "inodes", "", "N", "most files and folders that it may make there (default one for each 16K of --disk)", parseCount)
	add(f, &l.CPUWeight, "cpu-weight", "", "N", "share of CPU time when apps contend for it, 1 to 10000 (default 100)", parseCount)
	addSettings(f, ioSettings(&l.IO), "io", "limit of disk I/O, bytes or operations a second, or a weight from 1 to 10000")
	addSettings(f, rlimitSettings(&l.Rlimits), "rlimit", "limit of each process, soft and hard (default nofile 1024 to 16384, nproc as --pids, memlock 64K)")
}

func ioSettings(l *isolate.IOLimits) []setting {
	return []setting{
		{"read_bps", &l.ReadBPS, parseSize}, {"write_bps", &l.WriteBPS, parseSize},
		{"read_iops", &l.ReadIOPS, parseCount}, {"write_iops", &l.WriteIOPS, parseCount},
		{"weight", &l.Weight, parseCount},
	}
}

func rlimitSettings(l *isolate.ProcessLimits) []setting {
	return append(boundSettings(l), setting{"nproc", &l.Nproc, parseCount})
}

// boundSettings are those that a policy bounds: nproc is at most pids.
func boundSettings(l *isolate.ProcessLimits) []setting {
	return []setting{{"nofile", &l.Nofile, parseCount}, {"memlock", &l.Memlock, parseSize}, {"fsize", &l.Fsize, parseSize}}
}
