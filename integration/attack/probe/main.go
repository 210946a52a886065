package main

import (
	"maps"
	"runtime"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// own are the attacks that the selftest does not make.
var own = map[string]attacks.Func{
	"chain":       chain,
	"crash":       crash,
	"executables": executables,
	"hold":        hold,
	"image":       image,
	"leaks":       leaks,
	"litter":      litter,
	"memory":      memory,
	"murder":      murder,
	"network":     network,
	"open-files":  openFiles,
	"quota":       quota,
	"scheduling":  scheduling,
	"watch":       watch,
	"zombies":     zombies,
}

func init() { runtime.LockOSThread() } // for attacks.Main

func main() {
	all := attacks.All()
	maps.Copy(all, own)
	attacks.Main(all)
}
