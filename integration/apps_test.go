//go:build integration

package integration

import (
	"net/http"
	"testing"

	"github.com/gilliam/hypervisor/server/proc"
)

// Three kinds of app are deployed by URL, answer on their ports, tell in their
// logs what they did, and are gone when they are removed.
func TestApps(t *testing.T) {
	images := serveImages(t, map[string][]byte{
		"python.tar.gz": packDir(t, "testdata/pyweb"),
		"go.tar.gz":     gowebImage(t),
		"shell.tar.gz":  packDir(t, "testdata/shell"),
	})
	d := serve(t)
	for _, c := range []struct {
		name    string
		command proc.Command
		body    string
		logs    []string // each is the beginning of a line
	}{
		{"python", proc.Shell("exec python3 app.py"), "pyweb on blog-python\n",
			[]string{"stdout: pyweb listens", `stderr: 127.0.0.1 - - [`}},
		{"go", proc.Exec("./goweb"), "goweb on blog-go\n",
			[]string{"stdout: goweb listens", "stderr: goweb answers /"}},
		{"shell", proc.Exec("/app/run"), "shell on disk\n",
			[]string{"stdout: shell step 1", "stdout: shell step 3", "stderr: shell warns", "stdout: Serving HTTP on 127.0.0.1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &daemon{client: d.in(t), stateDir: d.stateDir, basePort: d.basePort}
			p := d.create(proc.Request{Name: c.name, Image: images + c.name + ".tar.gz", Command: c.command})
			if p.Port < d.basePort || p.Port >= d.basePort+poolSize {
				t.Errorf("port %d is not of the pool", p.Port)
			}
			if got := page(t, p.Port); got != c.body {
				t.Errorf("got %q, want %q", got, c.body)
			}
			d.follow(p.ID).all(c.logs...)
			if p = d.get(p.ID); p.State != proc.Running || p.Started == nil || p.PID == 0 {
				t.Errorf("got %+v", p)
			}
			if got := d.list("?app=blog&state=running"); len(got) != 1 || got[0].ID != p.ID {
				t.Errorf("list: got %+v", got)
			}
			d.want(http.StatusNoContent, http.MethodDelete, "/v1/procs/"+p.ID, nil, nil)
			d.want(http.StatusNotFound, http.MethodGet, "/v1/procs/"+p.ID, nil, nil)
			d.want(http.StatusNotFound, http.MethodGet, "/v1/procs/"+p.ID+"/logs", nil, nil)
			if got := d.list(""); len(got) != 0 {
				t.Errorf("list after the end: got %+v", got)
			}
			d.nothingLeftOf(t, p)
		})
	}
}
