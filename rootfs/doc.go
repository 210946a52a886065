// Package rootfs owns what a sandbox sees as files: the shared templates, the
// images of the apps, the writable layer of each proc, the volumes that outlive
// procs, and which folders of the host may be shown.
//
//	ts := rootfs.OpenTemplates(rootfs.TemplatesConfig{Folder: state + "/template", Dir: state + "/templates"})
//	t, err := ts.Get("") // the default one; t.Path is the overlay's lower layer
//
//	d, err := ts.Draft("bookworm") // a new version; see Draft
//
//	is, err := rootfs.OpenImages(rootfs.ImagesConfig{Dir: state + "/cache"})
//	img, err := is.Fetch(ctx, rootfs.Want{Ref: "https://example.com/blog.tar.gz", Holder: id}) // img.Dir goes read-only to /app
//	defer is.Release(id)
//
//	ls, err := rootfs.OpenLayers(state + "/layers")
//	layer, err := ls.CreateImage(id, isolate.Limits{Disk: 1 << 30})
//	defer ls.Remove(id)
//
//	vs, err := rootfs.OpenVolumes(rootfs.VolumesConfig{Dir: state + "/volumes", Max: 100})
//	v, err := vs.Take("blog", 1<<30, user) // the file system in vs.Image(v.Name) goes where the proc wants it
//
// A template is prepared once, sealed, and never written to again: what is made
// later under its name is another version, which procs that run do not see. Its
// version is named by the hash of its tree, so that anybody can tell at any time
// whether it is what was sealed ([Templates.Verify]). A plain folder that somebody
// keeps for us can be a template too, but has no versions and cannot be verified.
//
// An image is kept by the SHA-256 of its archive, however many URLs lead to it. It
// is unpacked while it arrives, and becomes visible by one rename when all of it is
// on disk. Who asks for a URL gets what is there now: its server is asked whether
// that has changed. Who names a digest gets that. One that is a file system, squashfs
// or erofs, is not unpacked but kept as it is, where the operator lets the kernel
// mount such. What a proc holds is not removed; of the rest, what was used least
// recently goes when the cache is full. A list of what was unpacked tells whether it
// is still that; what is not is set aside, and the same fetched again. A layer belongs
// to one proc and dies with it.
//
// Archives, and the servers that send them, are taken for hostile: every path
// goes through an [os.Root], only files, folders, links and nothing else are
// made, sizes and counts are bounded, and the address that a connection really
// goes to is judged after the name was resolved. A layer and a volume are written by a tenant:
// nothing here ever opens a file in one.
//
// It needs Linux 5.6 (openat2(2)) and root for layers, whose folders belong to
// the sandbox's own range of ids. It starts no process and mounts nothing.
//
// What it does not do: it does not vouch for what an image holds, which is the
// tenant's own code and data; two URLs of the same content that are asked for at
// the same moment are two transfers, of which one is kept, for what they hold is
// known when it has come; a layer made by [Layers.Create] has no limit of the disk; and folders inside
// which other users of the host may write are no place for its state.
package rootfs
