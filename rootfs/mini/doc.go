// Package mini carries a small root file system, so that apps run on a machine that
// has nothing else: no Debian, no network. A shell, the usual file and text commands
// and a web server for static files are one static program, userland.
//
//	rootfs.TemplatesConfig{Builtin: mini.Template()}
//
// It is unpacked into the store of templates when a proc first needs it. The package
// holds files that `make build` makes; by hand: go generate ./rootfs/mini
//
// It has no package manager, no C library and no Python: it is for apps that are static
// programs or shell scripts, and for a first look. See userland for what its shell
// does not do.
package mini
