package main

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// processes reports who else is here, and what PID 1 lets others see of it.
func (r report) processes() {
	var names []string
	found, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, path := range found {
		if name, err := os.ReadFile(path); err == nil {
			names = append(names, strings.TrimSpace(string(name)))
		}
	}
	slices.Sort(names)
	r["processes"] = strings.Join(names, " ")
	for _, name := range []string{"exe", "cwd", "root", "ns/user", "ns/mnt"} {
		_, err := os.Readlink("/proc/1/" + name)
		r["pid 1 link "+name] = cause(err)
	}
	for _, name := range []string{"environ", "mem", "maps", "auxv", "stack", "syscall", "personality", "io"} {
		r["pid 1 read "+name] = opens("/proc/1/"+name, os.O_RDONLY)
	}
	_, err := os.ReadDir("/proc/1/fd")
	r["pid 1 list fd"] = cause(err)
	r.describe("pid 1", "/proc/1")
	r["pid 1 signal"] = cause(unix.Kill(1, 0))
	r.file("pid 1 oom_score_adj", "/proc/1/oom_score_adj")
	r.status("1", "pid 1 ")
}

// network reports the interfaces, their addresses and the routes.
func (r report) network() {
	interfaces, err := net.Interfaces()
	r["network"] = cause(err)
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		var list []string
		for _, a := range addrs {
			list = append(list, a.String())
		}
		slices.Sort(list)
		r.set("network "+i.Name, "%s mtu %d %s %s", i.Flags, i.MTU, strings.Join(list, " "), cause(err))
	}
	for _, table := range []string{"route", "ipv6_route", "tcp", "tcp6", "udp", "udp6", "raw"} {
		text, err := os.ReadFile("/proc/net/" + table)
		r.set("network table "+table, "%d lines %s", strings.Count(string(text), "\n"), cause(err))
	}
}
