//go:build integration

package attack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/gilliam/hypervisor/integration/testbed"
)

// tools is the folder with the probe. Sandboxes see it as /app.
var tools string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gilliam-attack-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	tools = dir
	if os.Getenv(v1Key) != "" { // a part of TestV1Alone, which looks for what is left
		if err := build(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}
	var before map[string]string
	code := testbed.Run(m, func() (err error) {
		if err := build(); err != nil {
			return err
		}
		before, err = witness()
		return err
	})
	if code != 0 {
		return code
	}
	after, err := witness()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for what, was := range before {
		if after[what] != was {
			fmt.Fprintf(os.Stderr, "attack: the host's %s changed: %s, was %s\n", what, after[what], was)
			code = 1
		}
	}
	return code
}

// build makes the probe, for everybody to execute.
func build() error {
	if err := os.Chmod(tools, 0o755); err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-o", filepath.Join(tools, "probe"), "./probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the probe: %w\n%s", err, out)
	}
	return os.WriteFile(filepath.Join(tools, "file"), []byte("shared by all\n"), 0o644)
}
