// Package probebin carries the program that hypervisor selftest runs in its
// sandboxes, isolate/selftest/probe, built for the machine the hypervisor is
// built for. `make build` builds it first; by hand:
// go generate ./isolate/selftest/probebin
package probebin
