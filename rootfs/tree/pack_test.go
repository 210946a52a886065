package tree

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/rootfs/manifest"
)

// A bench is a tree that is being made beside a canary, whom nothing may touch.
type bench struct {
	t           *testing.T
	dir, canary string
	before      string // the hash of the canary
	w           *Writer
}

func newBench(t *testing.T) *bench {
	t.Helper()
	top := t.TempDir()
	b := &bench{t: t, dir: filepath.Join(top, "tree"), canary: filepath.Join(top, "canary")}
	err := errors.Join(os.Mkdir(b.dir, 0o755), os.Mkdir(b.canary, 0o755), os.WriteFile(b.canary+"/x", []byte("sing"), 0o600), os.Mkdir(b.canary+"/d", 0o755))
	if err != nil {
		t.Fatal(err)
	}
	b.before = b.hash(b.canary)
	if b.w, err = NewWriter(b.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.w.Close(); err != nil {
			t.Error(err)
		}
		if b.hash(b.canary) != b.before {
			t.Error("the canary has changed")
		}
		if names, err := os.ReadDir(top); err != nil || len(names) != 2 {
			t.Errorf("beside the tree: %v, %v", names, err)
		}
	})
	return b
}

func (b *bench) hash(dir string) string {
	b.t.Helper()
	m, err := manifest.Scan(context.Background(), dir, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return m.Hash()
}

// names lists the tree, as find(1) does.
func (b *bench) names() string {
	b.t.Helper()
	var names []string
	err := filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if path != b.dir {
			name := strings.TrimPrefix(path, b.dir+"/")
			if d.IsDir() {
				name += "/"
			}
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func (b *bench) read(name string) string {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		b.t.Error(err)
	}
	return string(text)
}

// An entry is one of a tar; its body is what is linked to where it is a link.
type entry struct {
	kind byte
	name string
	body string
	mode int64
}

var date = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

func dir(name string) entry        { return entry{tar.TypeDir, name, "", 0o755} }
func file(name, body string) entry { return entry{tar.TypeReg, name, body, 0o644} }
func link(name, to string) entry   { return entry{tar.TypeSymlink, name, to, 0o777} }
func hard(name, to string) entry   { return entry{tar.TypeLink, name, to, 0o644} }

// pack makes a tar.
func pack(tb testing.TB, entries ...entry) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Typeflag: e.kind, Name: e.name, Mode: e.mode, Uid: os.Getuid(), Gid: os.Getgid(), ModTime: date, Format: tar.FormatPAX}
		if e.kind == tar.TypeReg {
			h.Size = int64(len(e.body))
		} else {
			h.Linkname = e.body
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if e.kind == tar.TypeReg {
			if _, err := w.Write([]byte(e.body)); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func (b *bench) tar(entries ...entry) error {
	b.t.Helper()
	return b.w.Tar(b.t.Context(), bytes.NewReader(pack(b.t, entries...)))
}

func (b *bench) layer(entries ...entry) {
	b.t.Helper()
	if err := b.w.Layer(b.t.Context(), bytes.NewReader(pack(b.t, entries...))); err != nil {
		b.t.Fatal(err)
	}
}
