// Probe is what hypervisor selftest runs in its sandboxes, as an app would run.
// Its first argument names an attack, which attacks.All or this program knows,
// and it prints what came of it: one line of JSON, an attacks.Report.
package main
