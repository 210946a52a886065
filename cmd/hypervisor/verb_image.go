package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/gilliam/hypervisor/server"
	"github.com/gilliam/hypervisor/server/proc"
)

func (a *app) imageVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "List, remove or verify the images in the cache",
		Long: `An image is fetched once and kept by the SHA-256 of its archive, its digest. A new
proc asks the image's server whether it has changed; one that names a digest
(run --image-digest) asks nobody. The cache keeps to the daemon's
--image-cache-size by removing what was used least recently, and never what a
proc uses.

Where a digest is asked for, its first digits will do.`,
		Example: `  sudo hypervisor image ls
  sudo hypervisor image verify
  sudo hypervisor image gc --keep 1G`,
	}
	cmd.AddCommand(a.imageLsVerb(), a.imageRmVerb(), a.imageGCVerb(), a.imageVerifyVerb())
	return cmd
}

func (a *app) imageLsVerb() *cobra.Command {
	return listing[server.ImageList, proc.Image]{
		get:     (*client).images,
		entries: func(l server.ImageList) []proc.Image { return l.Images },
		table:   printImages,
		name:    func(img proc.Image) string { return img.ID },
		names:   "digests",
	}.verb(a, &cobra.Command{
		Use:   "ls",
		Short: "List the images, the last used first",
		Example: `  sudo hypervisor image ls
  sudo hypervisor image ls --json | jq -r '.images[] | select(.in_use == []) | .digest'`,
	})
}

func (a *app) imageRmVerb() *cobra.Command {
	return a.removing("/v1/images/", &cobra.Command{
		Use:   "rm DIGEST...",
		Short: "Remove images that no proc uses",
		Example: `  sudo hypervisor image rm 3f0c8f6e3a52
  sudo hypervisor image rm $(sudo hypervisor image ls --json | jq -r '.images[] | select(.in_use == []) | .id')`,
	})
}

func (a *app) imageGCVerb() *cobra.Command {
	var cfg clientConfig
	var keep int64
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove all images that no proc uses, and what was set aside",
		Long: `Remove images that no proc uses, the least recently used first, until the images
take no more than --keep; without it, all of them. What was found damaged and set
aside is removed too.`,
		Example: `  sudo hypervisor image gc
  sudo hypervisor image gc --keep 2G`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var gone proc.ImagesRemoved
			_, err := newClient(cfg).call(cmd.Context(), http.MethodPost, "/v1/images/gc?keep="+strconv.FormatInt(keep, 10), nil, &gone)
			switch {
			case err != nil:
				return err
			case asJSON:
				return a.printJSON(gone)
			}
			var disk int64
			for _, img := range gone.Images {
				disk += img.Disk
				fmt.Fprintf(a.stdout, "%.12s  %s  %s\n", img.ID, units.BytesSize(float64(img.Disk)), cell(strings.Join(img.Refs, " ")))
			}
			fmt.Fprintf(a.stdout, "%d images removed, %s, and %d that were set aside\n", len(gone.Images), units.BytesSize(float64(disk)), gone.Damaged)
			return nil
		},
	}
	f := cmd.Flags()
	add(f, &keep, "keep", "", "SIZE", "disk that the images may go on taking (default none)", parseSize)
	f.BoolVar(&asJSON, "json", false, "print the API's answer")
	cfg.flags(f)
	return cmd
}

func (a *app) imageVerifyVerb() *cobra.Command {
	var cfg clientConfig
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify [DIGEST]...",
		Short: "Tell whether images are what was unpacked",
		Long: `Read all of the images again, or of those that are named, and compare them with the
list that was made when each was unpacked; of a container image these are its layers.
One that differs is taken out of use and at once fetched again, the same by its
digest, from where the procs that use it have it from, or, if none does, from its URL,
unless that held a query, which is not kept. Procs that run from what was damaged go on;
a restart gives them the good one. What cannot be fetched again is tried with the daily
scrub, and when it is next asked for. Each file that differs is printed, and what has
become of the image, and the exit status is 1 then.`,
		Example: `  sudo hypervisor image verify
  sudo hypervisor image verify 3f0c8f6e3a52 --json | jq -r '.differences[].path'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c := newClient(cfg)
			if len(args) == 0 {
				list, err := c.images(cmd.Context())
				if err != nil {
					return err
				}
				for _, img := range list.Images {
					args = append(args, img.ID)
				}
			}
			return forEach(args, func(digest string) error { return a.verifyImage(cmd.Context(), c, digest, asJSON) })
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's answers")
	cfg.flags(cmd.Flags())
	return cmd
}

func (a *app) verifyImage(ctx context.Context, c *client, digest string, asJSON bool) error {
	var v proc.ImageVerdict
	if _, err := c.call(ctx, http.MethodPost, "/v1/images/"+url.PathEscape(digest)+"/verify", nil, &v); err != nil {
		return err
	}
	switch {
	case asJSON:
		if err := a.printJSON(v); err != nil {
			return err
		}
	case len(v.Differences) == 0:
		fmt.Fprintf(a.stdout, "%.12s  as it was unpacked, %d entries, %s\n", v.Image.ID, v.Image.Entries, units.BytesSize(float64(v.Image.Bytes)))
	}
	if len(v.Differences) == 0 {
		return nil
	}
	for _, d := range v.Differences {
		if !asJSON {
			fmt.Fprintf(a.stdout, "%.12s  %s\n", v.Image.ID, printable(d.String()))
		}
	}
	now := "and has been fetched again"
	if !v.FetchedAgain {
		now = "and could not be fetched again: " + printable(v.NotFetched)
	}
	return fmt.Errorf("image %.12s is not what was unpacked: %d files differ; it was set aside, %s", v.Image.ID, len(v.Differences), now)
}

func (c *client) images(ctx context.Context) (list server.ImageList, err error) {
	_, err = c.call(ctx, http.MethodGet, "/v1/images", nil, &list)
	return list, err
}

// printImages prints a table of images.
func printImages(out io.Writer, images []proc.Image, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DIGEST\tFORMAT\tDISK\tENTRIES\tPROCS\tUSED\tFROM")
	for _, img := range images {
		fmt.Fprintf(w, "%.12s\t%s\t%s\t%d\t%d\t%s\t%s\n", img.ID, orDash(img.Format), units.BytesSize(float64(img.Disk)), img.Entries,
			len(img.UsedBy), age(now.Sub(img.Used)), cell(strings.Join(img.Refs, " ")))
	}
	return w.Flush()
}
