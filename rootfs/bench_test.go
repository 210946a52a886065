package rootfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// largeTar is a tar of 200 MB: 1,900 files of 100 KB and 4,000 small ones, of words
// that compress to about a third.
var largeTar = sync.OnceValue(func() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 4000)
	for n := range words {
		words[n] = fmt.Sprintf("%x ", r.Uint64()>>(8*r.IntN(7)))
	}
	text := func(n int) string {
		var b bytes.Buffer
		for b.Len() < n {
			b.WriteString(words[r.IntN(len(words))])
		}
		return b.String()[:n]
	}
	a := newArchive(&testing.B{})
	for n := range 1900 {
		a.file(fmt.Sprintf("lib/%d/%d", n%50, n), text(50_000+r.IntN(100_000)))
	}
	for n := range 4000 {
		a.file(fmt.Sprintf("share/%d/%d", n%200, n), text(100+r.IntN(4000)))
	}
	return a.tar()
})

// BenchmarkUnpack unpacks 200 MB and has tar(1) do the same in turn. The ratio is
// ours to theirs, of the time that passes and of the processors' time: below 1 is
// faster. Ours takes the SHA-256 of the archive and of each file, too. Neither
// waits for the disk, as tar never does; what a fetch adds to that is in
// BenchmarkFetch.
func BenchmarkUnpack(b *testing.B) {
	for _, c := range []struct{ name, flags, compress string }{
		{"plain", "-xf", "cat"}, {"gzip", "-xzf", "gzip -6 -c"}, {"zstd", "--zstd -xf", "zstd -3 -q -c"}, {"xz", "-xJf", "xz -1 -T2 -c"},
	} {
		b.Run(c.name, func(b *testing.B) {
			with := strings.Fields(c.compress)
			archive := command(b, largeTar(), with[0], with[1:]...)
			dir := b.TempDir()
			file := filepath.Join(dir, "archive")
			if err := os.WriteFile(file, archive, 0o600); err != nil {
				b.Fatal(err)
			}
			args := append(strings.Fields(c.flags), file, "-C")
			var ours, theirs, cpu, theirCPU time.Duration
			b.SetBytes(int64(len(largeTar())))
			for n := 0; b.Loop(); n++ {
				start, before := time.Now(), cpuTime(b, unix.RUSAGE_SELF)
				unpackFile(b, file, filepath.Join(dir, fmt.Sprint("ours", n)))
				ours += time.Since(start)
				cpu += cpuTime(b, unix.RUSAGE_SELF) - before
				b.StopTimer()
				to := filepath.Join(dir, fmt.Sprint("theirs", n))
				if err := os.Mkdir(to, 0o755); err != nil {
					b.Fatal(err)
				}
				start, before = time.Now(), cpuTime(b, unix.RUSAGE_CHILDREN)
				if out, err := exec.Command("tar", append(args, to)...).CombinedOutput(); err != nil {
					b.Fatalf("tar: %v: %s", err, out)
				}
				theirs += time.Since(start)
				theirCPU += cpuTime(b, unix.RUSAGE_CHILDREN) - before
				for _, d := range []string{"ours", "theirs"} {
					if err := os.RemoveAll(filepath.Join(dir, fmt.Sprint(d, n))); err != nil {
						b.Fatal(err)
					}
				}
				b.StartTimer()
			}
			b.ReportMetric(theirs.Seconds()/float64(b.N), "tar-s/op")
			b.ReportMetric(float64(ours)/float64(theirs), "ratio")
			b.ReportMetric(float64(cpu)/float64(theirCPU), "cpu-ratio")
		})
	}
}

// cpuTime is what this process, or those that it has waited for, have had of the
// processors.
func cpuTime(b *testing.B, who int) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func command(b *testing.B, in []byte, name string, args ...string) []byte {
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	return out
}

func unpackFile(b *testing.B, file, to string) {
	f, err := os.Open(file)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := os.Mkdir(to, 0o755); err != nil {
		b.Fatal(err)
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	in := &flow{ctx: b.Context(), cancel: func(error) {}, r: f, left: 1 << 40, total: new(atomic.Uint64), sum: sha256.New()}
	if _, err := unpack(in, root, UnpackLimits{}, nil); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkFetch is a proc's wait for its image: cold, from a server on loopback to
// the disk, synced, as an archive and as a file system that need not be unpacked; and
// from the cache, when the server is asked and when, by digest, it is not.
func BenchmarkFetch(b *testing.B) {
	image := command(b, largeTar(), "gzip", "-6", "-c")
	packed := filepath.Join(b.TempDir(), "image.squashfs")
	command(b, largeTar(), "mksquashfs", "-", packed, "-tar", "-comp", "gzip", "-no-progress", "-quiet")
	s := serve(b, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		if r.URL.Path == "/squashfs" {
			http.ServeFile(w, r, packed)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(image))
	})
	fetch := func(i *Images, w Want) Image {
		img, err := i.Fetch(context.Background(), w)
		if err != nil {
			b.Fatal(err)
		}
		return img
	}
	for name, path := range map[string]string{"cold": "", "cold, squashfs": "/squashfs"} {
		b.Run(name, func(b *testing.B) {
			i := newImages(b, ImagesConfig{FileSystems: []string{"squashfs"}})
			for b.Loop() {
				fetch(i, Want{Ref: s.URL + path})
				b.StopTimer()
				if _, err := i.GC(0); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
	i := newImages(b, ImagesConfig{})
	img := fetch(i, Want{Ref: s.URL})
	b.Run("asked", func(b *testing.B) {
		for b.Loop() {
			fetch(i, Want{Ref: s.URL})
		}
	})
	b.Run("digest", func(b *testing.B) {
		for b.Loop() {
			fetch(i, Want{Ref: s.URL, Digest: img.Digest})
		}
	})
	b.Run("50 at once, cold", func(b *testing.B) {
		i := newImages(b, ImagesConfig{})
		for b.Loop() {
			var all sync.WaitGroup
			for n := range 50 {
				all.Go(func() { fetch(i, Want{Ref: s.URL, Holder: fmt.Sprint(n)}) })
			}
			all.Wait()
			b.StopTimer()
			for n := range 50 {
				i.Release(fmt.Sprint(n))
			}
			if _, err := i.GC(0); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		if c := i.Counts(); c.Fetched != uint64(b.N) {
			b.Errorf("%d transfers for %d rounds", c.Fetched, b.N)
		}
	})
}
