package rootfs

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestFetchOnceForAll(t *testing.T) {
	i := newImages(t, ImagesConfig{})
	image := sampleImage(t)
	var asked atomic.Int32
	release := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-release
		w.Write(image)
	})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := i.Fetch(context.Background(), Want{Ref: s.URL}); err != nil {
				t.Error(err)
			}
		})
	}
	i.await(50)
	close(release)
	all.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if c := i.Counts(); c.Fetched != 1 || c.Hits != 49 {
		t.Errorf("counts %+v", c)
	}
	if names := cacheNames(t, i); len(names) != 1 {
		t.Errorf("in the cache: %v", names)
	}
}

// await returns when so many callers wait for transfers.
func (i *Images) await(n int) {
	for {
		i.flights.mu.Lock()
		sum := 0
		for _, f := range i.flights.m {
			sum += f.waiters
		}
		i.flights.mu.Unlock()
		if sum == n {
			return
		}
		runtime.Gosched()
	}
}

// The one who began a transfer may go; the others still get it. When all have
// gone, it ends and leaves nothing.
func TestFetchCancel(t *testing.T) {
	i := newImages(t, ImagesConfig{})
	image := sampleImage(t)
	release := make(chan struct{})
	var gone atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write(image[:20])
		w.(http.Flusher).Flush()
		select {
		case <-release:
			w.Write(image[20:])
		case <-r.Context().Done():
			gone.Add(1)
		}
	})
	first, leave := context.WithCancel(context.Background())
	errs := make(chan error, 2)
	go func() { _, err := i.Fetch(first, Want{Ref: s.URL + "/a"}); errs <- err }()
	i.await(1)
	second := make(chan error)
	go func() { _, err := i.Fetch(context.Background(), Want{Ref: s.URL + "/a"}); second <- err }()
	i.await(2)
	leave()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("first: %v", err)
	}
	close(release)
	if err := <-second; err != nil {
		t.Errorf("second: %v", err)
	}

	release = make(chan struct{})
	only, end := context.WithCancelCause(context.Background())
	go func() { _, err := i.Fetch(only, Want{Ref: s.URL + "/b"}); errs <- err }()
	i.await(1)
	end(errors.New("the proc was deleted"))
	if err := <-errs; err == nil || !strings.Contains(err.Error(), "the proc was deleted") {
		t.Errorf("only: %v", err)
	}
	if names := cacheNames(t, i); len(names) != 1 {
		t.Errorf("in the cache: %v", names)
	}
	if _, err := i.Fetch(only, Want{Ref: s.URL + "/a"}); err == nil {
		t.Error("an ended context fetched")
	}
}

// A failure is told to all who wait, and the next one tries again.
func TestFetchAgainAfterFailure(t *testing.T) {
	i := newImages(t, ImagesConfig{})
	image := sampleImage(t)
	var asked atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(404)
			return
		}
		w.Write(image)
	})
	if _, err := i.Fetch(context.Background(), Want{Ref: s.URL}); err == nil {
		t.Error("fetched")
	}
	if _, err := i.Fetch(context.Background(), Want{Ref: s.URL}); err != nil {
		t.Error(err)
	}
}

func TestFetchPanics(t *testing.T) {
	var g flights
	_, _, err := g.do(context.Background(), "k", "", func(context.Context) (Image, bool, error) { panic("ouch") })
	if err == nil || !strings.Contains(err.Error(), "bug: panic: ouch") {
		t.Errorf("got %v", err)
	}
	if _, _, err := g.do(context.Background(), "k", "", func(context.Context) (Image, bool, error) { return Image{}, false, nil }); err != nil {
		t.Error(err)
	}
}
