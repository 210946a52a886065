//go:build integration

package integration

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/gilliam/hypervisor/isolate/initbin"
	"github.com/gilliam/hypervisor/isolate/selftest/probebin"
)

// The production binary, built as the Makefile does, needs nothing of the host's
// but its kernel, and neither do the programs that it carries.
func TestBinaryIsStatic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hypervisor")
	must(t, goBuild(path, "../cmd/hypervisor", "CGO_ENABLED=0", "-trimpath", "-ldflags", "-s -w -X main.version=9.9.9 -X main.commit=fedcba"))
	b, err := os.ReadFile(path)
	must(t, err)
	isStatic(t, "hypervisor", b)
	isStatic(t, "sandbox-init", initbin.Binary)
	isStatic(t, "the selftest's probe", probebin.Binary)
	if !bytes.Contains(b, initbin.Binary) || !bytes.Contains(b, probebin.Binary) {
		t.Error("the binary does not carry sandbox-init and the selftest's probe")
	}
	if len(b) > 40<<20 {
		t.Errorf("the binary has %d MiB", len(b)>>20)
	}
	if wd, err := os.Getwd(); err != nil || bytes.Contains(b, []byte(filepath.Dir(wd))) {
		t.Errorf("the binary tells where it was built: %v", err)
	}
	matches(t, finish(t, exec.Command(path, "version")), 0, `hypervisor 9\.9\.9 \(commit fedcba, go1\..*\)\n`)
}

func isStatic(tb testing.TB, name string, b []byte) {
	tb.Helper()
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			tb.Errorf("%s is linked dynamically: it has %v", name, p.Type)
		}
	}
}
