//go:build integration

package integration

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/gilliam/hypervisor/integration/registry"
	"github.com/gilliam/hypervisor/integration/testbed"
	"github.com/gilliam/hypervisor/server/proc"
)

// gowebContainer is an image of one program and nothing else.
func gowebContainer(t *testing.T) registry.Image {
	t.Helper()
	program, err := goweb()
	if err != nil {
		t.Fatal(err)
	}
	return registry.Image{
		Config: v1.Config{Entrypoint: []string{"/goweb"}, ExposedPorts: map[string]struct{}{"80/tcp": {}}},
		Layers: [][]byte{registry.Tar(t, registry.Named("goweb", string(program)))},
	}
}

// userland is a layer of programs of the template, with the libraries that they
// need, and a folder of files to be taken away.
func userland(t *testing.T, programs ...string) []byte {
	t.Helper()
	files := []registry.File{
		link("bin", "usr/bin"), link("lib", "usr/lib"), link("lib64", "usr/lib64"),
		folder("tmp", 0o1777), folder("home/app", 0o755, 1000, 33), folder("opt/data", 0o755), folder("etc", 0o755),
		registry.Named("etc/passwd", "root:x:0:0::/:/bin/sh\nevil:x:0:0::/:/bin/sh\n"), registry.Named("opt/data/old", "old\n"),
		registry.Named("opt/gone", "gone\n"), registry.Named("srv/changed", "before\n"),
	}
	template := testbed.TemplateDir()
	seen := map[string]bool{}
	var add func(name string)
	add = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		path := filepath.Join(template, name)
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(real)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, registry.Named(name, string(b)))
		f, err := elf.NewFile(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		libraries, err := f.ImportedLibraries()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range libraries {
			for _, dir := range []string{"usr/lib/x86_64-linux-gnu", "usr/lib64"} {
				if _, err := os.Stat(filepath.Join(template, dir, l)); err == nil {
					add(dir + "/" + l)
					break
				}
			}
		}
	}
	add("usr/lib64/ld-linux-x86-64.so.2")
	for _, p := range programs {
		add("usr/bin/" + p)
	}
	return registry.Tar(t, files...)
}

func link(name, to string) registry.File {
	return registry.File{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}}
}

func folder(name string, mode int64, owner ...int) registry.File {
	h := tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode}
	if len(owner) == 2 {
		h.Uid, h.Gid = owner[0], owner[1]
	}
	return registry.File{Header: h}
}

// layered is an image like those that people have: a userland, and what was changed
// and taken away above it.
func layered(t *testing.T, config v1.Config) registry.Image {
	t.Helper()
	return registry.Image{Config: config, Layers: [][]byte{
		userland(t, "dash", "ls", "cat", "id", "env", "stat", "sleep", "sort", "tr"),
		registry.Tar(t, link("usr/bin/sh", "dash"), registry.Named("opt/.wh.gone", ""), folder("opt/data", 0o755), registry.Named("opt/data/.wh..wh..opq", ""),
			registry.Named("opt/data/new", "new\n"), registry.Named("srv/changed", "after\n")),
	}}
}

// An image of one static program is all that there is: it answers on its port, and
// nothing of the template is in its root.
func TestContainerScratch(t *testing.T) {
	r := registry.New(t)
	digest := r.Push("blog:1", gowebContainer(t))
	d := serve(t)
	p := d.create(proc.Request{Name: "web", Image: r.Ref("blog:1")})
	if got := page(t, p.Port); got != "goweb on blog-web\n" {
		t.Errorf("got %q", got)
	}
	if p = d.until(p.ID, "running", func(p proc.Proc) bool { return p.State == proc.Running }); p.ImageDigest != digest || p.Command.String() != `["/goweb"]` || p.Template != "" {
		t.Errorf("got %+v", p)
	}
	if a := d.do(http.MethodGet, "/v1/procs/"+p.ID+"/plan", nil); !strings.Contains(a.body, "cache/layers/") || strings.Contains(a.body, testbed.TemplateDir()) {
		t.Errorf("plan: %s", a)
	}
	if a := d.do(http.MethodGet, "/v1/procs/"+p.ID+"/verify", nil); a.status != http.StatusOK || !strings.Contains(a.body, "[]") {
		t.Errorf("verify: %s", a)
	}
	// Its root is the program, and what sandboxes have of their own.
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/root", p.PID))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "dev etc goweb proc sys tmp" {
		t.Errorf("in the root: %s", got)
	}
	d.remove(p.ID)
	d.nothingLeftOf(t, p)
}

