package rootfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// seal makes a version of a template; each pair of a name and a content is one more
// file of its tree.
func (b *bench) seal(name string, files ...string) Template {
	b.t.Helper()
	t, err := b.draft(name, files...).Seal(b.t.Context(), SealOptions{Source: "a test"})
	if err != nil {
		b.t.Fatal(err)
	}
	return t
}

func (b *bench) draft(name string, files ...string) *Draft {
	b.t.Helper()
	d, err := b.ts.Draft(name)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := d.Discard(); err != nil {
			b.t.Error(err)
		}
	})
	rel, err := filepath.Rel(b.dir, d.Dir)
	if err != nil {
		b.t.Fatal(err)
	}
	b.debootstrap(rel)
	for n := 0; n < len(files); n += 2 {
		b.write(filepath.Join(rel, files[n]), files[n+1])
	}
	return d
}

// names lists what is in a folder of the store.
func (b *bench) names(dir string) []string {
	b.t.Helper()
	entries, err := os.ReadDir(filepath.Join(b.state, "templates", dir))
	if err != nil {
		b.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestSeal(t *testing.T) {
	b := newBench(t)
	first := b.seal("web", "srv/x", "1")
	if first.Name != "web" || first.Version != versionOf(first.Hash) || first.Source != "a test" || first.UserName != "gilliam" ||
		first.OS != "Debian GNU/Linux 12 (bookworm)" || first.Files == 0 || first.Bytes == 0 || first.Created.IsZero() ||
		first.Path != filepath.Join(b.state, "templates/web", first.Version, "tree") {
		t.Errorf("got %+v", first)
	}
	second := b.seal("web", "srv/x", "2")
	if second.Version == first.Version {
		t.Errorf("another tree is the same version: %+v", second)
	}
	for ref, want := range map[string]Template{"web": second, first.Ref(): first, second.Ref(): second} {
		if got, err := b.ts.Get(ref); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", ref, got, err, want)
		}
	}
	all, err := b.ts.Versions("web")
	if err != nil || !slices.Equal(all, []Template{second, first}) {
		t.Errorf("got %+v, %v", all, err)
	}
	// What was there already is that, and the current one again.
	if again := b.seal("web", "srv/x", "1"); again != first {
		t.Errorf("got %+v, want %+v", again, first)
	}
	if got, err := b.ts.Get("web"); err != nil || got != first {
		t.Errorf("got %+v, %v, want %+v", got, err, first)
	}
	// The draft of what was there already goes when it is discarded.
	if got := b.names(""); len(got) != 3 {
		t.Errorf("in the store: %q", got)
	}
	for name, want := range map[string]fs.FileMode{
		"": 0o700, "web": 0o700, "web/" + first.Version: 0o700, "web/current/tree": 0o755, "web/current/manifest": 0o600, "web/current/template.json": 0o600,
	} {
		if fi, err := os.Stat(filepath.Join(b.state, "templates", name)); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: got %v, %v, want %v", name, fi.Mode(), err, want)
		}
	}
}

