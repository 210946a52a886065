package main

import (
	"github.com/u-root/u-root/pkg/core"
	"github.com/u-root/u-root/pkg/core/base64"
	"github.com/u-root/u-root/pkg/core/cat"
	"github.com/u-root/u-root/pkg/core/chmod"
	"github.com/u-root/u-root/pkg/core/cp"
	"github.com/u-root/u-root/pkg/core/find"
	"github.com/u-root/u-root/pkg/core/gzip"
	"github.com/u-root/u-root/pkg/core/ls"
	"github.com/u-root/u-root/pkg/core/mkdir"
	"github.com/u-root/u-root/pkg/core/mktemp"
	"github.com/u-root/u-root/pkg/core/mv"
	"github.com/u-root/u-root/pkg/core/rm"
	"github.com/u-root/u-root/pkg/core/shasum"
	"github.com/u-root/u-root/pkg/core/tar"
	"github.com/u-root/u-root/pkg/core/touch"
	"github.com/u-root/u-root/pkg/core/xargs"
)

// fileCommands are the commands of u-root.
func fileCommands() map[string]program {
	all := make(map[string]program)
	for name, c := range map[string]core.Command{
		"base64": base64.New(), "cat": cat.New(), "chmod": chmod.New(), "cp": cp.New(), "find": find.New(),
		"gunzip": gzip.New("gunzip"), "gzip": gzip.New("gzip"), "ls": ls.New(), "mkdir": mkdir.New(), "mktemp": mktemp.New(),
		"mv": mv.New(), "rm": rm.New(), "shasum": shasum.New(), "tar": tar.New(), "touch": touch.New(), "xargs": xargs.New(),
		"zcat": gzip.New("zcat"),
	} {
		all[name] = func(args []string) error { return c.Run(args...) }
	}
	return all
}
