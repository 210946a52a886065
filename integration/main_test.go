//go:build integration

package integration

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
)

// hypervisor is the binary under test.
var hypervisor = flag.String("hypervisor", "", "test this hypervisor `binary` instead of building one with the race detector")

// builds is where what the tests need is built, for as long as they run.
var builds string

func TestMain(m *testing.M) {
	if fault := os.Getenv(faultKey); fault != "" {
		if err := launchUnderFault(fault); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gilliam-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	builds = dir
	if err := os.Chmod(dir, 0o755); err != nil { // other users run what is in it
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return testbed.Run(m, build)
}

// build makes the binary under test.
func build() error {
	if *hypervisor != "" {
		path, err := filepath.Abs(*hypervisor)
		*hypervisor = path
		return err
	}
	*hypervisor = filepath.Join(builds, "hypervisor")
	return goBuild(*hypervisor, "../cmd/hypervisor", "CGO_ENABLED=1", "-race",
		"-ldflags", "-X main.version=1.2.3-test -X main.commit=0123456789abcdef")
}

// goBuild builds a program for the tests.
func goBuild(to, pkg, cgo string, flags ...string) error {
	args := append([]string{"build", "-o", to}, flags...)
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return nil
}
