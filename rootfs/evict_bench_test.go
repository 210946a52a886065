package rootfs

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
)

// BenchmarkFetchEvicting fetches a small image for which one of 10,000 files has to
// go, and the same with room for both.
func BenchmarkFetchEvicting(b *testing.B) {
	large := newArchive(b)
	for n := range 10_000 {
		large.file(fmt.Sprint("d/", n), "x")
	}
	big := large.gz()
	var k atomic.Int64
	s := serve(b, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/big" {
			w.Write(big)
			return
		}
		w.Write(imageOf(b, fmt.Sprint(k.Add(1))))
	})
	for name, size := range map[string]int64{"evicting": 1, "room": 1 << 40} {
		b.Run(name, func(b *testing.B) {
			i := newImages(b, ImagesConfig{CacheSize: size})
			for b.Loop() {
				b.StopTimer()
				if _, err := i.Fetch(b.Context(), Want{Ref: s.URL + "/big", Holder: "p"}); err != nil {
					b.Fatal(err)
				}
				i.Release("p")
				b.StartTimer()
				if _, err := i.Fetch(b.Context(), Want{Ref: s.URL + "/small"}); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				i.evictions.Wait()
				if _, err := i.GC(0); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
