//go:build vm

package vm

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gilliam/hypervisor/integration/vm/job"
	"github.com/gilliam/hypervisor/integration/vm/machine"
)

// stage makes the tree of the scratch disk: a folder for temporary files, for
// each package its compiled tests beside the files that they may read, the
// AppArmor profiles, and the programs.
func stage(t *testing.T, dir string, packages []suite, programs []string) error {
	temp := filepath.Join(dir, filepath.Base(job.TempDir))
	if err := os.MkdirAll(temp, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(temp, fs.ModeSticky|0o777); err != nil {
		return err
	}
	for _, p := range packages {
		to := filepath.Join(dir, filepath.Base(job.TestsDir), p.dir)
		if err := copyPackage(to, filepath.Join(project(t), p.dir)); err != nil {
			return err
		}
		binary := filepath.Join(to, job.Binary)
		if err := compile(t, p.cgo, "test", "-c", "-tags=integration,"+p.tags, "-o", binary, "./"+p.dir); err != nil {
			return err
		}
		for _, program := range p.programs {
			to := filepath.Join(to, program, job.Program)
			if err := compile(t, false, "build", "-o", to, "./"+filepath.Join(p.dir, program)); err != nil {
				return err
			}
		}
	}
	err := machine.CompileProfiles(t.Context(), cache(), filepath.Join(dir, filepath.Base(job.Profiles)),
		filepath.Join(project(t), "docs/gilliam.apparmor"), filepath.Join(project(t), "integration/vm/testdata/gilliam-test.apparmor"))
	if err != nil {
		return err
	}
	bin := filepath.Join(dir, filepath.Base(job.BinDir))
	for _, folder := range programs {
		if err := compile(t, false, "build", "-o", filepath.Join(bin, filepath.Base(folder)), "./"+folder); err != nil {
			return err
		}
	}
	return compile(t, false, "build", "-o", filepath.Join(bin, "go"), "./integration/vm/standin")
}

// copyPackage copies a package's own files, and its testdata.
func copyPackage(to, from string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(from, e.Name())
		switch {
		case e.Name() == "testdata":
			err = os.CopyFS(filepath.Join(to, e.Name()), os.DirFS(path))
		case e.Type().IsRegular():
			var b []byte
			if b, err = os.ReadFile(path); err == nil {
				err = os.WriteFile(filepath.Join(to, e.Name()), b, 0o644)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compile runs go so that what it makes needs no library.
func compile(t *testing.T, cgo bool, verb string, args ...string) error {
	flags := []string{verb, "-buildvcs=false"}
	env := append(os.Environ(), "CGO_ENABLED=0")
	if cgo {
		flags = append(flags, "-ldflags=-linkmode=external -extldflags=-static")
		env = append(env, "CGO_ENABLED=1")
	}
	cmd := exec.CommandContext(t.Context(), "go", append(flags, args...)...)
	cmd.Dir, cmd.Env = project(t), env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// initramfs packs the guest program, its job and its kernel modules.
func initramfs(path, guest string, kernel machine.Kernel, j job.Job) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	a := machine.NewArchive(z)
	return errors.Join(fill(a, guest, kernel, j), a.Close(), z.Close(), f.Close())
}

func fill(a *machine.Archive, guest string, kernel machine.Kernel, j job.Job) error {
	init, err := os.ReadFile(guest)
	if err != nil {
		return err
	}
	// Without /dev/console PID 1 has no descriptors to print on.
	err = errors.Join(a.File("/init", 0o755, init), a.Dir("/dev", 0o755), a.Char("/dev/console", 0o600, 5, 1), a.Dir("/modules", 0o755))
	if err != nil {
		return err
	}
	files, err := kernel.Modules(modules...)
	if err != nil {
		return err
	}
	for n, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("/modules/%03d-%s", n, filepath.Base(file))
		if err := a.File(name, 0o644, content); err != nil {
			return err
		}
		j.Modules = append(j.Modules, name)
	}
	text, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return a.File(job.Path, 0o644, text)
}
