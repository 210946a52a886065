// Command pack makes the tree of the template mini around the program userland, as
// mini.tar.zst, and mini.hash with the hash of its manifest. go generate runs it in
// the folder above.
package main
