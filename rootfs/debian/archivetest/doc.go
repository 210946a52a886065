// Package archivetest makes small Debian archives for tests: packages out of a few
// lines, indexes, signatures with keys of its own, and a server on loopback that can
// be told to misbehave.
//
//	a := archivetest.New(t, "bookworm")
//	a.Add(archivetest.Package{Control: "Package: a\nVersion: 1\n…", Files: …})
//	url := a.Serve()
//	// a.Keyring is a file with the key that the archive is signed with
package archivetest
