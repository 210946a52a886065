//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
)

// BenchmarkLaunch runs /bin/true from creation to exit in one of our sandboxes,
// with runc, with crun and as a plain child, in turns, so that a busy machine
// slows all of them alike. Ours makes and removes an overlay layer and a range
// of ids each time; the others run on the template itself, read-only.
//
// The metrics that count are the ratios: how many times as long as ours the
// others take.
func BenchmarkLaunch(b *testing.B) {
	ours := newLauncher(b)
	bundle := newBundle(b)
	runners := []struct {
		name string
		run  func() error
		took time.Duration
	}{
		{"hypervisor", ours.run, 0},
		{"runc", func() error { return bundle.run("runc") }, 0},
		{"crun", bundle.crun(b), 0},
		{"plain", func() error { return exec.Command("/bin/true").Run() }, 0},
	}
	for i := range runners { // caches are warm for all
		if err := runners[i].run(); err != nil {
			b.Fatalf("%s: %v", runners[i].name, err)
		}
	}
	rounds := 0
	for b.Loop() {
		rounds++
		for i := range runners {
			start := time.Now()
			if err := runners[i].run(); err != nil {
				b.Fatalf("%s: %v", runners[i].name, err)
			}
			runners[i].took += time.Since(start)
		}
	}
	for _, r := range runners {
		b.ReportMetric(float64(r.took.Microseconds())/1000/float64(rounds), r.name+"-ms")
	}
	for _, r := range runners[1:3] {
		b.ReportMetric(float64(r.took)/float64(runners[0].took), r.name+"/hypervisor")
	}
}

// A launcher launches /bin/true through the engine.
type launcher struct {
	engine   *isolate.Engine
	template rootfs.Template
	layers   *rootfs.Layers
	null     *os.File
}

func newLauncher(b *testing.B) *launcher {
	layers, err := rootfs.OpenLayers(filepath.Join(b.TempDir(), "layers"))
	if err != nil {
		b.Fatal(err)
	}
	null, err := os.OpenFile(filepath.Join(b.TempDir(), "out"), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { null.Close() })
	return &launcher{testbed.Engine(b), testbed.Template(b), layers, null}
}

func (l *launcher) run() error {
	ids := isolate.IDRange{Base: 0x7ffd0000, Size: 65536}
	id := uuid.NewString()
	layer, err := l.layers.Create(id, ids, nil)
	if err != nil {
		return err
	}
	plan, err := isolate.NewPlan(isolate.Spec{
		ID: id, Template: l.template.Path, Layer: layer, Args: []string{"/bin/true"}, User: l.template.User, IDs: ids,
	}, l.engine.Host())
	if err != nil {
		return err
	}
	box, err := l.engine.Launch(context.Background(), plan, isolate.IO{Stdout: l.null, Stderr: l.null})
	if err != nil {
		return err
	}
	if exit := box.Wait(); exit.Code != 0 || exit.Err != nil {
		return fmt.Errorf("%+v", exit)
	}
	if err := box.Destroy(); err != nil {
		return err
	}
	return l.layers.Remove(id)
}

// A bundle is an OCI bundle that runs /bin/true on the template.
type bundle string

func newBundle(b *testing.B) bundle {
	dir := b.TempDir()
	for _, tool := range []string{"runc", "crun"} {
		if _, err := exec.LookPath(tool); err != nil {
			b.Fatalf("%v: apt-get install runc crun", err)
		}
	}
	cmd := exec.Command("runc", "spec")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("runc spec: %v %s", err, out)
	}
	path := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		b.Fatal(err)
	}
	process := config["process"].(map[string]any)
	process["args"], process["terminal"] = []string{"/bin/true"}, false
	config["root"] = map[string]any{"path": testbed.TemplateDir(), "readonly": true}
	if text, err = json.Marshal(config); err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		b.Fatal(err)
	}
	return bundle(dir)
}

func (d bundle) run(tool string) error {
	cmd := exec.Command(tool, "run", "--bundle", string(d), "bench-"+uuid.NewString())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// crun runs crun in a mount namespace in which a hybrid host's v2 hierarchy,
// which Debian's refuses to work beside v1, is not mounted. The thread stays in
// that namespace and serves every run.
func (d bundle) crun(b *testing.B) func() error {
	todo, done := make(chan struct{}), make(chan error)
	b.Cleanup(func() { close(todo) })
	// Owned by the benchmark: ends, and its thread with it, when todo is closed.
	go func() {
		runtime.LockOSThread()
		err := syscall.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		_ = unix.Unmount("/sys/fs/cgroup/unified", unix.MNT_DETACH)
		for range todo {
			if err == nil {
				err = d.run("crun")
			}
			done <- err
		}
	}()
	return func() error {
		todo <- struct{}{}
		return <-done
	}
}
