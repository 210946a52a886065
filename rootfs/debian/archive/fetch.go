package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gilliam/hypervisor/isolate/failpoint"
)

// partSuffix is what the name of a file ends in that has not come whole.
const partSuffix = ".part"

// Fetch returns a file whose content has the hash, at its beginning: out of the
// cache, or from where it is, going on where an earlier try has ended. The caller
// closes it.
func (c *Client) Fetch(ctx context.Context, f File, p Progress) (*os.File, error) {
	if !ValidHash(f.SHA256) || f.Size < 0 {
		return nil, fmt.Errorf("get %s: bug: no hash or size", Redact(f.URL))
	}
	path := filepath.Join(c.dir, f.SHA256)
	if file, err := open(path, f); err == nil {
		now := time.Now()
		p.add(f.Size)
		return file, os.Chtimes(path, now, now) // for Prune
	} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errDiffers) {
		return nil, err
	}
	err := c.try(ctx, func(ctx context.Context) error { return c.download(ctx, f, path+partSuffix, p) })
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", Redact(f.URL), err)
	}
	if err := os.Rename(path+partSuffix, path); err != nil {
		return nil, err
	}
	failpoint.Hit("template.package.kept")
	return open(path, f)
}

// errDiffers is a file that is not what its name says.
var errDiffers = errors.New("differs from its hash")

// open opens a file of the cache and makes sure that it is what it is to be.
func open(path string, f File) (*os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	n, err := io.Copy(sum, file)
	if err == nil && (n != f.Size || hex.EncodeToString(sum.Sum(nil)) != f.SHA256) {
		err = errDiffers
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		file.Close()
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return file, nil
}

// download completes a partial file. What turns out to be wrong is thrown away, so
// that the next try begins anew.
func (c *Client) download(ctx context.Context, f File, part string, p Progress) (err error) {
	out, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return &finalError{err}
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	d := &download{file: f, out: out, hash: sha256.New(), progress: p}
	if d.have, err = io.Copy(d.hash, out); err != nil {
		return &finalError{err}
	}
	if d.have > f.Size {
		d.restart()
	}
	began := d.have
	if d.have == f.Size {
		p.add(d.have)
	} else if err := d.transfer(ctx, c); err != nil {
		return err
	}
	got := hex.EncodeToString(d.hash.Sum(nil))
	switch {
	case d.have < f.Size:
		p.add(-d.have)
		return fmt.Errorf("ended after %d of %d bytes", d.have, f.Size)
	case d.have == f.Size && got == f.SHA256:
		return nil
	}
	p.add(-d.have)
	d.restart()
	err = fmt.Errorf("what came has hash %s, not %s: the mirror is being updated, or is not to be trusted", got, f.SHA256)
	if began == 0 {
		return &finalError{err}
	}
	return err // what was there may have been wrong: once more from the beginning
}

// A download is a partial file with what is known of it.
type download struct {
	file     File
	out      *os.File
	hash     hash.Hash // of what is there
	have     int64     // bytes that are
	progress Progress
}

// restart empties it.
func (d *download) restart() {
	_ = d.out.Truncate(0) // what stays is found out by its hash
	_, _ = d.out.Seek(0, io.SeekStart)
	d.hash.Reset()
	d.have = 0
}

// transfer gets what is missing, or all of it from a server that sends no parts. The
// bytes are counted unless it fails.
func (d *download) transfer(ctx context.Context, c *Client) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := c.get(ctx, d.file.URL, d.have)
	if isStatus(err, http.StatusRequestedRangeNotSatisfiable) {
		d.restart()
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode != http.StatusPartialContent:
		d.restart()
	case !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", d.have)):
		return errors.New("the server sent another part than was asked for")
	}
	d.progress.add(d.have)
	body := &watched{
		body: io.LimitReader(resp.Body, d.file.Size-d.have+1), progress: d.progress,
		timer: time.AfterFunc(stallTimeout, func() { cancel(errStalled) }),
	}
	defer body.timer.Stop()
	n, err := io.Copy(io.MultiWriter(d.out, d.hash), body)
	d.have += n
	if err == nil {
		return nil
	}
	d.progress.add(-d.have)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return fmt.Errorf("after %d of %d bytes: %w", d.have, d.file.Size, err)
}

var errStalled = fmt.Errorf("nothing has come for %v", stallTimeout)

// A watched body stops the transfer when nothing comes, and counts.
type watched struct {
	body     io.Reader
	timer    *time.Timer
	progress Progress
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.body.Read(b)
	if n > 0 {
		w.timer.Reset(stallTimeout)
		w.progress.add(int64(n))
	}
	return n, err
}

// keepFor is how long a file stays that nobody asks for.
const keepFor = 30 * 24 * time.Hour

// Prune removes from the cache what nobody has asked for in the last month.
func (c *Client) Prune(now time.Time) error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), partSuffix)
		fi, err := e.Info()
		if err != nil || !ValidHash(name) || now.Sub(fi.ModTime()) < keepFor {
			continue
		}
		if err := os.Remove(filepath.Join(c.dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
