//go:build integration

package oracle

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/opencontainers/runc/libcontainer"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/rootfs"
)

// libcontainer starts this program again, as "init", to set its container up
// from the inside.
//
// The first thread is kept for the main goroutine. What enters a namespace locks
// a thread that must end afterwards, libcontainer's goroutine for idmapped mounts
// too; the first one cannot end, and is what /proc/self shows.
func init() {
	if len(os.Args) > 1 && os.Args[1] == "init" {
		libcontainer.Init()
	}
	runtime.LockOSThread()
}

// What all tests here share. The probe is in probeDir, which is probeTarget in
// the sandbox.
var (
	probeDir string
	layers   *rootfs.Layers
)

const probeTarget = "/oracle"

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "oracle-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
	code := testbed.Run(m, func() error { return prepare(dir) })
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		code = 1
	}
	os.Exit(code)
}

func prepare(dir string) (err error) {
	if !complete {
		return errors.New("the oracle was built without libcontainer's C code or its seccomp filter:\n" +
			"\tapt-get install gcc libc6-dev pkg-config libseccomp-dev, and test with -tags integration,seccomp")
	}
	if layers, err = rootfs.OpenLayers(filepath.Join(dir, "layers")); err != nil {
		return err
	}
	probeDir = filepath.Join(dir, "probe")
	build := exec.Command("go", "build", "-trimpath", "-o", probeDir+"/", "./probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the probe: %w\n%s", err, out)
	}
	// The sandbox's user sees it as root's, and must be able to run it.
	return errors.Join(os.Chmod(probeDir, 0o755), os.Chmod(filepath.Join(probeDir, "probe"), 0o755))
}
