package rootfs

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestFetch(t *testing.T) {
	i := newImages(t, ImagesConfig{})
	image := sampleImage(t)
	var asked atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") == "" {
			asked.Add(1)
		}
		if r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("asked for %q", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip") // as some servers say of a .tar.gz
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(image))
	})
	ref := s.URL + "/blog.tar.gz?token=secret"
	img, err := i.Fetch(context.Background(), Want{Ref: ref})
	if err != nil {
		t.Fatal(err)
	}
	if img.Ref != s.URL+"/blog.tar.gz" || img.Entries != 5 || img.Bytes != 22 || img.Digest != digestOf(image) {
		t.Errorf("got %+v", img)
	}
	root, err := os.OpenRoot(img.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	content{"run": "#!/bin/sh\necho hello\n", "bin/tool": "x", "current": "-> bin/tool"}.check(t, root)
	for p, want := range map[string]fs.FileMode{i.cfg.Dir: 0o700, filepath.Dir(img.Dir): 0o700, img.Dir: 0o755} {
		if fi, err := os.Stat(p); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", p, fi.Mode(), err, want)
		}
	}
	if b, err := os.ReadFile(filepath.Join(filepath.Dir(img.Dir), recordName)); err != nil || bytes.Contains(b, []byte("secret")) {
		t.Errorf("record %s, %v", b, err)
	}

	again, err := i.Fetch(context.Background(), Want{Ref: ref})
	if err != nil || again != img {
		t.Errorf("got %+v, %v, want %+v", again, err, img)
	}
	reopened := newImages(t, ImagesConfig{Dir: i.cfg.Dir})
	if other, err := reopened.Fetch(context.Background(), Want{Ref: ref}); err != nil || other != img {
		t.Errorf("got %+v, %v, want %+v", other, err, img)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if got, want := i.Counts(), (ImageCounts{Hits: 1, Fetched: 1, Bytes: uint64(len(image))}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// What a server can do wrong, and what the proc's reason then is.
func TestFetchFails(t *testing.T) {
	image := sampleImage(t)
	half := image[:len(image)/2]
	plainTar := sampleTar(t)
	answer := func(b []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { w.Write(b) }
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code); w.Write(image) }
	}
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
		}
	}
	hijack := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			c, buf, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			buf.WriteString(answer)
			buf.Flush()
		}
	}
	for _, c := range []struct {
		name string
		h    http.HandlerFunc
		want string
	}{
		{"404", status(404), "/app.tar.gz: 404 Not Found: check that the URL is right"},
		{"410", status(410), "410 Gone: check that the URL is right"},
		{"401", status(401), "401 Unauthorized: the server wants a login"},
		{"403", status(403), "403 Forbidden: the server wants a login"},
		{"429", status(429), "try again later"},
		{"500", status(500), "500 Internal Server Error: the server has a problem; try again later"},
		{"204", status(204), "204 No Content"},
		{"206", status(206), "206 Partial Content"},
		{"299", status(299), "299 unknown status"},
		{"status line with tricks", hijack("HTTP/1.1 404 \x1b[31mEvil token\r\nContent-Length: 0\r\n\r\n"), "404 Not Found"},
		{"html with 200", answer([]byte("\n<!DOCTYPE html><html>")), "a web page (HTML): check that the URL"},
		{"html in capitals", answer([]byte("<HTML>")), "a web page (HTML)"},
		{"json", answer([]byte(`{"error":"x"}`)), "JSON text"},
		{"zip", answer([]byte("PK\x03\x04xxxx")), "damaged: zip"},
		{"zstd", answer([]byte("\x28\xb5\x2f\xfdxxxx")), "the zstd data"},
		{"bzip2", answer([]byte("BZh9xxxx")), "compressed with bzip2: compress it with gzip, xz or zstd"},
		{"tar and garbage", answer(append(bytes.Clone(plainTar), "garbage"...)), "data after the end of the archive"},
		{"one byte", answer([]byte{0x1f}), "not a tar or zip archive"},
		{"empty", answer(nil), "empty: the server has sent nothing"},
		{"cut", answer(half), "ends too early"},
		{"cut in the header", answer(image[:6]), "ends too early"},
		{"garbage after it", answer(append(bytes.Clone(image), "garbage garbage"...)), "data after the end"},
		{"length too large", hijack(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(image)+10, image)), "ends too early"},
		{"length too small", hijack(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(half), image)), "ends too early"},
		{"length above the limit", hijack("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"), "larger than 1 MiB"},
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			zw := gzip.NewWriter(w)
			for n := 0; ; n++ {
				noise := fmt.Sprintf("%0512d", n*7919)
				if _, err := zw.Write([]byte(noise)); err != nil {
					return
				}
				if n == 0 {
					zw.Close()
				}
			}
		}, "not a tar or zip archive"},
		{"endless chunks", func(w http.ResponseWriter, r *http.Request) {
			member := gzipped(t, make([]byte, 512))
			w.Write(gzipped(t, plainTar))
			for {
				if _, err := w.Write(member); err != nil {
					return
				}
			}
		}, "larger than 1 MiB"},
		{"reset", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		{"header of 60 kB", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 60<<10))
			w.Write(image)
		}, "headers exceeded"},
		{"no http", hijack("220 smtp.example.com ESMTP\r\n"), "malformed HTTP"},
		{"redirect loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, "more than 10 redirects"},
		{"redirect to a file", redirect("file:///etc/passwd"), `redirected to a URL that must be an http or https URL, not "file"`},
		{"redirect to metadata", redirect("http://169.254.169.254/latest/"), "redirected to a URL that address 169.254.169.254 is link-local"},
		{"redirect with a password", redirect("http://me:pw@example.com/"), "must not hold a user name"},
		{"redirect to a number", redirect("http://2130706433/"), "host name or an address written in full"},
		{"redirect to nowhere", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusFound) }, "302"},
		{"device in it", answer(func() []byte { a := newArchive(t); a.special("null", '3'); return a.gz() }()), `entry "null": a device`},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := newImages(t, ImagesConfig{Limits: UnpackLimits{Download: 1 << 20}})
			s := serve(t, c.h)
			s.Config.ErrorLog = nil
			ref := s.URL + "/app.tar.gz"
			_, err := i.Fetch(context.Background(), Want{Ref: ref + "?token=secret"})
			if err == nil {
				t.Fatal("fetched")
			}
			msg := err.Error()
			if !strings.HasPrefix(msg, "image "+ref+": ") || !strings.Contains(msg, c.want) {
				t.Errorf("got %q, want %q in it", msg, c.want)
			}
			if strings.Contains(msg, "secret") || strings.Contains(msg, "pw") || strings.ContainsRune(msg, 0x1b) {
				t.Errorf("the reason tells too much: %q", msg)
			}
			if names := cacheNames(t, i); len(names) != 0 {
				t.Errorf("left in the cache: %v", names)
			}
			if c := i.Counts(); c.Failed != 1 || c.Fetched != 0 {
				t.Errorf("counts %+v", c)
			}
		})
	}
}

