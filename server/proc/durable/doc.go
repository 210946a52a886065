// Package durable writes files that a crash finds whole: the old content or the
// new one, never a part of either.
//
//	err := durable.Replace(filepath.Join(dir, "proc.json"), b)
//
// When Replace has returned nil, the new content outlasts a crash of the machine
// as well: the file and its folder were given to fsync(2), and the file took the
// place of the old one by rename(2).
//
// What this package does not protect against: two writers of one file. The last
// one wins.
package durable
