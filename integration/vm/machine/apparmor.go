package machine

import (
	"context"
	"os/exec"
	"path/filepath"
)

// CompileProfiles writes AppArmor profiles to a file in the form in which a kernel
// loads them, by the parser out of Debian's package below cache. The kernel that
// they are for has at least the features of Linux 5.4.
func CompileProfiles(ctx context.Context, cache, to string, profiles ...string) error {
	dir, err := FetchPackage(ctx, cache, "apparmor")
	if err != nil {
		return err
	}
	abi := filepath.Join(dir, "etc/apparmor.d/abi")
	args := []string{
		"--skip-kernel-load", "--skip-cache", "--config-file=/dev/null", "--base=" + filepath.Join(dir, "etc/apparmor.d"),
		"--kernel-features=" + filepath.Join(abi, "kernel-5.4-vanilla"), "--policy-features=" + filepath.Join(abi, "3.0"), "--ofile=" + to,
	}
	return run(exec.CommandContext(ctx, filepath.Join(dir, "sbin/apparmor_parser"), append(args, profiles...)...))
}
