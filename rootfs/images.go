package rootfs

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gilliam/hypervisor/rootfs/oci"
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

	// Credentials are the logins for servers that want one. Nil means none.
	Credentials *Credentials

	// Timeout bounds one transfer with its unpacking. Zero means 5 minutes.
	Timeout time.Duration

	// CacheSize is how many bytes of the disk the images may take: beyond it go
	// those that no proc uses, the least recently used first. Zero means no limit.
	CacheSize int64

	// Limits bound what an image may be, and Container what a container image may
	// be, all of its layers together. Zero fields of the latter mean 2 GiB sent, 4
	// GiB unpacked and 400,000 entries.
	Limits    UnpackLimits
	Container UnpackLimits

	// FileSystems are the types of file systems that an image may be, to be mounted
	// as it is; see [isolate.FileSystem]. Nil means none.
	FileSystems []string

	// Log is told what happens to the cache. Nil means no one.
	Log *slog.Logger
}

// An Image is an unpacked archive in the cache. Nothing changes it any more.
type Image struct {
	Ref     string // what was asked for, as [Redact] shows it
	Digest  string // of the archive as it was sent, or of a container image's manifest: "sha256:" and 64 digits
	Dir     string // the tree: root's, 0755, to be bound read-only at /app; a container image's and a file system's is empty
	Bytes   int64  // of all its files
	Entries int    // files, folders and links

	Container  *Container  // nil: it is none
	FileSystem *FileSystem // nil: it is none
}

// A Container is what a container image has in place of a tree.
type Container struct {
	Layers []string // the trees of its layers, the topmost first, in the form of overlayfs
	Config oci.Config
}

// ImageCounts say what has happened since [OpenImages].
type ImageCounts struct {
	Hits    uint64 // fetches that needed no transfer of their own
	Fetched uint64 // transfers that became an image
	Failed  uint64 // transfers that did not
	Bytes   uint64 // received, compressed
	Evicted uint64 // images removed for others
	// Quarantined are images that were found to be not what they were.
	Quarantined uint64
	Healed      uint64 // times one of them was fetched again, for whoever found that
	Unhealed    uint64 // times it could not be
	Stale       uint64 // hits without an answer of the server, which could not be reached
}

// Images fetches images and keeps them. Its methods may be called at once by
// many.
type Images struct {
	cfg     ImagesConfig
	client  *http.Client
	stall   time.Duration
	retry   retry
	guard   guard
	flights flights
	holds   holds
	pins    pins

	evictions sync.WaitGroup // of files of images that were evicted

	registries *oci.Client

	hits, fetched, failed, bytes, stale, evicted, quarantined, healed, unhealed atomic.Uint64
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
	cfg.Container = cfg.Container.withContainerDefaults()
	i := &Images{cfg: cfg, guard: guard{allowed: cfg.AllowedNets}, pins: pins{of: map[string]int{}}}
	i.connect(&net.Dialer{}, stallTimeout)
	for _, dir := range []string{cfg.Dir, i.refsDir(), i.layersDir()} {
		if err := makePrivate(dir); err != nil {
			return nil, err
		}
	}
	return i, i.sweep()
}

// connect chooses the dialer, and how long a server may be silent.
func (i *Images) connect(d *net.Dialer, stall time.Duration) {
	i.stall, i.retry = stall, retry{tries: 4, first: 250 * time.Millisecond}
	i.client = i.guard.client(d, 0, stall)
	i.client.Transport = &login{of: i.cfg.Credentials, next: i.client.Transport}
	i.registries = oci.NewClient(oci.ClientConfig{Transport: i.guard.transport(d, stall), PlainHTTP: len(i.guard.allowed) > 0, Login: i.cfg.Credentials.registry})
}

// makePrivate makes a folder of ours, open to no one else.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// Check tells, without looking anything up, whether ref could be an image: an
// http or https URL, one in a registry, or an absolute path below an allowed folder. The error is
// an [ErrInvalid] that says what would be right and does not repeat ref.
func (i *Images) Check(ref string) error {
	if IsContainer(ref) {
		return i.checkContainer(ref)
	}
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

// Counts is what has happened so far.
func (i *Images) Counts() ImageCounts {
	return ImageCounts{
		Hits: i.hits.Load(), Fetched: i.fetched.Load(), Failed: i.failed.Load(), Bytes: i.bytes.Load(), Stale: i.stale.Load(), Evicted: i.evicted.Load(), Quarantined: i.quarantined.Load(),
		Healed: i.healed.Load(), Unhealed: i.unhealed.Load(),
	}
}
