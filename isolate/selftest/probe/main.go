package main

import (
	"maps"
	"runtime"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// own are the attacks that the attack tests have in other forms.
var own = map[string]attacks.Func{
	"abi":   abi,
	"burn":  burn,
	"grow":  grow,
	"hoard": hoard,
	"open":  open,
	"reach": reach,
	"self":  self,
	"write": write,
}

func init() { runtime.LockOSThread() } // for attacks.Main

func main() {
	all := attacks.All()
	maps.Copy(all, own)
	attacks.Main(all)
}
