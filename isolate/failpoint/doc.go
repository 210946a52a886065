// Package failpoint lets a test kill the hypervisor at an exact step, as a crash
// would: built with the tag failpoints, a process that gets to the step that
// GILLIAM_FAILPOINT names sends itself SIGKILL; at the one that GILLIAM_PANIC
// names it panics. Built without, as it is for
// everyone else, [Hit] is empty and costs nothing.
package failpoint
