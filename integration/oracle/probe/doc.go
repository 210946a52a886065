// Probe runs in a sandbox and tells what it can see there, as one line of JSON
// on its standard output: an object of strings, each named by what it is about,
// as "status CapEff" or "mount /dev flags". Then it waits to be killed, so that
// the sandbox can be looked at from the outside too.
//
// Its arguments are paths to look at beside those that it finds by itself.
//
// It changes nothing, and what one run of a sandbox cannot share with the next
// (numbers of processes, times, amounts) it leaves out.
package main
