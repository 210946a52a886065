package main

import (
	"github.com/spf13/cobra"
)

func (a *app) templateAptVerb() *cobra.Command {
	var cfg buildConfig
	var show buildOutput
	cmd := &cobra.Command{
		Use:   "apt NAME install PACKAGE...",
		Short: "Add Debian packages to a template",
		Long: `Add Debian packages, and what they depend on, to a template. They come from
where the template's own apt gets packages, are verified, and their scripts run as
those of a build do.

The result is a new version of the template. The old one stays as it is, and procs
that run keep it. Packages that the template has are not upgraded: build it anew for
that.`,
		Example: `  sudo hypervisor template apt default install git
  sudo hypervisor template apt node install imagemagick ghostscript`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 3 || args[1] != "install" {
				return usagef("must be given as: %s", cmd.UseLine())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg.name = args[0]
			for _, name := range args[2:] {
				name, err := parsePackage(name)
				if err != nil {
					return usagef("package %q: %w", name, err)
				}
				cfg.packages = append(cfg.packages, name)
			}
			return a.buildAndPrint(cmd.Context(), &cfg, &show, a.install)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	cfg.flags(f)
	show.flags(f)
	return cmd
}
