package rootfs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// ImagesConfig says where images are kept and where they may come from.
type ImagesConfig struct {
	// Dir is the cache. It is made when missing, mode 0700. Required.
	Dir string

	// AllowedDirs are the folders below which an image may be a file of this
	// host. Links in them are followed as long as they lead nowhere outside.
	// Empty means that no file is allowed.
	AllowedDirs []string

	// AllowedNets may be connected to although they are loopback, private,
	// link-local or otherwise special.
	AllowedNets []netip.Prefix

	// Timeout bounds one transfer with its unpacking. Zero means 5 minutes.
	Timeout time.Duration

	// Limits bound what an image may be.
	Limits UnpackLimits

	// Log is told what happens to the cache. Nil means no one.
	Log *slog.Logger
}

// An Image is an unpacked archive in the cache. Nothing changes it any more.
type Image struct {
	Ref     string // what was asked for, as [Redact] shows it
	Dir     string // the tree: root's, 0755, to be bound read-only at /app
	Bytes   int64  // of all its files
	Entries int    // files, folders and links
}

// ImageCounts say what has happened since [OpenImages].
type ImageCounts struct {
	Hits    uint64 // fetches that needed no transfer of their own
	Fetched uint64 // transfers that became an image
	Failed  uint64 // transfers that did not
	Bytes   uint64 // received, compressed
}

// Images fetches images and keeps them. Its methods may be called at once by
// many.
type Images struct {
	cfg     ImagesConfig
	client  *http.Client
	stall   time.Duration
	guard   guard
	flights flights

	hits, fetched, failed, bytes atomic.Uint64
}

// OpenImages opens the cache, and removes what interrupted fetches have left in
// it. No other hypervisor may use the same folder.
func OpenImages(cfg ImagesConfig) (*Images, error) {
	if !filepath.IsAbs(cfg.Dir) {
		return nil, invalid("image cache %s: must be an absolute path", quote(cfg.Dir))
	}
	cfg.Dir = filepath.Clean(cfg.Dir)
	cfg.AllowedDirs = slices.Clone(cfg.AllowedDirs)
	for n, dir := range cfg.AllowedDirs {
		if !filepath.IsAbs(dir) {
			return nil, invalid("folder of images %s: must be an absolute path", quote(dir))
		}
		cfg.AllowedDirs[n] = filepath.Clean(dir)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Minute
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Limits = cfg.Limits.withDefaults()
	i := &Images{cfg: cfg, guard: guard{cfg.AllowedNets}}
	i.connect(&net.Dialer{}, stallTimeout)
	if err := makePrivate(cfg.Dir); err != nil {
		return nil, err
	}
	return i, i.sweep()
}

// connect chooses the dialer, and how long a server may be silent.
func (i *Images) connect(d *net.Dialer, stall time.Duration) {
	i.stall = stall
	i.client = i.guard.client(d, 0, stall)
}

// makePrivate makes a folder of ours, open to no one else.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// Check tells, without looking anything up, whether ref could be an image: an
// http or https URL, or an absolute path below an allowed folder. The error is
// an [ErrInvalid] that says what would be right and does not repeat ref.
func (i *Images) Check(ref string) error {
	if !strings.HasPrefix(ref, "/") {
		return CheckURL(ref, i.cfg.AllowedNets)
	}
	_, _, err := i.allowed(ref)
	return err
}

// allowed splits a path into the allowed folder that it lies below and the rest.
func (i *Images) allowed(path string) (dir, rest string, err error) {
	if len(path) > maxURL || strings.ContainsRune(path, 0) {
		return "", "", invalid("must be a path of at most %d bytes without NUL", maxURL)
	}
	if len(i.cfg.AllowedDirs) == 0 {
		return "", "", invalid("must be an http or https URL: the operator allows no folder of images on this host")
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == ".." {
			return "", "", invalid("must be a path without \"..\"")
		}
	}
	path = filepath.Clean(path)
	for _, dir := range i.cfg.AllowedDirs {
		if rest, ok := strings.CutPrefix(path, strings.TrimSuffix(dir, "/")+"/"); ok && rest != "" {
			return dir, rest, nil
		}
	}
	return "", "", invalid("must be a path below %s, which the operator allows", strings.Join(i.cfg.AllowedDirs, " or "))
}

// Fetch returns the image that ref names, from the cache or by a transfer, one
// for all who ask at the same time. A URL is fetched once and then kept,
// whatever the server would say later; a file is fetched again when it has
// changed. When ctx ends, the transfer goes on only if another caller waits for
// it. The error reads as the reason why a proc failed.
func (i *Images) Fetch(ctx context.Context, ref string) (Image, error) {
	img, err := i.fetch(ctx, ref)
	if err != nil {
		return Image{}, fmt.Errorf("image %s: %w", Redact(ref), err)
	}
	return img, nil
}

func (i *Images) fetch(ctx context.Context, ref string) (Image, error) {
	if err := context.Cause(ctx); err != nil {
		return Image{}, err
	}
	if err := i.Check(ref); err != nil {
		return Image{}, err
	}
	src, err := i.source(ref)
	if err != nil {
		return Image{}, err
	}
	f, lead, err := i.flights.do(ctx, src.key(), func(ctx context.Context) (Image, bool, error) {
		return i.provide(ctx, src)
	})
	if err != nil {
		return Image{}, err
	}
	if !lead || !f.moved {
		i.hits.Add(1)
	}
	img := f.img
	img.Ref = Redact(ref)
	return img, nil
}

// provide finds the image in the cache, or transfers it; moved tells which.
func (i *Images) provide(ctx context.Context, src source) (img Image, moved bool, err error) {
	img, err = i.cached(src.key())
	if err == nil || !errors.Is(err, ErrNotExist) {
		return img, false, err
	}
	start := time.Now()
	img, err = i.transfer(ctx, src)
	if err != nil {
		i.failed.Add(1)
		return Image{}, true, err
	}
	i.fetched.Add(1)
	i.cfg.Log.Info("image fetched", "image", src.String(), "bytes", img.Bytes, "entries", img.Entries,
		"took_seconds", time.Since(start).Seconds())
	return img, true, nil
}

// Counts is what has happened so far.
func (i *Images) Counts() ImageCounts {
	return ImageCounts{
		Hits: i.hits.Load(), Fetched: i.fetched.Load(), Failed: i.failed.Load(), Bytes: i.bytes.Load(),
	}
}
