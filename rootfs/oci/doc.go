// Package oci reads container images: it asks registries for them and makes of
// their layers what overlayfs stacks.
//
//	ref, err := oci.ParseReference("oci://registry.example.com/blog:1.2")
//	c := oci.NewClient(oci.ClientConfig{Transport: judged})
//	repo, err := c.Repository(ctx, ref)        // or a folder in OCI's layout: any [Blobs]
//	digest, err := repo.Digest(ctx)            // what the tag stands for now
//	img, err := oci.Open(ctx, repo, digest)    // manifest and configuration, verified
//	blob, err := oci.OpenLayer(ctx, repo, img.Layers[0])
//	stats, err := oci.Unpack(decompressed, root, oci.Limits{}) // in the form of overlayfs
//
// Images, and the registries that send them, are taken for hostile: every blob is
// held to its digest and its size, every name goes through an [os.Root], only
// files, folders, links and pipes are made, and counts and sizes are bounded.
//
// It keeps nothing; package rootfs does, and decompresses. Which addresses may be
// connected to is for the transport to say. To unpack, it needs root: owners are
// kept, and what a layer takes away of those below is a device.
//
// What it does not do: it knows no signatures of images; it does not read a user's
// names in an image's own files; a hard link to a file of another layer is refused;
// and a folder that a layer only implies is root's and 0755, whatever it is in the
// layers below.
package oci
