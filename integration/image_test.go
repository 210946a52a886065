//go:build integration

package integration

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// A file is an entry of an image.
type file struct {
	name, content string
	mode          int64 // 0: 0644
}

// pack makes a .tar.gz.
func pack(tb testing.TB, files ...file) []byte {
	tb.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	archive := tar.NewWriter(zip)
	for _, f := range files {
		if f.mode == 0 {
			f.mode = 0o644
		}
		h := &tar.Header{Name: f.name, Typeflag: tar.TypeReg, Mode: f.mode, Size: int64(len(f.content))}
		if err := archive.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if _, err := archive.Write([]byte(f.content)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		tb.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// packDir makes a .tar.gz of the files in a folder.
func packDir(tb testing.TB, dir string) []byte {
	tb.Helper()
	var files []file
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files = append(files, file{path, string(content), int64(info.Mode().Perm())})
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return pack(tb, files...)
}

// goweb is the static Go web server's program, built once.
var goweb = sync.OnceValues(func() ([]byte, error) {
	to := filepath.Join(builds, "goweb")
	if err := goBuild(to, "./testdata/goweb", "CGO_ENABLED=0", "-ldflags", "-s -w"); err != nil {
		return nil, err
	}
	return os.ReadFile(to)
})

// gowebImage is the image of an app that is one static program, /app/goweb.
func gowebImage(tb testing.TB) []byte {
	tb.Helper()
	program, err := goweb()
	if err != nil {
		tb.Fatal(err)
	}
	return pack(tb, file{"goweb", string(program), 0o755})
}

// serveImages serves files by their names on loopback, with an ETag each, and
// returns the URL that the names follow.
func serveImages(tb testing.TB, images map[string][]byte) string {
	tb.Helper()
	return serveHTTP(tb, func(w http.ResponseWriter, r *http.Request) {
		image, ok := images[r.URL.Path[1:]]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(image)))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(image))
	})
}

// serveHTTP answers on loopback until the test ends, after the daemons that were
// started later.
func serveHTTP(tb testing.TB, handle http.HandlerFunc) string {
	tb.Helper()
	s := httptest.NewServer(handle)
	tb.Cleanup(s.Close)
	return s.URL + "/"
}
