// Package member says what the members of an archive may be called, what its symbolic
// links may say and what times its files may have, whoever made the archive.
//
//	names := member.Names{Path: 4096, Depth: 64}
//	name, err := names.Clean(h.Name) // "a/b", of "./a//b/" and of "/a/b"
//	err = names.Target(h.Linkname)
//	t := member.Time(h.ModTime)
//
// It is pure. A name that it has cleaned leads nowhere outside by itself; that a
// folder on the way is a symbolic link is for who makes the member to find out.
package member
