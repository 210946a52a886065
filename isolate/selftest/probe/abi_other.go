//go:build !amd64

package main

import "github.com/gilliam/hypervisor/isolate/selftest/attacks"

func abi(*attacks.Report, []string) {}
