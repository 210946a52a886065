package rootfs

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A server that recovers is waited for, as it asks; one that does not is not
// waited for long.
func TestFetchRetries(t *testing.T) {
	for _, c := range []struct {
		name  string
		fails int
		wrong func(w http.ResponseWriter)
		want  string
		asked int
	}{
		{"503 twice", 2, func(w http.ResponseWriter) { w.WriteHeader(503) }, "", 3},
		{"408 and 429", 2, func(w http.ResponseWriter) { w.Header().Set("Retry-After", "0"); w.WriteHeader(429) }, "", 3},
		{"cut before the header", 2, func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, "", 3},
		{"503 for ever", 99, func(w http.ResponseWriter) { w.WriteHeader(503) }, "503 Service Unavailable: the server has a problem", 4},
		{"come back in an hour", 99, func(w http.ResponseWriter) { w.Header().Set("Retry-After", "3600"); w.WriteHeader(503) }, "503", 1},
		{"403 once", 1, func(w http.ResponseWriter) { w.WriteHeader(403) }, "403", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOrigin(t, imageOf(t, "one"))
			o.Config.ErrorLog = nil
			o.wrong = func(n int, w http.ResponseWriter, _ *http.Request) bool {
				if n <= c.fails {
					c.wrong(w)
				}
				return n <= c.fails
			}
			_, err := newImages(t, ImagesConfig{}).Fetch(context.Background(), Want{Ref: o.URL})
			outcome(t, err, c.want)
			if got := len(strings.Fields(o.requests())); got != c.asked {
				t.Errorf("asked %d times, want %d", got, c.asked)
			}
		})
	}
}

func TestRetryPauses(t *testing.T) {
	r := retry{tries: 4, first: 250 * time.Millisecond}
	for n, want := range map[int][2]time.Duration{
		1: {125 * time.Millisecond, 375 * time.Millisecond}, 2: {250 * time.Millisecond, 750 * time.Millisecond}, 30: {4 * time.Second, 12 * time.Second},
	} {
		if least, most := r.pause(n, 0), r.pause(n, 1); least != want[0] || most != want[1] {
			t.Errorf("%d: %v to %v, want %v", n, least, most, want)
		}
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "-1": 0, "soon": 0, "Thu, 01 Jan 2026 00:01:00 GMT": time.Minute, "Wed, 31 Dec 2025 00:00:00 GMT": 0} {
		if got := retryAfter(http.Header{"Retry-After": {v}}, now); got != want {
			t.Errorf("%q: %v, want %v", v, got, want)
		}
	}
}

// A transfer that breaks goes on where it was when the server can promise the same
// bytes, and begins again when it cannot.
func TestFetchResumes(t *testing.T) {
	old := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	image := sampleImage(t)
	for _, c := range []struct {
		name  string
		etag  string
		since time.Time
		wrong func(o *origin, n int, w http.ResponseWriter) bool
		asked string
		want  string
	}{
		{"etag", `"1"`, time.Time{}, func(o *origin, n int, w http.ResponseWriter) bool {
			if n == 1 {
				o.cutAt(60, w)
			}
			return false
		}, "GET part", ""},
		{"last-modified", "", old, func(o *origin, n int, w http.ResponseWriter) bool {
			if n == 1 {
				w.Header().Set("Last-Modified", old.Format(http.TimeFormat))
				o.cutAt(60, w)
			}
			return false
		}, "GET part", ""},
		{"503 in between", `"1"`, time.Time{}, func(o *origin, n int, w http.ResponseWriter) bool {
			if n == 1 {
				o.cutAt(60, w)
			}
			if n < 4 {
				w.WriteHeader(503)
			}
			return n < 4
		}, "GET part part part", ""},
		{"weak etag", `W/"1"`, time.Time{}, func(o *origin, n int, w http.ResponseWriter) bool {
			if n == 1 {
				o.cutAt(60, w)
			}
			return false
		}, "GET GET", ""},
		{"no mark", "", time.Time{}, func(o *origin, n int, w http.ResponseWriter) bool {
			if n < 3 {
				o.cutAt(60, w)
			}
			return false
		}, "GET GET GET", ""},
		{"changed meanwhile", `"1"`, time.Time{}, func(o *origin, n int, w http.ResponseWriter) bool {
			if n == 1 {
				o.cutAt(60, w)
			}
			w.Header().Set("ETag", `"2"`)
			return false
		}, "GET part GET", ""},
		{"another part", `"1"`, time.Time{}, func(o *origin, n int, w http.ResponseWriter) bool {
			if n == 1 {
				o.cutAt(60, w)
			}
			if n == 2 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(o.image)-1, len(o.image)))
				w.WriteHeader(http.StatusPartialContent)
				w.Write(o.image)
			}
			return n == 2
		}, "GET part GET", ""},
		{"gone meanwhile", `"1"`, time.Time{}, func(o *origin, n int, w http.ResponseWriter) bool {
			if n == 1 {
				o.cutAt(60, w)
			}
			w.WriteHeader(404)
			return true
		}, "GET part GET", "404 Not Found"},
		{"cut for ever", "", time.Time{}, func(o *origin, n int, w http.ResponseWriter) bool { o.cutAt(60, w); return true }, "GET GET GET", "ends too early"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOrigin(t, image)
			o.Config.ErrorLog = nil
			o.etag, o.since = c.etag, c.since
			o.wrong = func(n int, w http.ResponseWriter, r *http.Request) bool { return c.wrong(o, n, w) }
			i := newImages(t, ImagesConfig{})
			img, err := i.Fetch(context.Background(), Want{Ref: o.URL})
			outcome(t, err, c.want)
			if got := o.requests(); got != c.asked {
				t.Errorf("asked %q, want %q", got, c.asked)
			}
			want := 1
			if err != nil {
				want = 0
			} else if img.Digest != digestOf(image) {
				t.Errorf("got %+v", img)
			}
			if names := cacheNames(t, i); len(names) != want {
				t.Errorf("in the cache: %v", names)
			}
		})
	}
}
