// Package isolate runs one program in one sandbox: its own mount, pid, uts,
// ipc, cgroup, user and, unless it shares the host's, network namespaces, an
// overlay over a shared template as its root, a cgroup with limits, no
// capability, no_new_privs, a seccomp filter and, where the kernel has scopes, a
// Landlock domain. It is pure Go, needs no helper on the host, and never leaves a mount
// in the host's own mount table.
//
// A caller goes from a [Spec] to a [Plan] to a [Sandbox]:
//
//	host, err := isolate.Probe()
//	plan, err := isolate.NewPlan(spec, host) // pure: prints, compares, tests without root
//	fmt.Print(plan)                          // one step a line
//	eng, err := isolate.NewEngine(host)
//	box, err := eng.Launch(ctx, plan, isolate.IO{Stdout: w, Stderr: w})
//	exit := box.Wait()                       // or <-box.Done()
//	err = box.Destroy()                      // cgroup and all that is left
//
// It needs Linux 5.19 (idmapped overlay layers), overlayfs, user namespaces,
// cgroup v1 or v2, and to run as root.
//
// What it does not do: it knows nothing of HTTP, apps, images or pools of ports;
// it does not make or remove the folders that a [Spec] names; it does not protect
// the kernel from the author of a [FileSystem]; and it does not protect a sandbox from
// the template's or an image's author running code in it: that code is the tenant's.
package isolate
