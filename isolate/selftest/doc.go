// Package selftest is the acceptance test that the binary carries: it launches
// real sandboxes on this kernel and on the file system of a folder, has a probe
// try inside what docs/isolation.md says cannot be done, and tells what came of
// it. It needs root, no network and no template, and leaves nothing behind.
//
//	report, err := selftest.Run(ctx, selftest.Options{Dir: "/var/lib/gilliam", Lease: lease})
//	for _, r := range report.Results {
//		fmt.Println(r.Name, r.State, r.Promise, r.Found)
//	}
//	if !report.OK { … }
//
// A check is a row of a table: its name, what it promises, what to do when that
// does not hold, and a function. Most of them are one attack of package attacks in
// a sandbox of its own and what must come of it. The probe is isolate/selftest/probe,
// embedded by isolate/selftest/probebin.
//
// The sandboxes are those of package isolate by its own defaults, on a root of the
// selftest's, with a layer as every proc has one. What a daemon adds, images and
// ports, is not tested here. Beside the checks a report has the host's remarks
// ([isolate.Host.Remarks]).
//
// It proves what it tries, no more: no kernel bug that nobody has found yet, and
// nothing about a hypervisor that was started with other flags.
package selftest
