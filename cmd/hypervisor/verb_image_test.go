package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gilliam/hypervisor/rootfs/manifest"
	"github.com/gilliam/hypervisor/server/proc"
)

var (
	usedImage = proc.Image{ID: strings.Repeat("a", 64), Format: "tar+gzip", Refs: []string{"https://example.com/a\x1b[31m"}, Disk: 3 << 20, Entries: 7,
		Used: time.Now().Add(-90 * time.Second), UsedBy: []string{"p"}}
	freeImage = proc.Image{ID: strings.Repeat("b", 64), Refs: []string{}, Disk: 1 << 20, UsedBy: []string{}}
)

func (f *fakeProcs) Images() ([]proc.Image, error) { return []proc.Image{usedImage, freeImage}, nil }

func (f *fakeProcs) Image(digest string) (proc.Image, error) {
	for _, img := range []proc.Image{usedImage, freeImage} {
		if strings.HasPrefix(img.ID, digest) {
			return img, nil
		}
	}
	return proc.Image{}, proc.ErrNoImage
}

func (f *fakeProcs) RemoveImage(digest string) error {
	img, err := f.Image(digest)
	if len(img.UsedBy) > 0 {
		return proc.ErrImageInUse
	}
	return err
}

func (f *fakeProcs) CollectImages(keep int64) (proc.ImagesRemoved, error) {
	if keep > 0 {
		return proc.ImagesRemoved{}, nil
	}
	return proc.ImagesRemoved{Images: []proc.Image{freeImage}, Damaged: 1}, nil
}

func (f *fakeProcs) VerifyImage(_ context.Context, digest string) (proc.ImageVerdict, error) {
	img, err := f.Image(digest)
	v := proc.ImageVerdict{Image: img, Differences: []manifest.Change{}}
	if img.ID == freeImage.ID {
		v.Differences, v.FetchedAgain = []manifest.Change{{Path: "run", What: "missing"}}, true
		if f.deaf {
			v.FetchedAgain, v.NotFetched = false, "image https://example.com/a: 404\x1b"
		}
	}
	return v, err
}

func TestImageVerbs(t *testing.T) {
	m := newMachine(t)
	m.serve()
	for _, c := range []struct {
		args string
		code int
		want []string
	}{
		{"ls", 0, []string{"DIGEST", "aaaaaaaaaaaa  tar+gzip  3MiB", "1m", "https://example.com/a·[31m", "bbbbbbbbbbbb  -"}},
		{"ls --quiet", 0, []string{usedImage.ID + "\n" + freeImage.ID + "\n"}},
		{"ls --json", 0, []string{`"disk": 4194304`}},
		{"rm bbbb", 0, []string{"bbbb\n"}},
		{"rm aaaa cccc", 1, []string{"in use", "no such image"}},
		{"gc", 0, []string{"bbbbbbbbbbbb  1MiB  -", "1 images removed, 1MiB, and 1 that were set aside"}},
		{"gc --keep 2G", 0, []string{"0 images removed"}},
		{"gc --keep x", 2, []string{"--keep"}},
		{"verify aaaa", 0, []string{"aaaaaaaaaaaa  as it was unpacked, 7 entries"}},
		{"verify", 1, []string{"as it was unpacked", "bbbbbbbbbbbb  run: missing", "1 files differ; it was set aside, and has been fetched again"}},
		{"verify --json bbbb", 1, []string{`"what": "missing"`, `"fetched_again": true`}},
	} {
		code, out, errs := m.run(t.Context(), append([]string{"image"}, strings.Fields(c.args)...)...)
		all := out + errs
		if code != c.code {
			t.Errorf("%s: exit %d: %s", c.args, code, all)
		}
		for _, want := range c.want {
			if !strings.Contains(all, want) {
				t.Errorf("%s: no %q in %s", c.args, want, all)
			}
		}
	}
	m.procs.deaf = true
	if code, _, errs := m.run(t.Context(), "image", "verify", "bbbb"); code != 1 || !strings.Contains(errs, "could not be fetched again: image https://example.com/a: 404·") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
