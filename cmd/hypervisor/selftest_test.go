package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/selftest"
)

func TestPrintSelftest(t *testing.T) {
	var many []string
	for i := range 12 {
		many = append(many, fmt.Sprintf("try %d: it works", i))
	}
	report := selftest.Report{
		Kernel: "6.1.0", Arch: "amd64", Cgroup: isolate.CgroupV2, Dir: "/state", FileSystem: "ext4", Tries: 7, Seconds: 1.26,
		Results: []selftest.Result{
			{Name: "kernel", Promise: "new enough", State: selftest.OK, Note: "not shown"},
			{Name: "masks", Promise: "they hold", State: selftest.Failed, Found: []string{"see \x1b[31m/proc"}, Remedy: "stop"},
			{Name: "sockets", Promise: "few", State: selftest.Failed, Found: many, Remedy: "stop"},
			{Name: "memory", Promise: "bounded", State: selftest.Missing, Note: "boot otherwise"},
			{Name: "pids", Promise: "bounded", State: selftest.NotRun, Note: "needs masks"},
		},
		Remarks: []isolate.Remark{{About: "swap", Text: "unlimited"}},
	}
	var b bytes.Buffer
	for _, r := range report.Results {
		printResult(&b, r)
	}
	printSummary(&b, report)
	want := `kernel            ok       new enough
masks             FAILED   they hold
                  found: see ·[31m/proc
                  do: stop
sockets           FAILED   few
                  found: try 0: it works
` + strings.Join(many[1:10], "\n") + `
                  and 2 more: see --json
                  do: stop
memory            missing  bounded
                  boot otherwise
pids              not run  bounded
                  needs masks
swap              remark   unlimited

Linux 6.1.0 on amd64, cgroup v2, ext4 at /state: 1 ok, 2 failed, 1 missing, 1 not run; 7 tries in 1.3 s
`
	for _, text := range many[1:10] {
		want = strings.Replace(want, text, "                  found: "+text, 1)
	}
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestParseRegexp(t *testing.T) {
	if re, err := parseRegexp(""); re != nil || err != nil {
		t.Errorf("nothing: %v, %v", re, err)
	}
	if re, err := parseRegexp("^a|b$"); err != nil || !re.MatchString("ax") {
		t.Errorf("got %v, %v", re, err)
	}
	if _, err := parseRegexp("("); err == nil {
		t.Error("( is a regular expression")
	}
}
