package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gilliam/hypervisor/server"
)

func (a *app) templateVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "template",
		Short: "Make, list, verify and remove templates",
		Long: `A template is the root file system that procs share and never write to: a
Debian system, say, with what the apps need, and the user that they run as.

Once made it never changes: what is made later under its name is another
version, and procs that run stay on theirs. Where a template is asked for,
NAME@VERSION asks for one version.`,
	}
	cmd.AddCommand(a.templateBuildVerb(), a.templateAptVerb(), a.templateImportVerb(), a.templateAdoptVerb(), a.templateLsVerb(), a.templateShowVerb(), a.templateVerifyVerb(), a.templateRmVerb(), a.templatePruneVerb())
	return cmd
}

func (a *app) templateLsVerb() *cobra.Command {
	return listing[server.TemplateList, server.Template]{
		get:     (*client).templates,
		entries: func(l server.TemplateList) []server.Template { return l.Templates },
		table:   printTemplates,
	}.verb(a, &cobra.Command{
		Use:   "ls",
		Short: "List the templates that procs can be made from",
		Example: `  sudo hypervisor template ls
  sudo hypervisor template ls --json | jq -r '.templates[].path'`,
	})
}

func (a *app) templateAdoptVerb() *cobra.Command {
	var cfg adoptConfig
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "adopt NAME DIR",
		Short: "Make a template of a folder that debootstrap has filled",
		Long: `Make a template of a folder that debootstrap has filled: add the user that apps
run as, make /app, and move the folder into the store, where it becomes the
current version of its template and is never changed again. The daemon may run
meanwhile. The name of the template that procs get when they name none is
default.`,
		Example: `  sudo debootstrap --variant=minbase --include=python3 bookworm /var/lib/gilliam/new
  sudo hypervisor template adopt default /var/lib/gilliam/new`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.check(); err != nil {
				return err
			}
			cfg.name, cfg.dir = args[0], args[1]
			if err := makeStateDir(cfg.stateDir); err != nil {
				return err
			}
			t, err := a.adopt(cmd.Context(), cfg)
			switch {
			case err != nil:
				return err
			case asJSON:
				return a.printJSON(t)
			}
			fmt.Fprintf(a.stdout, "template %s: %s\n", t.Name, t.Path)
			return nil
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&cfg.resolvConf, "resolv-conf", false, "copy this host's /etc/resolv.conf into it")
	f.BoolVar(&cfg.aptSources, "apt-sources", false, "copy this host's apt sources into it")
	f.BoolVar(&asJSON, "json", false, "print the template as JSON")
	add(f, &cfg.stateDir, "state-dir", defaultStateDir, "DIR", "state folder of the daemon", parsePath)
	add(f, &cfg.template, "template", "", "DIR", "folder that the default template is, outside the store", parseMaybePath)
	add(f, &cfg.runUser, "run-user", "gilliam", "USER", "user that apps run as", parseUser)
	twin(f, "state-dir", "GILLIAM_STATE_DIR")
	twin(f, "template", "TEMPLATE")
	twin(f, "run-user", "RUNUSER")
	return cmd
}
