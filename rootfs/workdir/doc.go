// Package workdir makes folders for work that may be killed, and finds those whose
// work was.
//
//	err := workdir.Sweep(stateDir, ".debian-", func(dir string) error {
//		… give back what belongs to it …
//		return os.RemoveAll(dir)
//	})
//	w, err := workdir.Make(stateDir, ".debian-")
//	defer w.Remove()
//	… work in w.Path …
//
// Who works in a folder holds a lock on it (flock(2)), which the kernel takes away
// with the process, however that ends.
//
// The lock says nothing to who does not ask for it, and does not go over to other
// machines by every network file system: the parent is to be a folder of root's on
// a disk of this one.
package workdir
