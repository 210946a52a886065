package testbed

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
)

// Spec runs args as the template's user, with ids of its own range, in a fresh
// layer, and with nothing else: it is there to be changed.
func Spec(tb testing.TB, ids isolate.IDRange, args ...string) isolate.Spec {
	tb.Helper()
	template := Template(tb)
	layers, err := rootfs.OpenLayers(filepath.Join(tb.TempDir(), "layers"))
	if err != nil {
		tb.Fatal(err)
	}
	id := uuid.NewString()
	layer, err := layers.Create(id, ids, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return isolate.Spec{
		ID: id, Hostname: "blog-web", Template: template.Path, Layer: layer, Args: args,
		Env: []string{"HOME=/app"}, Dir: "/app", User: template.User, IDs: ids,
	}
}

// Launch launches a plan with both output streams in one pipe, whose other end
// it returns. The caller destroys the sandbox and closes the pipe.
func Launch(tb testing.TB, e *isolate.Engine, plan isolate.Plan) (*isolate.Sandbox, *os.File, error) {
	tb.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	defer w.Close()
	box, err := e.Launch(tb.Context(), plan, isolate.IO{Stdout: w, Stderr: w})
	if err != nil {
		r.Close()
		return nil, nil, err
	}
	return box, r, nil
}