// The default template is the one of that name in the store, a plain folder that
// somebody has made before, or what the configuration says.
func TestDefaultTemplate(t *testing.T) {
	b := newBench(t)
	folder := filepath.Join(b.state, "template")
	at := func(cfg TemplatesConfig) string {
		t.Helper()
		cfg.Dir = filepath.Join(b.state, "templates")
		ts := OpenTemplates(cfg)
		ts.owner = os.Geteuid()
		found, err := ts.Get("")
		if err != nil {
			return err.Error()
		}
		if again, err := ts.Get("default"); err != nil || again != found {
			t.Errorf("by name: got %+v, %v, want %+v", again, err, found)
		}
		if list, err := ts.List(); err != nil || len(list) == 0 || list[0] != found {
			t.Errorf("list: got %+v, %v, want %+v first", list, err, found)
		}
		return found.Path
	}
	none := at(TemplatesConfig{Folder: folder})
	if !strings.Contains(none, `template "default" does not exist: make it with`) {
		t.Errorf("got %s", none)
	}
	b.ts.cfg.Default = ""
	web := b.seal("web")
	if got := at(TemplatesConfig{Folder: folder}); !strings.Contains(got, "(there is "+web.Ref()+")") {
		t.Errorf("got %s", got)
	}
	if got := at(TemplatesConfig{Default: "web", Folder: folder}); got != web.Path {
		t.Errorf("got %s, want %s", got, web.Path)
	}
	b.debootstrap("state/template")
	b.write("state/template/etc/passwd", "gilliam:x:1000:1000::/app:/bin/sh\n")
	if got := at(TemplatesConfig{Folder: folder}); got != folder {
		t.Errorf("got %s, want %s", got, folder)
	}
	sealed := b.seal("default")
	if got := at(TemplatesConfig{Folder: folder}); got != sealed.Path {
		t.Errorf("got %s, want %s", got, sealed.Path)
	}
	if got := at(TemplatesConfig{Default: folder}); got != folder {
		t.Errorf("got %s, want %s", got, folder)
	}
	if got := at(TemplatesConfig{Default: folder + ".none"}); !strings.Contains(got, `"default" does not exist at `+folder+".none") {
		t.Errorf("got %s", got)
	}
	// A folder can be sealed into, once.
	b.ts.cfg.Default = filepath.Join(b.state, "other")
	if got := b.seal("default"); got.Path != b.ts.cfg.Default || got.Sealed() {
		t.Errorf("got %+v", got)
	}
	_, err := b.ts.Draft("default")
	wantErr(t, err, ErrExist, "which is there already")
}

