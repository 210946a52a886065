package selftest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// fileChecks are about the template and the layer.
func fileChecks() []check {
	return []check{
		one("template-files", "files of the template that are not its own cannot be changed, by a pipe into the page cache neither", attacks.Files,
			"files", "file="+rootsFile, "file="+probePath, "dir=/", "dir=/etc", "dir=/lib", "dir=/app", "dir=/var"),
		{name: "layer", promise: "what it writes is in its layer, by ids of its range; not a byte of the template changes", run: layer},
	}
}

// layer has a sandbox write, and looks where that is.
func layer(ctx context.Context, b *bench) (f finding) {
	const own = "/var/tmp/own"
	x, err := b.start(ctx, b.spec(0, "write", everyonesFile, own))
	if err != nil {
		return broken(err)
	}
	defer x.endWith(&f)
	r, err := x.report(ctx)
	if err != nil {
		return broken(err)
	}
	for path, owner := range map[string]uint32{everyonesFile: x.spec.IDs.Base, own: x.spec.IDs.Base + user.UID} {
		if r.Detail[path] != "ok" {
			f.wrong = append(f.wrong, fmt.Sprintf("it may write to %s, and cannot: %s", path, r.Detail[path]))
			continue
		}
		if text := written(filepath.Join(x.spec.Layer.Upper, path), owner); text != "" {
			f.wrong = append(f.wrong, "in the layer, "+path+text)
		}
	}
	changed, err := b.ground.changed()
	if err != nil {
		return broken(err)
	}
	for _, text := range changed {
		f.wrong = append(f.wrong, "the template has changed: "+text)
	}
	return f
}

// written says what is wrong with a file that the probe wrote.
func written(path string, owner uint32) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ": " + err.Error()
	}
	info, err := os.Lstat(path)
	if err != nil {
		return ": " + err.Error()
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case string(text) != "probe\n":
		return fmt.Sprintf(" holds %q", text)
	case !ok || st.Uid != owner:
		return fmt.Sprintf(" is not of user %d", owner)
	}
	return ""
}
