// Command userland is all programs of the template mini in one: a shell, the file
// commands, and a web server for static files. Which one it is, its name says:
//
//	/usr/bin/sh -> userland
//	userland ls -l /
//
// The shell is mvdan.cc/sh, the file commands are u-root's. The rest are as POSIX
// has them, with the options that scripts mostly use; an option that there is not
// is an error, never ignored.
//
// What the shell cannot do, and bash can: trap signals, and control jobs. It becomes
// the last program of its command line, as bash does, so that an app is process and
// parent of nobody else: see shell.go.
package main
