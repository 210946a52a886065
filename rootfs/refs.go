package rootfs

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gilliam/hypervisor/isolate/failpoint"
)

// A mark is what a source says its content by: the validators of RFC 9110,
// section 8.8, or what is known of a file. The zero mark says nothing.
type mark struct {
	ETag     string `json:"etag,omitempty"`
	Modified string `json:"last_modified,omitempty"`
	File     string `json:"file,omitempty"`
}

// strong is the validator that promises the same bytes, for If-Range; empty: none.
func (m mark) strong() string {
	if m.ETag != "" && !strings.HasPrefix(m.ETag, "W/") {
		return m.ETag
	}
	return ""
}

// A refRecord is what refs/<key>.json holds: what was fetched from a source last.
// The source itself is not there, for its URL may hold a secret: the key is the
// hash of it.
type refRecord struct {
	Ref     string    `json:"ref"` // redacted
	Image   string    `json:"image"`
	Mark    mark      `json:"mark"`
	Fetched time.Time `json:"fetched"`

	key string // of the source, where it was read
}

func (i *Images) refsDir() string { return filepath.Join(i.cfg.Dir, refsName) }

// known is what is in the cache of a source. That nothing is, is no error.
func (i *Images) known(key string) (Image, mark, error) {
	r, ok := i.readRef(key)
	if !ok {
		return Image{}, mark{}, nil
	}
	img, err := i.cached(r.Image)
	if errors.Is(err, ErrNotExist) {
		return Image{}, mark{}, nil
	}
	return img, r.Mark, err
}

// readRef reads a ref. One that cannot be read is as good as none: the source is
// asked anew.
func (i *Images) readRef(key string) (r refRecord, ok bool) {
	b, err := os.ReadFile(i.refPath(key))
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		i.cfg.Log.Warn("ref of an image is not readable", "key", key, "err", err)
	}
	return r, err == nil && idForm.MatchString(r.Image)
}

func (i *Images) refPath(key string) string { return filepath.Join(i.refsDir(), key+refSuffix) }

// writeRef records durably what came from a source.
func (i *Images) writeRef(key string, r refRecord) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(i.refsDir())
	if err != nil {
		return err
	}
	defer root.Close()
	if err := replaceTreeFile(root, key+refSuffix, append(b, '\n'), 0o600); err != nil {
		return err
	}
	failpoint.Hit("rootfs.ref.recorded")
	return nil
}

// refs are all refs, by the image that they lead to.
func (i *Images) refs() (map[string][]refRecord, error) {
	entries, err := os.ReadDir(i.refsDir())
	if err != nil {
		return nil, err
	}
	all := map[string][]refRecord{}
	for _, e := range entries {
		key, ok := strings.CutSuffix(e.Name(), refSuffix)
		if !ok {
			continue
		}
		if r, ok := i.readRef(key); ok {
			r.key = key
			all[r.Image] = append(all[r.Image], r)
		}
	}
	return all, nil
}
