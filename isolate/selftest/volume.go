package selftest

import (
	"context"
	"path/filepath"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/rootfs"
)

var volumeCheck = check{
	name: "volume", promise: "what it keeps on a volume of a size belongs to the next one, whose ids are others",
	run: volume,
}

// volume has one sandbox write, and another of other ids write to the same file.
func volume(ctx context.Context, b *bench) (f finding) {
	const size, own = 2 << 20, "/srv/volume/own"
	if b.NoDiskLimit != "" {
		return finding{missing: true, note: "volumes have no size: " + b.NoDiskLimit}
	}
	volumes, err := rootfs.OpenVolumes(rootfs.VolumesConfig{Dir: filepath.Join(b.ground.dir, "volumes"), Max: 1})
	if err != nil {
		return broken(err)
	}
	defer func() {
		if err := volumes.Close(); err != nil {
			f = f.and(broken(err))
		}
	}()
	v, err := volumes.Take("own", size, user)
	if err != nil {
		return broken(err)
	}
	for _, try := range []struct {
		ids int
		why string
	}{
		{0, "the first one writes to it"}, {1, "the next one writes to what the first one made"},
	} {
		s := b.spec(try.ids, "write", own)
		s.Volumes = []isolate.Volume{{Image: volumes.Image(v.Name), Target: filepath.Dir(own), Size: v.Size}}
		r, err := b.attackIn(ctx, s)
		if err != nil {
			return broken(err)
		}
		f = f.and(unless(r.Detail[own] == "ok", "%s: %q", try.why, r.Detail[own]))
	}
	return f
}
