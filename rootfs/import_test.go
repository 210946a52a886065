package rootfs

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/gilliam/hypervisor/rootfs/oci"
)

// A layerEntry is one of a root file system's tar.
type layerEntry struct {
	name, body string
	mode       int64
	kind       byte
}

// base is a root file system, and changes makes of it what want is.
var (
	base = []layerEntry{
		{"./", "", 0o755, tar.TypeDir}, {"./etc/", "", 0o755, tar.TypeDir}, {"./etc/passwd", "root:x:0:0:root:/root:/bin/bash\n", 0o644, tar.TypeReg},
		{"./etc/group", "root:x:0:\n", 0o644, tar.TypeReg}, {"./old/", "", 0o755, tar.TypeDir}, {"./old/file", "1", 0o644, tar.TypeReg},
		{"./usr/bin/", "", 0o755, tar.TypeDir}, {"./usr/bin/su", "program", 0o4755, tar.TypeReg}, {"./bin", "usr/bin", 0o777, tar.TypeSymlink},
		{"./dev/null", "", 0o666, tar.TypeChar},
	}
	changes = []layerEntry{{".wh.old", "", 0, tar.TypeReg}, {"bin/ls", "lists", 0o755, tar.TypeReg}, {"etc/shadow", "", 0o640, tar.TypeReg}}
	want    = append(slices.DeleteFunc(slices.Clone(base), func(e layerEntry) bool { return strings.HasPrefix(e.name, "./old") }),
		layerEntry{"usr/bin/ls", "lists", 0o755, tar.TypeReg}, layerEntry{"etc/shadow", "", 0o640, tar.TypeReg})
)

