package rootfs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
)

// errNoSource is an image of which nobody can say where it came from.
var errNoSource = errors.New("no running proc has it, and its URL held what is kept nowhere else: it is fetched again when it is next asked for")

// Heal fetches an image that was set aside again: the same, by its digest, so that
// nothing else takes its place, whatever its source has now. From are references to
// it that its users know; others are those that were recorded in full.
func (i *Images) Heal(ctx context.Context, digest string, from []string) error {
	if err := CheckDigest(digest); err != nil {
		return err
	}
	sources, err := i.sourcesOf(digest, from)
	if err == nil && len(sources) == 0 {
		err = errNoSource
	}
	for _, ref := range sources {
		if _, err = i.Fetch(ctx, Want{Ref: ref, Digest: digest}); err == nil {
			i.healed.Add(1)
			return nil
		}
	}
	i.unhealed.Add(1)
	return err
}

// sourcesOf are references to an image that can be fetched from, those of its users
// first. A ref is recorded as it may be shown. Where the hash of that is the ref's
// key, which is the hash of the whole, nothing was taken away from it.
func (i *Images) sourcesOf(digest string, from []string) ([]string, error) {
	refs, err := i.refs()
	if err != nil {
		return nil, err
	}
	sources := slices.Clone(from)
	for _, r := range refs[idOf(digest)] {
		if r.key == hashOf(r.Ref) && !slices.Contains(sources, r.Ref) {
			sources = append(sources, r.Ref)
		}
	}
	return sources, nil
}

// missing are the ids of the images that were set aside and have not come back.
func (i *Images) missing() (ids []string, err error) {
	entries, err := os.ReadDir(i.cfg.Dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		id := asideOf(e.Name())
		if !idForm.MatchString(id) || slices.Contains(ids, id) {
			continue
		}
		if _, err := os.Lstat(filepath.Join(i.cfg.Dir, id)); err != nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// healAll tries once more to fetch what was set aside, where it is known from where.
func (i *Images) healAll(ctx context.Context, from func(digest string) []string) {
	ids, err := i.missing()
	if err != nil {
		i.cfg.Log.Error("images not fetched again", "err", err)
	}
	for _, id := range ids {
		digest := digestPrefix + id
		if sources, err := i.sourcesOf(digest, from(digest)); err != nil || len(sources) > 0 {
			i.heal(ctx, id, from)
		}
	}
}

// heal is [Images.Heal] where nobody waits for it.
func (i *Images) heal(ctx context.Context, id string, from func(digest string) []string) {
	digest := digestPrefix + id
	if err := i.Heal(ctx, digest, from(digest)); err != nil && ctx.Err() == nil {
		i.cfg.Log.Warn("image not fetched again", "id", id, "err", err)
	}
}