// What an image says of its program holds, below what the client says and what
// sandboxes have of their own; what its layers take away is not there.
func TestContainerLayers(t *testing.T) {
	r := registry.New(t)
	r.Push("app:1", layered(t, v1.Config{
		Env:        []string{"A=image", "B=image", "PATH=/usr/bin", "PORT=80", "HOST=evil"},
		Entrypoint: []string{"/usr/bin/dash", "-c"}, Cmd: []string{"id; env | sort; cat /srv/changed; exit 7"},
		WorkingDir: "/home/app", User: "1000:33", StopSignal: "SIGINT", Volumes: map[string]struct{}{"/data": {}},
	}))
	r.Push("named:1", layered(t, v1.Config{Cmd: []string{"/usr/bin/id"}, User: "evil", Env: []string{"HOME=/home/app"}}))
	d := serve(t)
	for _, c := range []struct {
		name string
		r    proc.Request
		code int
		want []string
	}{
		{"own", proc.Request{Image: r.Ref("app:1"), Config: map[string]string{"B": "client", "HOME": "/evil"}}, 7,
			[]string{"uid=1000 gid=33 groups=33", "A=image", "B=client", "HOME=/home/app", "HOST=", "PATH=/usr/bin", "PORT=", "PWD=/home/app", "after"}},
		{"line", proc.Request{Image: r.Ref("app:1"), Command: proc.Shell("ls -A /opt /opt/data; stat -c '%u %g %a' . /tmp; echo x >file && cat file; echo y >/etc/x")}, 2,
			[]string{"/opt:", "data", "", "/opt/data:", "new", "1000 33 755", "65534 65534 1777", "x", "/bin/sh: 1: cannot create /etc/x: Permission denied"}},
		{"list", proc.Request{Image: r.Ref("app:1"), Command: proc.Exec("cat", "/srv/changed"), User: "101"}, 0, []string{"after"}},
		{"number", proc.Request{Image: r.Ref("app:1"), Command: proc.Exec("id"), User: "101"}, 0, []string{"uid=101 gid=101 groups=101"}},
		{"name", proc.Request{Image: r.Ref("named:1")}, 0, []string{"uid=1000 gid=1000 groups=1000"}},
		{"nothing", proc.Request{Image: r.Ref("app:1"), Command: proc.Exec("/no/such")}, 127, nil},
		{"resolver", proc.Request{Image: r.Ref("app:1"), Command: proc.Exec("cat", "/etc/hosts")}, 0,
			[]string{"127.0.0.1\tlocalhost blog-resolver", "::1\tlocalhost ip6-localhost ip6-loopback"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &daemon{client: d.in(t), stateDir: d.stateDir, basePort: d.basePort}
			c.r.Name = c.name
			p := d.run(c.r)
			lines := d.logs(p.ID, "")
			if p.ExitCode == nil || *p.ExitCode != c.code || len(lines) < len(c.want) {
				t.Fatalf("got %+v\n%q", p, lines)
			}
			for n, want := range c.want {
				if !strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(lines[n], "stdout: "), "stderr: "), want) {
					t.Errorf("line %d is %q, want %q", n+1, lines[n], want)
				}
			}
			if c.name == "own" && p.StopSignal != "SIGINT" {
				t.Errorf("stop signal %q", p.StopSignal)
			}
		})
	}
}

// Requests that a container image makes no sense of are refused, and an image that
// cannot be run fails the proc with the reason.
func TestContainerRefused(t *testing.T) {
	r := registry.New(t)
	r.Push("silent:1", registry.Image{Layers: [][]byte{registry.Tar(t, registry.Named("x", ""))}})
	r.Push("trap:1", registry.Image{Config: v1.Config{Cmd: []string{"/x"}}, Layers: [][]byte{registry.Tar(t, link("dev", "/tmp"), registry.Named("x", ""))}})
	d := serve(t)
	for field, req := range map[string]proc.Request{
		"template":     {Image: r.Ref("silent:1"), Template: "default"},
		"user":         {Image: r.Ref("silent:1"), User: "0"},
		"image":        {Image: "oci://10.0.0.1/x:1"},
		"command":      {Image: "https://example.com/x.tar.gz"},
		"image_digest": {Image: r.Ref("silent:1"), ImageDigest: "sha256:x"},
	} {
		req.App, req.Name = "blog", "x"
		if a := d.do(http.MethodPost, "/v1/procs", req); a.status != http.StatusBadRequest || !strings.Contains(a.body, `"`+field+`"`) {
			t.Errorf("%s: %s", field, a)
		}
	}
	for _, user := range []string{"evil", "4294967296", "-1", "1000:0", "007", "１", "65534"} {
		req := proc.Request{App: "blog", Name: "x", Image: r.Ref("silent:1"), User: user}
		if a := d.do(http.MethodPost, "/v1/procs", req); a.status != http.StatusBadRequest {
			t.Errorf("user %s: %s", user, a)
		}
	}
	for image, want := range map[string]string{
		r.Ref("silent:1"): "no command of its own", r.Ref("none:1"): "no such image",
		r.Ref("silent@sha256:" + strings.Repeat("0", 64)): "no such image", r.Ref("trap:1"): "a symlink where a folder or file must be",
	} {
		p := d.run(proc.Request{Name: "x", Image: image})
		if p.State != proc.Fail || !strings.Contains(p.Reason, want) {
			t.Errorf("%s: %s, want %s", image, p.Reason, want)
		}
		d.remove(p.ID)
	}
}

