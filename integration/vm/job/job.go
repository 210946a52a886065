package job

import "time"

// Path is where the job is in the initramfs, as JSON.
const Path = "/job.json"

// A Job is what a guest has to do.
type Job struct {
	Modules []string `json:"modules"` // files in the initramfs, in the order to load them
	State   bool     `json:"state"`   // there is a third disk, to be mounted at [StateDir]
	Tasks   []Task   `json:"tasks"`   // one after the other
}

// A Task is a program to run.
type Task struct {
	Name    string        `json:"name"` // of its result
	Dir     string        `json:"dir"`  // to run in
	Args    []string      `json:"args"` // with the program's path
	Timeout time.Duration `json:"timeout"`
}

// Where the guest finds things: the layout of its root.
const (
	TemplateDir = "/template"    // the first disk
	ScratchDir  = "/vm"          // the second disk, which holds:
	TempDir     = "/vm/tmp"      // what is /tmp, too
	TestsDir    = "/vm/tests"    // a folder for each package of tests
	BinDir      = "/vm/bin"      // first in PATH
	Profiles    = "/vm/profiles" // AppArmor profiles as the kernel loads them
	StateDir    = "/state"       // the third disk, which outlives the machine
)

// Program is a program that the host built from a folder's source, in that
// folder.
const Program = "vm.main"

// Binary is a package's compiled tests, in its folder.
const Binary = "vm.test"

// Tests is the task of running the tests of the package in a folder of the
// project; those whose names match run, as for go test -run.
func Tests(folder, run string, timeout time.Duration) Task {
	dir := TestsDir + "/" + folder
	return Task{folder, dir, []string{
		dir + "/" + Binary, "-test.v", "-test.paniconexit0", "-test.timeout=" + timeout.String(), "-test.run=" + run,
	}, timeout}
}