func TestDraftRefuses(t *testing.T) {
	b := newBench(t)
	b.debootstrap("state/templates/plain")
	if err := os.Chmod(b.state, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"": "must not be empty", "../x": "template name", "a@0123456789abcdef": "leave out the @"} {
		_, err := b.ts.Draft(name)
		wantErr(t, err, ErrInvalid, want)
	}
	_, err := b.ts.Draft("x")
	wantErr(t, err, ErrInvalid, "chmod 0700")
	if err := os.Chmod(filepath.Join(b.state, "templates"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = b.ts.Draft("plain")
	wantErr(t, err, ErrExist, "is the plain folder")
	d, err := b.ts.Draft("x")
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Seal(t.Context(), SealOptions{})
	wantErr(t, err, ErrInvalid, "is it a root file system?")
	if err := d.Discard(); err != nil {
		t.Error(err)
	}
	d = b.draft("x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Seal(ctx, SealOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := d.Discard(); err != nil {
		t.Error(err)
	}
	if got := b.names(""); !slices.Equal(got, []string{".lock", "plain"}) {
		t.Errorf("in the store: %q", got)
	}
}

func TestRemoveTemplate(t *testing.T) {
	b := newBench(t)
	unused := func(Template) bool { return false }
	first, second, third := b.seal("web", "x", "1"), b.seal("web", "x", "2"), b.seal("web", "x", "3")
	remove := func(ref string, used func(Template) bool) error {
		clear, err := b.ts.Remove(ref, used)
		if err == nil {
			err = clear()
		}
		return err
	}
	by := func(in ...Template) func(Template) bool {
		return func(one Template) bool {
			return slices.ContainsFunc(in, func(o Template) bool { return o.Ref() == one.Ref() })
		}
	}
	wantErr(t, remove("web", by(first)), ErrInUse, first.Ref()+" is in use")
	wantErr(t, remove(first.Ref(), by(first)), ErrInUse, "stop the procs")
	wantErr(t, remove("none", unused), ErrNotExist, `"none" does not exist`)
	wantErr(t, remove("web@0123456789abcdef", unused), ErrNotExist, `"web@0123456789abcdef" does not exist`)
	wantErr(t, remove("", unused), ErrInvalid, "not ours to remove")
	if err := os.Remove(filepath.Join(third.Path, "etc/passwd")); err != nil { // who is damaged can be removed, too
		t.Fatal(err)
	}
	if all, err := b.ts.Versions(second.Ref()); err != nil || !slices.Equal(all, []Template{second, first}) {
		t.Errorf("got %+v, %v", all, err)
	}
	// Without the current one, the newest of the others is it.
	if err := remove(third.Ref(), by(first, second)); err != nil {
		t.Error(err)
	}
	if got, err := b.ts.Get("web"); err != nil || got != second {
		t.Errorf("got %+v, %v, want %+v", got, err, second)
	}
	b.seal("web", "x", "4")
	gone, clear, err := b.ts.Prune(by(first))
	if err != nil || len(gone) != 1 || gone[0].Ref() != second.Ref() {
		t.Fatalf("pruned %+v, %v", gone, err)
	}
	if err := clear(); err != nil {
		t.Error(err)
	}
	if err := remove("web", unused); err != nil {
		t.Error(err)
	}
	if got := b.names(""); !slices.Equal(got, []string{".lock"}) {
		t.Errorf("in the store: %q", got)
	}
}

func TestVerifyTemplate(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(dir string) error
		want []string
	}{
		"nothing": {func(string) error { return nil }, nil},
		"flip":    {flip, []string{"srv/x: sha256 is "}},
		"mode":    {func(dir string) error { return os.Chmod(dir+"/srv/x", 0o600) }, []string{"srv/x: mode is 0600, was 0644"}},
		"setuid":  {func(dir string) error { return os.Chmod(dir+"/srv/x", 0o644|fs.ModeSetuid) }, []string{"srv/x: mode is 4644, was 0644"}},
		"added":   {func(dir string) error { return os.WriteFile(dir+"/a b", nil, 0o644) }, []string{"a b: added"}},
		"removed": {func(dir string) error { return os.RemoveAll(dir + "/srv") }, []string{"srv: missing", "srv/x: missing"}},
		"top":     {func(dir string) error { return os.Chmod(dir, 0o711) }, []string{".: mode is 0711, was 0755"}},
		"link": {func(dir string) error {
			return errors.Join(os.Remove(dir+"/etc/os-release"), os.Symlink("x", dir+"/etc/os-release"))
		}, []string{"etc/os-release: link is x, was ../usr/lib/os-release"}},
		"longer":    {func(dir string) error { return os.Truncate(dir+"/srv/x", 9) }, []string{"srv/x: size is 9, was 1; sha256 is "}},
		"retyped":   {func(dir string) error { return errors.Join(os.Remove(dir+"/srv/x"), os.Mkdir(dir+"/srv/x", 0o755)) }, []string{"srv/x: type is dir, was file"}},
		"date only": {func(dir string) error { return os.Chtimes(dir+"/srv/x", time.Unix(1, 0), time.Unix(1, 0)) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			sealed := b.seal("web", "srv/x", "1")
			if err := c.do(sealed.Path); err != nil {
				t.Fatal(err)
			}
			got, changes, err := b.ts.Verify(t.Context(), "web", nil)
			if err != nil || got.Ref() != sealed.Ref() || len(changes) != len(c.want) {
				t.Fatalf("got %+v, %v, %v", got, changes, err)
			}
			for n, want := range c.want {
				if !strings.HasPrefix(changes[n].String(), want) {
					t.Errorf("got %s, want %s", changes[n], want)
				}
			}
		})
	}
	b := newBench(t)
	b.seal("web")
	list := filepath.Join(b.state, "templates/web/current/manifest")
	text, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list, []byte(strings.Replace(string(text), "./app ", "./apq ", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = b.ts.Verify(t.Context(), "web", nil)
	wantErr(t, err, ErrInvalid, "its manifest has been changed")
	b.debootstrap("state/template")
	b.write("state/template/etc/passwd", "gilliam:x:1000:1000::/app:/bin/sh\n")
	_, _, err = b.ts.Verify(t.Context(), "", nil)
	wantErr(t, err, ErrInvalid, "is a plain folder")
}

// flip changes one bit of a file, and neither its size nor its date.
func flip(dir string) error {
	name := dir + "/srv/x"
	fi, err := os.Stat(name)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(name, []byte("0"), 0o644), os.Chtimes(name, fi.ModTime(), fi.ModTime()))
}
