package main

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/rootfs/debian"
	"github.com/gilliam/hypervisor/server"
)

// An importConfig is what template import may be told.
type importConfig struct {
	stateDir, template, runUser string
	name, from                  string
	resolvConf                  bool
	stdin                       io.Reader
	report                      func(debian.Progress)
}

// An imported is what came of it.
type imported struct {
	Template server.Template `json:"template"`
	Skipped  int             `json:"skipped"` // devices, FIFOs and sockets
}

// An importer imports templates.
type importer func(ctx context.Context, cfg importConfig) (imported, error)

// The parts of an import, as its progress calls them.
const (
	phaseWrite debian.Phase = "write"
	phaseHash  debian.Phase = "hash"
)

func importTemplate(ctx context.Context, cfg importConfig) (imported, error) {
	store := rootfs.OpenTemplates(templatesConfig(cfg.stateDir, cfg.template, cfg.runUser))
	var wrote, read atomic.Int64
	done, err := store.Import(ctx, cfg.name, cfg.from, cfg.stdin, rootfs.ImportOptions{
		AdoptOptions: rootfs.AdoptOptions{ResolvConf: cfg.resolvConf},
		Wrote:        func(n int) { cfg.report(debian.Progress{Phase: phaseWrite, Bytes: wrote.Add(int64(n))}) },
		Read: func(n int) {
			done := read.Add(int64(n)) // a file with two names is written once and read twice
			cfg.report(debian.Progress{Phase: phaseHash, Bytes: done, Of: max(done, wrote.Load())})
		},
	})
	return imported{templateOf(done.Template), done.Skipped}, err
}

func (a *app) templateImportVerb() *cobra.Command {
	var cfg importConfig
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "import NAME DIR|TAR|IMAGE|-",
		Short: "Make a template of a folder, a tar or a container image",
		Long: `Make a template of a root file system that is
  - a folder, which is copied;
  - a tar, compressed with gzip, xz or zstd or not at all; - reads it from the
    standard input;
  - a container image in OCI's layout, as a folder or a tar, or what docker save
    writes: its layers become one tree.

Owners, modes and setuid bits stay as they are; devices, FIFOs and sockets are
left out. The user that apps run as, and /app, are added where they are missing.
It becomes the current version of the template. The daemon may run meanwhile.`,
		Example: `  sudo hypervisor template import alpine ./alpine-minirootfs-3.22.1-x86_64.tar.gz
  sudo hypervisor template import default /srv/rootfs
  docker export $(docker create debian:12) | sudo hypervisor template import debian -
  skopeo copy docker://alpine oci:alpine && sudo hypervisor template import alpine ./alpine`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.check(); err != nil {
				return err
			}
			if err := makeStateDir(cfg.stateDir); err != nil {
				return err
			}
			cfg.name, cfg.from, cfg.stdin = args[0], args[1], a.stdin
			began := time.Now()
			bar := newBuildBar(a.stderr)
			cfg.report = bar.show
			t, err := a.imports(cmd.Context(), cfg)
			bar.end()
			switch {
			case err != nil:
				return err
			case asJSON:
				return a.printJSON(t)
			}
			if t.Skipped > 0 {
				fmt.Fprintf(a.stdout, "left out: %d devices, FIFOs and sockets\n", t.Skipped)
			}
			_, err = fmt.Fprintf(a.stdout, "template %s: %d files, %s in %.1f s: %s\n",
				refOf(t.Template), t.Template.Files, units.BytesSize(float64(t.Template.Bytes)), time.Since(began).Seconds(), t.Template.Path)
			return err
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&cfg.resolvConf, "resolv-conf", false, "copy this host's /etc/resolv.conf into it")
	f.BoolVar(&asJSON, "json", false, "print the template as JSON")
	add(f, &cfg.stateDir, "state-dir", defaultStateDir, "DIR", "state folder of the daemon", parsePath)
	add(f, &cfg.template, "template", "", "DIR", "folder that the default template is, outside the store", parseMaybePath)
	add(f, &cfg.runUser, "run-user", "gilliam", "USER", "user that apps run as", parseUser)
	twin(f, "state-dir", "GILLIAM_STATE_DIR")
	twin(f, "template", "TEMPLATE")
	twin(f, "run-user", "RUNUSER")
	return cmd
}