// A server that sends nothing more: before its header, after it, in the middle.
func TestFetchStalls(t *testing.T) {
	image := sampleImage(t)
	for _, c := range []struct {
		name string
		sent func(w http.ResponseWriter)
		want string
	}{
		{"before the header", func(http.ResponseWriter) {}, "timeout awaiting response headers"},
		{"after the header", func(w http.ResponseWriter) { w.WriteHeader(200) }, "stalled after 0 bytes"},
		{"in the middle", func(w http.ResponseWriter) { w.Write(image[:50]) }, "stalled after 50 bytes"},
		{"before the end", func(w http.ResponseWriter) { w.Write(image) }, "stalled after"},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := newImages(t, ImagesConfig{})
			i.connect(&net.Dialer{}, 50*time.Millisecond)
			i.retry.first = time.Millisecond
			gone := make(chan struct{}, 100)
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				c.sent(w)
				if f := w.(http.Flusher); c.name != "before the header" {
					f.Flush()
				}
				<-r.Context().Done() // the client has given up
				gone <- struct{}{}
			})
			_, err := i.Fetch(context.Background(), Want{Ref: s.URL})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			<-gone
			if names := cacheNames(t, i); len(names) != 0 {
				t.Errorf("left in the cache: %v", names)
			}
		})
	}
}

func TestFetchTimeout(t *testing.T) {
	i := newImages(t, ImagesConfig{Timeout: 50 * time.Millisecond})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	_, err := i.Fetch(context.Background(), Want{Ref: s.URL})
	if err == nil || !strings.Contains(err.Error(), "not there after 50ms") {
		t.Errorf("got %v", err)
	}
}
