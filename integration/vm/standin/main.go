package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gilliam/hypervisor/integration/vm/job"
)

func main() {
	if err := build(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "go (stand-in):", err)
		os.Exit(1)
	}
}

func build(args []string) error {
	var output, folder string
	for n, arg := range args {
		switch {
		case arg == "-o" && n+1 < len(args):
			output = args[n+1]
		case strings.HasPrefix(arg, "./"):
			folder = arg
		}
	}
	if len(args) == 0 || args[0] != "build" || output == "" || folder == "" {
		return fmt.Errorf("%q: the guest can only `go build -o OUTPUT ./FOLDER`", args)
	}
	content, err := os.ReadFile(filepath.Join(folder, job.Program))
	if err != nil {
		return fmt.Errorf("%w: not built on the host: add it to the suite's programs", err)
	}
	if info, err := os.Stat(output); strings.HasSuffix(output, "/") || err == nil && info.IsDir() {
		output = filepath.Join(output, filepath.Base(folder))
	}
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		return err
	}
	return os.WriteFile(output, content, 0o755)
}
