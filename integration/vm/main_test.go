//go:build vm

package vm

import (
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// What is to run, for whoever looks for one fault: make test-vm sets neither.
var (
	only = flag.String("only", "", "run the tests of this package alone, a folder of the project")
	part = flag.String("part", "", "run the tests with matching names, as go test -run in the machine")
)

// work is a folder that goes with the tests.
var work string

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 || runtime.GOARCH != "amd64" {
		os.Stderr.WriteString("vm: must run as root, to copy the template, and on x86-64: sudo make test-vm\n")
		os.Exit(1)
	}
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	var err error
	if work, err = os.MkdirTemp("", "vm-"); err != nil {
		os.Stderr.WriteString("vm: " + err.Error() + "\n")
		return 1
	}
	defer func() {
		if err := os.RemoveAll(work); err != nil {
			os.Stderr.WriteString("vm: " + err.Error() + "\n")
			code = 1
		}
	}()
	return m.Run()
}

func fromEnv(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// cache is where the packages of Debian are.
func cache() string { return fromEnv("VM_CACHE", "/var/lib/gilliam/vm") }

// project is the folder of the module.
func project(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