func packLayer(t *testing.T, entries []layerEntry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: e.mode, Uid: os.Getuid(), Gid: os.Getgid()}
		if e.kind == tar.TypeReg {
			h.Size = int64(len(e.body))
		} else {
			h.Linkname = e.body
		}
		err := w.WriteHeader(h)
		if err == nil && e.kind == tar.TypeReg {
			_, err = w.Write([]byte(e.body))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// An ociImage is files of an image in OCI's layout.
type ociImage map[string][]byte

func (i ociImage) blob(content []byte) map[string]any {
	digest := contentDigest(content)
	i["blobs/sha256/"+strings.TrimPrefix(digest, "sha256:")] = content
	return map[string]any{"digest": digest, "size": len(content)}
}

func (i ociImage) json(v map[string]any, kind string) map[string]any {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	d := i.blob(b)
	d["mediaType"] = kind
	return d
}

// newImage is an image of layers. With others it is one for this machine among some.
func newImage(t *testing.T, others bool, layers ...[]byte) ociImage {
	t.Helper()
	i := ociImage{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	var descs []map[string]any
	var ids []string
	for _, l := range layers {
		d := i.blob(gzipped(t, l))
		d["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip"
		descs, ids = append(descs, d), append(ids, contentDigest(l))
	}
	config := i.json(map[string]any{"os": "linux", "architecture": runtime.GOARCH, "rootfs": map[string]any{"type": "layers", "diff_ids": ids}}, "application/vnd.oci.image.config.v1+json")
	m := i.json(map[string]any{"schemaVersion": 2, "config": config, "layers": descs}, "application/vnd.oci.image.manifest.v1+json")
	list := []map[string]any{m}
	if others {
		m["platform"] = map[string]any{"os": "linux", "architecture": runtime.GOARCH}
		list = append(list, map[string]any{"mediaType": m["mediaType"], "digest": contentDigest(nil), "size": 0, "platform": map[string]any{"os": "plan9", "architecture": "mips"}})
	}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": list})
	if err != nil {
		t.Fatal(err)
	}
	i["index.json"] = index
	return i
}

// save writes the image into a folder.
func (b *bench) save(i ociImage, name string) string {
	b.t.Helper()
	for file, content := range i {
		b.write(filepath.Join(name, file), string(content))
	}
	return filepath.Join(b.dir, name)
}

// tarOf packs files, one after the other.
func tarOf(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var entries []layerEntry
	for name, content := range files {
		entries = append(entries, layerEntry{name, string(content), 0o644, tar.TypeReg})
	}
	slices.SortFunc(entries, func(a, b layerEntry) int { return strings.Compare(a.name, b.name) })
	return packLayer(t, entries)
}

// However it comes, the same tree is the same version.
func TestImport(t *testing.T) {
	b := newBench(t)
	plain := packLayer(t, want)
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	layers := [][]byte{packLayer(t, base), packLayer(t, changes)}
	saved := map[string][]byte{"manifest.json": []byte(`[{"Config":"c.json","RepoTags":["x:y"],"Layers":["a/layer.tar","b/layer.tar"]}]`), "a/layer.tar": layers[0], "b/layer.tar": layers[1]}
	for _, name := range []string{"plain.tar", "x.tar.gz", "x.tar.zst", "oci.tar", "saved.tar.gz"} {
		b.write(name, string(map[string][]byte{
			"plain.tar": plain, "x.tar.gz": gzipped(t, plain), "x.tar.zst": z.EncodeAll(plain, nil),
			"oci.tar": tarOf(t, newImage(t, false, layers...)), "saved.tar.gz": gzipped(t, tarOf(t, saved)),
		}[name]))
	}
	b.save(newImage(t, false, layers...), "layout")
	b.save(newImage(t, true, layers...), "several")
	b.save(saved, "saved")
	folder := ""
	var first Template
	for _, c := range []struct {
		from, source string
		skipped      int
	}{
		{"plain.tar", "tar ", 1}, {"x.tar.gz", "tar ", 1}, {"x.tar.zst", "tar ", 1}, {"-", "tar -", 1}, {"folder", "folder ", 0},
		{"layout", "image sha256:", 1}, {"several", "image sha256:", 1}, {"oci.tar", "image sha256:", 1}, {"saved", "image ", 1}, {"saved.tar.gz", "image ", 1},
	} {
		from := filepath.Join(b.dir, c.from)
		switch c.from {
		case "-":
			from = "-"
		case "folder":
			from = folder
		}
		name := strings.ReplaceAll(strings.TrimSuffix(c.from, "-"), ".", "") + "t"
		wrote, read := 0, make(chan int, 100)
		got, err := b.ts.Import(t.Context(), name, from, bytes.NewReader(plain), ImportOptions{Wrote: func(n int) { wrote += n }, Read: func(n int) { read <- n }})
		if err != nil {
			t.Errorf("%s: %v", c.from, err)
			continue
		}
		if first.Hash == "" {
			first, folder = got.Template, got.Template.Path
		}
		if got.Template.Hash != first.Hash || !strings.HasPrefix(got.Template.Source, c.source) || got.Skipped != c.skipped || wrote == 0 || len(read) == 0 {
			t.Errorf("%s: got %+v, wrote %d, read %d times; want %s", c.from, got, wrote, len(read), first.Hash)
		}
	}
	if fi, err := os.Stat(first.Path + "/usr/bin/su"); err != nil || fi.Mode() != fs.ModeSetuid|0o755 {
		t.Errorf("got %v, %v", fi.Mode(), err)
	}
	if got := b.read("state/templates/plaintart/current/tree/etc/passwd"); !strings.Contains(got, "gilliam:x:1000:1000::/app:/bin/sh\n") {
		t.Errorf("got %s", got)
	}
	if fi, err := os.Stat(first.Path + "/app"); err != nil || !fi.IsDir() {
		t.Errorf("no /app: %v", err)
	}
	for _, name := range b.names("") {
		if strings.HasPrefix(name, ".template-") {
			t.Errorf("left in the store: %s", name)
		}
	}
}

// What cannot be imported leaves nothing, and touches nothing else.
func TestImportRefuses(t *testing.T) {
	good := packLayer(t, base)
	evil := func(entries ...layerEntry) []byte { return packLayer(t, append(slices.Clone(base), entries...)) }
	out := layerEntry{"l", "../../../../../canary", 0o777, tar.TypeSymlink}
	for name, c := range map[string]struct {
		from string
		make func(b *bench)
		want string
	}{
		"nothing":   {"none", func(*bench) {}, "no such file"},
		"a device":  {"/dev/null", func(*bench) {}, "neither a folder nor a file"},
		"no tar":    {"x", func(b *bench) { b.write("x", strings.Repeat("x", 1024)) }, "invalid tar header"},
		"cut off":   {"x", func(b *bench) { b.write("x", string(gzipped(t, good)[:200])) }, "ends too early"},
		"empty":     {"x", func(b *bench) { b.write("x", "") }, "is it a root file system?"},
		"no root":   {"x", func(b *bench) { b.write("x/notes", "") }, "is it a root file system?"},
		"dotdot":    {"x", func(b *bench) { b.write("x", string(evil(layerEntry{"../../x", "", 0, tar.TypeReg}))) }, "leads out of the archive"},
		"by a link": {"x", func(b *bench) { b.write("x", string(evil(out, layerEntry{"l/shadow", "mine", 0o644, tar.TypeReg}))) }, `"l" leads nowhere`},
		"hard link": {"x", func(b *bench) { b.write("x", string(evil(out, layerEntry{"h", "l/shadow", 0, tar.TypeLink}))) }, "not there before it"},
		"layer by a link": {"x", func(b *bench) {
			b.save(newImage(t, false, good, packLayer(t, []layerEntry{out, {"l/x", "", 0, tar.TypeReg}})), "x")
		}, `"l" leads nowhere`},
		"passwd leads out": {"x", func(b *bench) {
			b.write("x", string(evil(layerEntry{"etc/passwd", b.hq + "/passwd", 0, tar.TypeSymlink})))
		}, "escapes"},
		"other bytes":    {"x", func(b *bench) { b.save(tampered(newImage(t, false, good)), "x") }, "layer sha256:"},
		"blob leads out": {"x", func(b *bench) { b.save(linked(b, newImage(t, false, good)), "x") }, "escapes"},
		"digest leads out": {"x", func(b *bench) {
			b.save(ociImage{"oci-layout": nil, "index.json": []byte(`{"manifests":[{"digest":"sha256:../../../canary/shadow"}]}`)}, "x")
		}, "must be sha256:"},
		"no such machine": {"x", func(b *bench) {
			b.save(ociImage{"oci-layout": nil, "index.json": []byte(`{"schemaVersion":2,"manifests":[]}`)}, "x")
		}, "there is no image for"},
		"two saved":         {"x", func(b *bench) { b.save(ociImage{"manifest.json": []byte(`[{"Layers":["a"]},{"Layers":["b"]}]`)}, "x") }, "about 2 images"},
		"saved leads out":   {"x", func(b *bench) { b.save(ociImage{"manifest.json": []byte(`[{"Layers":["../canary/shadow"]}]`)}, "x") }, "escapes"},
		"saved is no array": {"x", func(b *bench) { b.save(ociImage{"manifest.json": []byte(`{}`)}, "x") }, "manifest.json: "},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			old := b.seal("web")
			c.make(b)
			from := c.from
			if !filepath.IsAbs(from) {
				from = filepath.Join(b.dir, from)
			}
			_, err := b.ts.Import(t.Context(), "web", from, nil, ImportOptions{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if name == "other bytes" && !errors.Is(err, oci.ErrDigest) {
				t.Errorf("got %v", err)
			}
			if got, err := b.ts.Get("web"); err != nil || got != old {
				t.Errorf("got %+v, %v, want %+v", got, err, old)
			}
			if got := b.names(""); !slices.Equal(got, []string{".lock", "web"}) {
				t.Errorf("in the store: %q", got)
			}
			if got := b.read("canary/shadow") + b.read("canary/passwd"); got != "root:secret:1::::::\nroot:x:0:0:root:/root:/bin/bash\n" {
				t.Errorf("the canary has changed: %q", got)
			}
			if names, _ := os.ReadDir(b.hq); len(names) != 2 {
				t.Errorf("the canary's folder has changed: %v", names)
			}
		})
	}
}

// tampered changes a byte of the image's largest blob, its layer.
func tampered(i ociImage) ociImage {
	largest := ""
	for name := range i {
		if strings.HasPrefix(name, "blobs/") && len(i[name]) > len(i[largest]) {
			largest = name
		}
	}
	i[largest] = append(slices.Clone(i[largest]), 0)
	return i
}

// linked makes one of the blobs a link to the canary.
func linked(b *bench, i ociImage) ociImage {
	for name := range i {
		if strings.HasPrefix(name, "blobs/") {
			delete(i, name)
			b.write("x/blobs/sha256/x", "")
			b.link(b.hq+"/shadow", "x/"+name)
		}
	}
	return i
}
