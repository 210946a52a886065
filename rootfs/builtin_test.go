//go:build integration

package rootfs

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// builtins is a template such as the program carries; see TestImport for what is in
// it.
func builtins(t *testing.T) *Builtin {
	t.Helper()
	b := newBench(t)
	b.write("x.tar", string(packLayer(t, append(slices.Clone(want),
		layerEntry{"app/", "", 0o755, '5'}, layerEntry{"etc/passwd", "gilliam:x:1000:1000::/app:/bin/sh\n", 0o644, '0'}))))
	done, err := b.ts.Import(t.Context(), "x", filepath.Join(b.dir, "x.tar"), nil, ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(b.dir, "x.tar"))
	if err != nil {
		t.Fatal(err)
	}
	return &Builtin{Name: "tiny", OS: "Tiny", Hash: done.Template.Hash, Open: func() io.Reader { return bytes.NewReader(text) }}
}

// What is built in is unpacked once, when it is first asked for, and is what
// "default" stands for where nothing else is.
func TestBuiltin(t *testing.T) {
	b := newBench(t)
	b.ts.cfg.Default, b.ts.cfg.Builtin = "", builtins(t)
	version := versionOf(b.ts.cfg.Builtin.Hash)
	list, err := b.ts.List()
	if err != nil || len(list) != 1 || list[0].Ref() != "tiny@"+version || list[0].Path != "" {
		t.Errorf("got %+v, %v", list, err)
	}
	_, err = b.ts.Draft("tiny")
	wantErr(t, err, ErrExist, "is built in: choose another name")
	var all sync.WaitGroup
	for _, ref := range []string{"", "default", "tiny", "tiny@" + version, ""} {
		all.Go(func() {
			if got, err := b.ts.Get(ref); err != nil || got.Ref() != "tiny@"+version || !b.ts.Builtin(got) {
				t.Errorf("%s: got %+v, %v", ref, got, err)
			}
		})
	}
	all.Wait()
	if got := b.names("tiny"); len(got) != 2 {
		t.Errorf("of tiny: %q", got)
	}
	if _, changes, err := b.ts.Verify(t.Context(), "tiny", nil); err != nil || len(changes) > 0 {
		t.Errorf("got %v, %v", changes, err)
	}
	// Another binary has another one; what is the current one is not the link's to say.
	other := *b.ts.cfg.Builtin
	other.Hash = "sha256:0123456789abcdef"
	next := OpenTemplates(b.ts.cfg)
	next.cfg.Builtin = &other
	if got, err := next.Get("tiny"); err == nil {
		t.Errorf("got %+v of another hash", got)
	}
	if got, err := next.Get("tiny@" + version); err != nil || next.Builtin(got) {
		t.Errorf("the old one: got %+v, %v", got, err)
	}
	if got := b.names(""); !slices.Equal(got, []string{".lock", "tiny"}) {
		t.Errorf("in the store: %q", got)
	}
}
