// Package tree makes root file systems out of tars, layers of container images and
// folders.
//
//	w, err := tree.NewWriter(dir) // an empty folder
//	defer w.Close()
//	err = w.Tar(ctx, r)           // one after the other: a later entry replaces an earlier one
//	err = w.Layer(ctx, r)         // a tar that may also take away (OCI image-spec, layer.md)
//	err = w.Folder(ctx, "/srv/rootfs")
//	err = w.Finish()              // folders get their times
//
// What comes is to become a template, which its operator trusts: owners, modes,
// setuid bits, times, hard links and file capabilities stay. Where it comes to be
// is another matter: whatever a tar says, nothing is made, changed or removed
// outside dir. Every folder on the way is opened by openat2(2) with
// RESOLVE_IN_ROOT, as it would be by who has dir for a root, and everything is done
// relative to that folder, without following the last name.
//
// Devices, FIFOs and sockets are left out, and counted: a sandbox has a /dev of its
// own. So are attributes that mean something to overlayfs or to the host's
// security modules. Ids beyond the 65,536 that a sandbox has are refused.
//
// It needs Linux 5.6, root, and /proc. It does not bound sizes: a disk that a
// trusted archive fills is its operator's.
package tree
