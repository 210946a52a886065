package debian

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gilliam/hypervisor/rootfs/debian/archive"
	"github.com/gilliam/hypervisor/rootfs/debian/control"
	"github.com/gilliam/hypervisor/rootfs/debian/resolve"
)

// preferred is what a merged /usr makes true; the other way to that, usrmerge, is
// for systems that have to be converted.
const preferred = "usr-is-merged"

// choose reads what the sources have, and chooses packages: a whole system where
// nothing is installed.
func (j *job) choose(ctx context.Context, names []string, installed []*resolve.Package) error {
	j.begin(Indexes, 0, 0)
	texts, err := j.indexes(ctx)
	if err != nil {
		return err
	}
	j.universe = resolve.NewUniverse(j.Arch)
	for n, list := range texts {
		for _, text := range list {
			if err := addIndex(j.universe, n, text); err != nil {
				return fmt.Errorf("packages of %s %s: %w", archive.Redact(j.Sources[n].Mirror), j.Sources[n].Suite, err)
			}
		}
	}
	if installed == nil {
		j.base = j.universe.Base()
		names = append(append([]string{}, j.base...), names...)
	}
	j.chosen, err = resolve.Resolve(j.universe, resolve.Request{Names: names, Prefer: []string{preferred}, Installed: installed})
	return err
}

// indexes fetches the Packages files of every source.
func (j *job) indexes(ctx context.Context) ([][]string, error) {
	if len(j.Sources) == 0 {
		return nil, errors.New("no sources of packages")
	}
	texts := make([][]string, len(j.Sources))
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	for n, s := range j.Sources {
		g.Go(func() error {
			rel, err := j.Client.Release(ctx, s.Mirror, s.Suite, s.Keyring, j.Fresh)
			if err != nil {
				return err
			}
			mu.Lock()
			if rel.Date.After(j.release) {
				j.release = rel.Date
			}
			mu.Unlock()
			if rel.NotAutomatic && len(j.Sources) > 1 {
				return nil // backports and the like: for those who ask for them
			}
			list, err := rel.Indexes(j.Arch, s.Components)
			if err != nil {
				return err
			}
			for _, index := range list {
				text, err := j.Client.Index(ctx, index, j.bytes)
				if err != nil {
					return err
				}
				texts[n] = append(texts[n], text)
			}
			return nil
		})
	}
	return texts, g.Wait()
}

// addIndex adds the packages of an index.
func addIndex(u *resolve.Universe, source int, text string) error {
	r := control.NewReader(text)
	for {
		p, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		one, err := indexed(p)
		if err != nil {
			return err
		}
		one.Source = source
		if err := u.Add(one); err != nil {
			return err
		}
	}
}

// indexed reads a paragraph of an index, or of dpkg's status.
func indexed(p control.Paragraph) (*resolve.Package, error) {
	one := &resolve.Package{}
	size := ""
	for _, f := range p { // one pass: an index has a million fields
		switch f.Name {
		case "Package":
			one.Name = f.Value
		case "Version":
			one.Version = f.Value
		case "Architecture":
			one.Arch = f.Value
		case "Essential":
			one.Essential = f.Value == "yes"
		case "Priority":
			one.Priority = f.Value
		case "Pre-Depends":
			one.PreDepends = f.Value
		case "Depends":
			one.Depends = f.Value
		case "Provides":
			one.Provides = f.Value
		case "Conflicts":
			one.Conflicts = f.Value
		case "Breaks":
			one.Breaks = f.Value
		case "Filename":
			one.Filename = f.Value
		case "SHA256":
			one.SHA256 = f.Value
		case "Size":
			size = f.Value
		}
	}
	if size != "" {
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil || n < 0 || !archive.ValidHash(one.SHA256) || !localName(one.Filename) {
			return nil, fmt.Errorf("package %.80q: its size, hash or file name is wrong", one.Name)
		}
		one.Size = n
	}
	return one, nil
}

// localName tells whether a file name stays below its mirror.
func localName(name string) bool {
	clean := path.Clean("/" + name)[1:]
	return name != "" && (name == clean || name == "./"+clean) && !strings.ContainsAny(name, "?#\\%")
}
