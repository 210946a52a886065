// Standin is `go` in the guest, which has no compiler: tests that build a program
// of their own with
//
//	go build [flags] -o OUTPUT ./FOLDER
//
// get the one that the host has built from that folder. Whatever else they ask
// for is an error.
package main
