// Package spawn starts a program in a user namespace of its own, and other new
// namespaces, without a copy of this process's memory.
//
//	runtime.LockOSThread() // the child gets what namespaces and folder this thread has
//	child, err := spawn.Start(spawn.Program{
//		Executable: file, Args: []string{"init"}, Files: []*os.File{stdin, stdout, stderr},
//		Namespaces: unix.CLONE_NEWUSER | unix.CLONE_NEWPID, IDs: spawn.IDs{Base: 1 << 20, Size: 1 << 16},
//	})
//
// Package os can do it too, but forks: the ids of the new user namespace must be
// mapped before the child executes anything, by the parent, which therefore
// cannot sleep until then as it does in vfork(2). A fork copies page tables and
// makes every page that the parent writes to afterwards fault: that costs 0.2 ms
// more in a small process, 0.7 ms in one with 30 MiB and 3 ms in one with 200.
//
// Here the child shares the memory and runs beside its parent, as in
// posix_spawn(3). Go code cannot run like that: the child would have the parent's
// stack and its idea of what thread it is. So the parent writes down the system
// calls that the child is to make, and the child is ten instructions in assembler
// that make one after the other, with neither a stack nor a signal handler
// (CLONE_CLEAR_SIGHAND, Linux 5.5), until it executes the program or one fails.
//
// It needs root and a processor that there is assembler for; on others Start
// fails. It does not protect what runs in the namespaces from the outside in any
// way: that is the program's work, or was done to the thread before.
package spawn
