// Package initbin carries the program that is PID 1 of every sandbox,
// cmd/sandbox-init, built for the machine the hypervisor is built for. `make
// build` builds it first; by hand: go generate ./isolate/initbin
package initbin
