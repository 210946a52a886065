package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/rootfs/debian/control"
)

func (a *app) templateBuildVerb() *cobra.Command {
	cfg := buildConfig{}
	var show buildOutput
	cmd := &cobra.Command{
		Use:   "build [NAME]",
		Short: "Build a template of Debian packages",
		Long: `Build a template of Debian packages: a base system, the packages named with
--include, and what they depend on. It needs no debootstrap and no Debian on this
machine, but a keyring that the archive's signature is verified with.

Packages are fetched from where this machine's apt gets those of the suite,
security fixes included, or from --mirror. Their scripts run in a sandbox without
network that sees nothing of this machine. What was fetched is kept in the state
folder for the next time. The same packages of the same mirror give the same
template, whoever builds it: its version is the hash of its files.

It becomes the current version of its template, default when no name is given. The
daemon may run meanwhile; procs that run keep the version that they were started
with.`,
		Example: `  sudo hypervisor template build --include python3,procps,ca-certificates
  sudo hypervisor template build node --suite trixie --include nodejs
  sudo hypervisor template build old --suite bullseye --mirror http://mirror.example/debian --keyring ./archive.gpg`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg.name = rootfs.DefaultTemplate
			if len(args) > 0 {
				cfg.name = args[0]
			}
			return a.buildAndPrint(cmd.Context(), &cfg, &show, a.build)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	add(f, &cfg.suite, "suite", "bookworm", "SUITE", "release of the distribution", parseSuite)
	addList(f, &cfg.packages, "include", "PACKAGE", "package to install beside the base system; may be repeated", parsePackage)
	add(f, &cfg.mirror, "mirror", "", "URL", "where packages come from (default where this machine's apt gets them)", parseMirror)
	addList(f, &cfg.components, "component", "NAME", "part of the archive; may be repeated (default main)", parseSuite)
	cfg.flags(f)
	show.flags(f)
	return cmd
}

// flags are those that build and apt share.
func (cfg *buildConfig) flags(f *pflag.FlagSet) {
	add(f, &cfg.arch, "arch", hostArch(), "ARCH", "architecture, as Debian calls it", parsePackage)
	addList(f, &cfg.keyrings, "keyring", "FILE", "OpenPGP keys that the archive must be signed with (default those that this machine's apt has for it)", parsePath)
	f.BoolVar(&cfg.expired, "allow-expired", false, "take an archive whose signature was valid until a time that has passed")
	add(f, &cfg.stateDir, "state-dir", defaultStateDir, "DIR", "state folder of the daemon", parsePath)
	add(f, &cfg.runDir, "run-dir", defaultRunDir, "DIR", "where hypervisors on this machine share out ids", parsePath)
	add(f, &cfg.template, "template", "", "DIR", "folder that the default template is, outside the store", parseMaybePath)
	add(f, &cfg.runUser, "run-user", "gilliam", "USER", "user that apps run as", parseUser)
	add(f, &cfg.epoch, "epoch", "", "SECONDS", "time since 1970 that no file is younger than (default that of the archive)", parseEpoch)
	twin(f, "state-dir", "GILLIAM_STATE_DIR")
	twin(f, "run-dir", "GILLIAM_RUN_DIR")
	twin(f, "template", "TEMPLATE")
	twin(f, "run-user", "RUNUSER")
	twin(f, "epoch", "SOURCE_DATE_EPOCH")
}

// A buildOutput is what to show of a build.
type buildOutput struct{ json, verbose bool }

func (o *buildOutput) flags(f *pflag.FlagSet) {
	f.BoolVar(&o.json, "json", false, "print the template and its packages as JSON")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print what the packages' scripts say")
}

// buildAndPrint builds with progress on stderr and prints what came of it.
func (a *app) buildAndPrint(ctx context.Context, cfg *buildConfig, show *buildOutput, build builder) error {
	if err := a.check(); err != nil {
		return err
	}
	if err := makeStateDir(cfg.stateDir); err != nil {
		return err
	}
	if len(cfg.components) == 0 {
		cfg.components = []string{"main"}
	}
	began := time.Now()
	bar := newBuildBar(a.stderr)
	cfg.report = bar.show
	if show.verbose {
		cfg.log = bar.line
	}
	b, err := build(ctx, *cfg)
	bar.end()
	switch {
	case err != nil:
		return fmt.Errorf("build template %s: %w", cfg.name, err)
	case show.json:
		return a.printJSON(b)
	}
	_, err = fmt.Fprintf(a.stdout, "template %s: %d packages in %.1f s: %s\n", b.Template.Name, len(b.Packages), time.Since(began).Seconds(), b.Template.Path)
	return err
}

func parsePackage(s string) (string, error) {
	if !control.ValidName(s) {
		return "", errors.New("must be a name of a-z, 0-9, '+', '-' and '.'")
	}
	return s, nil
}

// parseSuite parses a suite or a component, which may have a slash in it.
func parseSuite(s string) (string, error) {
	for part := range strings.SplitSeq(s, "/") {
		if !control.ValidName(part) {
			return "", errors.New("must be a name such as bookworm or main")
		}
	}
	return s, nil
}

// parseMirror parses the URL of an archive; nothing is the host's own.
func parseMirror(s string) (string, error) {
	if s != "" && !strings.HasPrefix(s, "http://") && !strings.HasPrefix(s, "https://") {
		return "", errors.New("must be an http or https URL, such as http://mirror.example/debian")
	}
	return s, nil
}

// parseEpoch parses a time as SOURCE_DATE_EPOCH has it; nothing is none.
func parseEpoch(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 {
		return time.Time{}, errors.New("must be a number of seconds since 1970")
	}
	return time.Unix(n, 0), nil
}
