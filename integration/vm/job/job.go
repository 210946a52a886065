package job

import "time"

// Path is where the job is in the initramfs, as JSON.
const Path = "/job.json"

// A Job is what a guest has to do.
type Job struct {
	Modules []string `json:"modules"` // files in the initramfs, in the order to load them
	Tests   []Test   `json:"tests"`
}

// A Test is one package's compiled tests.
type Test struct {
	Name    string        `json:"name"`    // the package's folder in the project, as isolate
	Timeout time.Duration `json:"timeout"` // for all of it
}

// Where the guest finds things: the layout of its root.
const (
	TemplateDir = "/template" // the first disk
	ScratchDir  = "/vm"       // the second disk, which holds:
	TempDir     = "/vm/tmp"   // what is /tmp, too
	TestsDir    = "/vm/tests" // a folder for each test
	BinDir      = "/vm/bin"   // first in PATH
)

// Program is a program that the host built from a folder's source, in that
// folder.
const Program = "vm.main"

// Dir is the folder that a test runs in: the package's files.
func (t Test) Dir() string { return TestsDir + "/" + t.Name }

// Binary is the test's executable.
func (t Test) Binary() string { return t.Dir() + "/vm.test" }
