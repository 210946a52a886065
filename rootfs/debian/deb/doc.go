// Package deb reads binary packages of Debian (deb(5)) and puts their files into a
// tree, as dpkg does when it unpacks a package that was not there before.
//
//	p, err := deb.Open(file)
//	p.Control            // its paragraph
//	p.Scripts            // what goes to /var/lib/dpkg/info
//	tree, err := deb.OpenTree(dir)
//	files, err := tree.Unpack(p)
//
// Every path is opened below the tree's root by the kernel (openat2(2),
// RESOLVE_IN_ROOT), so that no name and no link, absolute or not, leads out of it.
// Files keep owner, mode, setuid bits and time. Devices are not made: a sandbox has
// its own. Configuration files get the name that dpkg gives them until the package
// is configured. /bin, /lib and the like are links to /usr from the beginning, as
// on every system since bookworm.
//
// A package comes with its own hash checked. What it may take is bounded all the
// same.
//
// It needs Linux 5.6 and root. It does not run scripts.
package deb
