package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/gilliam/hypervisor/server"
)

func (a *app) templateShowVerb() *cobra.Command {
	var cfg clientConfig
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show a template and all its versions",
		Long: `Show a template, and all its versions: the current one, which procs get, and
those that were current before. A version is named by the hash of all that is
in it. Procs stay on the version that they were first launched on.`,
		Example: `  sudo hypervisor template show default
  sudo hypervisor template show bookworm --json | jq -r '.versions[].hash'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := newClient(cfg).templateVersions(cmd.Context(), args[0])
			switch {
			case err != nil:
				return err
			case asJSON:
				return a.printJSON(all)
			}
			return printTemplate(a.stdout, all.Versions, time.Now())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's answer")
	cfg.flags(cmd.Flags())
	return cmd
}

func (a *app) templateVerifyVerb() *cobra.Command {
	var cfg clientConfig
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify NAME[@VERSION]",
		Short: "Tell whether a template is what was sealed",
		Long: `Read all of a template again and compare it with the list that was made when it
was sealed: contents, types, modes, owners, links and extended attributes. Each
file that differs is printed, and the exit status is 1 then.`,
		Example: `  sudo hypervisor template verify default
  sudo hypervisor template verify bookworm@3f0c8f6e3a524a83 --json | jq -r '.differences[].path'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := newClient(cfg).verifyTemplate(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				err = a.printJSON(v)
			} else {
				err = printVerdict(a.stdout, v)
			}
			if n := len(v.Differences); n > 0 && err == nil {
				err = fmt.Errorf("template %s is not what was sealed: %d files differ; make it anew, and then remove this version with \"hypervisor template rm %[1]s\"",
					refOf(v.Template), n)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's answer")
	cfg.flags(cmd.Flags())
	return cmd
}

func (a *app) templateRmVerb() *cobra.Command {
	var cfg clientConfig
	cmd := &cobra.Command{
		Use:   "rm NAME[@VERSION]...",
		Short: "Remove templates, or versions of them",
		Long: `Remove templates, or single versions of them. One that a proc has need of – that
runs, is about to, or waits for its restart – is refused. Without the current
version, the newest of the others takes its place.`,
		Example: `  sudo hypervisor template rm bookworm
  sudo hypervisor template rm bookworm@3f0c8f6e3a524a83`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := newClient(cfg)
			var errs []error
			for _, ref := range args {
				if err := c.removeTemplate(cmd.Context(), ref); err != nil {
					errs = append(errs, err)
					continue
				}
				fmt.Fprintln(a.stdout, ref)
			}
			return errors.Join(errs...)
		},
	}
	cfg.flags(cmd.Flags())
	return cmd
}

func (a *app) templatePruneVerb() *cobra.Command {
	var cfg clientConfig
	cmd := &cobra.Command{
		Use:     "prune",
		Short:   "Remove old versions of templates that no proc needs",
		Example: `  sudo hypervisor template prune`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			gone, err := newClient(cfg).pruneTemplates(cmd.Context())
			for _, t := range gone.Templates {
				fmt.Fprintf(a.stdout, "%s  %s\n", refOf(t), units.BytesSize(float64(t.Bytes)))
			}
			return err
		},
	}
	cfg.flags(cmd.Flags())
	return cmd
}

// printTemplates prints a table of templates.
func printTemplates(out io.Writer, list []server.Template, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tVERSION\tOS\tSIZE\tPROCS\tAGE")
	for _, t := range list {
		size, made := "-", "-" // of a plain folder, and what is built in and was never asked for
		if t.Bytes > 0 {
			size = units.BytesSize(float64(t.Bytes))
		}
		if !t.Created.IsZero() {
			made = age(now.Sub(t.Created))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", cell(t.Name), orDash(t.Version), cell(t.OS), size, t.Procs, made)
	}
	return w.Flush()
}

// printTemplate prints a template and its versions.
func printTemplate(out io.Writer, versions []server.Template, now time.Time) error {
	if len(versions) == 0 {
		return errors.New("no version of it can be used: see \"hypervisor template verify\"")
	}
	t := versions[0]
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"name", t.Name}, {"os", t.OS}, {"user", t.User}, {"path", t.Path}, {"version", t.Version}, {"hash", t.Hash}, {"source", t.Source},
		{"files", strconv.Itoa(t.Files)}, {"size", units.BytesSize(float64(t.Bytes))}, {"created", t.Created.Format(time.RFC3339)},
	} {
		if t.Version == "" && (row[0] == "files" || row[0] == "size" || row[0] == "hash" || row[0] == "source") {
			continue
		}
		if row[0] == "version" && t.Version == "" {
			row[1] = "none: a plain folder, which nothing keeps from being changed"
		}
		fmt.Fprintf(w, "%s\t%s\n", row[0], orDash(printable(row[1])))
	}
	if err := w.Flush(); err != nil || t.Version == "" {
		return err
	}
	fmt.Fprintln(out)
	w = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "VERSION\tSIZE\tPROCS\tAGE\tSOURCE")
	for _, v := range versions {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", v.Version, units.BytesSize(float64(v.Bytes)), v.Procs, age(now.Sub(v.Created)), cell(v.Source))
	}
	return w.Flush()
}

func printVerdict(out io.Writer, v server.TemplateVerdict) error {
	for _, d := range v.Differences {
		if _, err := fmt.Fprintf(out, "%s: %s\n", printable(d.Path), printable(d.What)); err != nil {
			return err
		}
	}
	if len(v.Differences) > 0 {
		return nil
	}
	_, err := fmt.Fprintf(out, "template %s: as it was sealed, %d files, %s\n", refOf(v.Template), v.Template.Files, units.BytesSize(float64(v.Template.Bytes)))
	return err
}

// refOf names exactly this template.
func refOf(t server.Template) string {
	if t.Version == "" {
		return t.Name
	}
	return t.Name + "@" + t.Version
}

func (c *client) templates(ctx context.Context) (list server.TemplateList, err error) {
	_, err = c.call(ctx, http.MethodGet, "/v1/templates", nil, &list)
	return list, err
}

func (c *client) templateVersions(ctx context.Context, ref string) (all server.TemplateVersions, err error) {
	_, err = c.call(ctx, http.MethodGet, "/v1/templates/"+url.PathEscape(ref), nil, &all)
	return all, err
}

func (c *client) verifyTemplate(ctx context.Context, ref string) (v server.TemplateVerdict, err error) {
	_, err = c.call(ctx, http.MethodGet, "/v1/templates/"+url.PathEscape(ref)+"/verify", nil, &v)
	return v, err
}

func (c *client) removeTemplate(ctx context.Context, ref string) error {
	_, err := c.call(ctx, http.MethodDelete, "/v1/templates/"+url.PathEscape(ref), nil, nil)
	return err
}

func (c *client) pruneTemplates(ctx context.Context) (gone server.TemplateList, err error) {
	_, err = c.call(ctx, http.MethodPost, "/v1/templates/prune", nil, &gone)
	return gone, err
}
