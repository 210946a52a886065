//go:build vm

package vm

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Every package with integration tests runs in the machine, or has a reason not
// to.
func TestPackagesAreComplete(t *testing.T) {
	with, without := testFiles(t, "integration"), testFiles(t, "none")
	listed := make(map[string]bool)
	for _, p := range packages {
		listed[p.dir] = true
	}
	for dir, reason := range notHere {
		if listed[dir] {
			t.Errorf("%s is in both lists", dir)
		}
		listed[dir] = true
		t.Logf("%s does not run in the machine: %s", dir, reason)
	}
	for dir, files := range with {
		if len(files) > len(without[dir]) && !listed[dir] {
			t.Errorf("%s has integration tests: add it to packages, or to notHere", dir)
		}
	}
}

// testFiles are the test files that each package has under a build tag.
func testFiles(t *testing.T, tag string) map[string][]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-tags", tag, "-json=ImportPath,TestGoFiles,XTestGoFiles,Module", "./...")
	cmd.Dir = project(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string][]string)
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath                string
			TestGoFiles, XTestGoFiles []string
			Module                    struct{ Path string }
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatal(err)
		}
		dir := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, p.Module.Path), "/")
		found[dir] = slices.Concat(p.TestGoFiles, p.XTestGoFiles)
	}
}