// Fifty at once are one transfer; what two images share is there once; and what was
// run once runs when the registry is gone, also after a restart of the hypervisor.
func TestContainerShared(t *testing.T) {
	r := registry.New(t)
	base := layered(t, v1.Config{Cmd: []string{"/usr/bin/cat", "/which"}})
	for _, name := range []string{"a", "b"} {
		image := base
		image.Layers = append(slices.Clone(base.Layers), registry.Tar(t, registry.Named("which", name+"\n")))
		r.Push(name+":1", image)
	}
	d := serveIn(t, t.TempDir(), portRange(), "--allow-net", "127.0.0.0/8")
	var all sync.WaitGroup
	for n := range 30 {
		name := []string{"a", "b"}[n%2]
		all.Go(func() {
			p := d.run(proc.Request{Name: fmt.Sprintf("p%d", n), Image: r.Ref(name + ":1")})
			if got := d.output(p.ID); got != name+"\n" {
				t.Errorf("%s: %q, %s", name, got, p.Reason)
			}
		})
	}
	all.Wait()
	layers, err := filepath.Glob(filepath.Join(d.stateDir, "cache/layers/*"))
	if err != nil {
		t.Fatal(err)
	}
	if blobs := r.Asked("GET /v2/a/blobs/") + r.Asked("GET /v2/b/blobs/"); len(layers) != 4 || blobs != 6 { // two are configurations
		t.Errorf("%d blobs were sent, and the layers are %q", blobs, layers)
	}

	r.Close()
	d.stop()
	d.start()
	p := d.run(proc.Request{Name: "late", Image: r.Ref("a:1")})
	if got := d.output(p.ID); got != "a\n" {
		t.Errorf("with no registry: %q, %s", got, p.Reason)
	}
}

// A proc keeps the content that it began with: through a restart of its own, of the
// hypervisor, and whatever the tag names by then.
func TestContainerKeepsContent(t *testing.T) {
	r := registry.New(t)
	base := layered(t, v1.Config{Cmd: []string{"/usr/bin/sh", "-c", "cat /which; exec sleep 1000"}})
	push := func(which string) string {
		image := base
		image.Layers = append(slices.Clone(base.Layers), registry.Tar(t, registry.Named("which", which+"\n")))
		return r.Push("a:1", image)
	}
	digest := push("one")
	d := serve(t, "--restart-wait", "10ms")
	p := d.create(proc.Request{Name: "x", Image: r.Ref("a:1"), Supervision: proc.Supervision{Restart: &proc.Restart{Policy: proc.RestartAlways}}})
	p = d.until(p.ID, "running", func(p proc.Proc) bool { return p.State == proc.Running })
	push("two")
	d.kill()
	d.start()
	if now := d.get(p.ID); now.PID != p.PID || now.ImageDigest != digest {
		t.Errorf("got %+v", now)
	}
	if diff := d.do(http.MethodGet, "/v1/procs/"+p.ID+"/verify", nil); diff.status != http.StatusOK {
		t.Errorf("verify: %s", diff)
	}
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.until(p.ID, "running again", func(now proc.Proc) bool { return now.State == proc.Running && now.Restarts == 1 })
	testbed.Within(t, patience, "its second line", func() bool { return d.output(p.ID) == "one\none\n" })
	if now := d.get(p.ID); now.ImageDigest != digest {
		t.Errorf("after the restart: %+v", now)
	}
	d.remove(p.ID)
}

// The command line runs a container image, and asks for no command.
func TestContainerCLI(t *testing.T) {
	r := registry.New(t)
	r.Push("app:1", layered(t, v1.Config{Cmd: []string{"/usr/bin/sh", "-c", "echo from the image; exit 4"}}))
	d := serve(t)
	if got := d.cli(t, "run", "--rm", "--image", r.Ref("app:1")); got.code != 4 || got.stdout != "from the image\n" {
		t.Errorf("got %+v", got)
	}
	if got := d.cli(t, "run", "--rm", "--image", r.Ref("app:1"), "--user", "5", "--", "id", "-u"); got.code != 0 || got.stdout != "5\n" {
		t.Errorf("got %+v", got)
	}
	if got := d.cli(t, "image", "ls"); got.code != 0 || !strings.Contains(got.stdout, r.Ref("app:1")) {
		t.Errorf("got %+v", got)
	}
	if got := d.cli(t, "image", "verify"); got.code != 0 {
		t.Errorf("got %+v", got)
	}
	if got := d.cli(t, "run", "--dry-run", "--image", r.Ref("app:1")); got.code != 0 || !strings.Contains(got.stdout, "cache/layers/") ||
		!strings.Contains(got.stdout, "from the image") {
		t.Errorf("got %+v", got)
	}
}
