// Package manifest lists what a tree of files is: for each file its path, type,
// mode, owner, link target, extended attributes and the SHA-256 of what it
// holds. The list of a tree is the same wherever and whenever the tree was made,
// so that its own SHA-256 names the tree.
//
//	m, err := manifest.Scan(ctx, "/var/lib/gilliam/template", nil)
//	m.Hash()              // sha256:…
//	m.WriteTo(f)          // as text, in the format of mtree(5)
//
//	was, err := manifest.Parse(f)
//	for _, c := range was.Diff(m) {
//		fmt.Println(c) // usr/bin/env: sha256 is 12…, was 34…
//	}
//
// What a list does not tell: times, which change when a tree is copied; whether
// two names are one file; holes in files; and the labels that the host's security
// modules put on files for themselves.
//
// Scan reads every byte of the tree: about as long as sha256sum(1) on all
// processors. It is made for trees that nobody writes to meanwhile. It follows no
// link and refuses a tree in which something is mounted. Attributes are
// read through /proc/self/fd.
package manifest
