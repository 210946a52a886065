package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

func (a *app) volumeVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "volume",
		Short: "List, make, show or remove volumes",
		Long: `A volume is a folder for what apps keep. A proc that asks for one by name has it
at a path of its choice, and what it writes there is there for the next proc that
asks, be it of another app. The folder belongs to the user that the first of them
runs as. Nothing but rm removes a volume, and that only while no proc has it.

One with a size is a file system of its own: no app writes more to it, and its
space is taken from the disk when it is made. One proc at a time can have it. One
without is a folder on the daemon's disk, for any number of procs at once.`,
		Example: `  sudo hypervisor run --mount type=volume,source=blog,target=/data --shell 'date >>/data/log; cat /data/log'
  sudo hypervisor volume ls
  sudo hypervisor volume rm blog`,
	}
	cmd.AddCommand(a.volumeLsVerb(), a.volumeCreateVerb(), a.volumeShowVerb(), a.volumeRmVerb())
	return cmd
}

func (a *app) volumeLsVerb() *cobra.Command {
	return listing[server.VolumeList, proc.Volume]{
		get:     (*client).volumes,
		entries: func(l server.VolumeList) []proc.Volume { return l.Volumes },
		table:   printVolumes,
		name:    func(v proc.Volume) string { return v.Name },
		names:   "names",
	}.verb(a, &cobra.Command{
		Use:   "ls",
		Short: "List volumes, and how many procs have each",
		Example: `  sudo hypervisor volume ls
  sudo hypervisor volume ls --json | jq -r '.volumes[] | select(.procs == []) | .name'`,
	})
}

func (a *app) volumeCreateVerb() *cobra.Command {
	var cfg clientConfig
	var asJSON bool
	var size int64
	cmd := &cobra.Command{
		Use:   "create NAME...",
		Short: "Make empty volumes",
		Long: `Make empty volumes. There is no need to: a proc that asks for a volume which does
not exist gets a new one.`,
		Example: `  sudo hypervisor volume create blog --size 1G`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := newClient(cfg)
			return forEach(args, func(name string) error {
				var v proc.Volume
				_, err := c.call(cmd.Context(), http.MethodPost, "/v1/volumes", server.VolumeRequest{Name: name, Size: size}, &v)
				if err != nil {
					return err
				}
				return a.answer(asJSON, v, v.Name)
			})
		},
	}
	add(cmd.Flags(), &size, "size", "", "SIZE", "how much each can hold, as 512M or 1G (default as much as the disk)", parseSize)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print each volume as JSON")
	cfg.flags(cmd.Flags())
	return cmd
}

func (a *app) volumeShowVerb() *cobra.Command {
	var cfg clientConfig
	cmd := &cobra.Command{
		Use:     "show NAME...",
		Short:   "Print all that is known of volumes, as JSON",
		Example: `  sudo hypervisor volume show blog | jq -r '.procs[]'`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := newClient(cfg)
			return forEach(args, func(name string) error {
				var v proc.Volume
				if _, err := c.call(cmd.Context(), http.MethodGet, "/v1/volumes/"+url.PathEscape(name), nil, &v); err != nil {
					return err
				}
				return a.printJSON(v)
			})
		},
	}
	cfg.flags(cmd.Flags())
	return cmd
}

func (a *app) volumeRmVerb() *cobra.Command {
	return a.removing("/v1/volumes/", &cobra.Command{
		Use:   "rm NAME...",
		Short: "Remove volumes with all that is in them",
		Long: `Remove volumes with all that is in them, for good. One that a proc has which has
not ended stays, and the status is 1.`,
		Example: `  sudo hypervisor volume rm blog`,
	})
}

func (c *client) volumes(ctx context.Context) (list server.VolumeList, err error) {
	_, err = c.call(ctx, http.MethodGet, "/v1/volumes", nil, &list)
	return list, err
}

// printVolumes prints a table of volumes.
func printVolumes(out io.Writer, volumes []proc.Volume, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tAGE\tSIZE\tOWNER\tPROCS")
	for _, v := range volumes {
		old, size, owner := "-", "-", "-"
		if v.Damage == "" {
			old = age(now.Sub(v.Created))
		}
		if v.Size > 0 {
			size = units.BytesSize(float64(v.Size))
		}
		if v.Owner != nil {
			owner = fmt.Sprintf("%d:%d", v.Owner.UID, v.Owner.GID)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\n", cell(v.Name), old, size, owner, len(v.Procs))
	}
	return w.Flush()
}
