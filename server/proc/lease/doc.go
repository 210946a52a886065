// Package lease gives out numbers, ports and ranges of user ids, each to one proc
// of one hypervisor on this machine.
//
//	p, err := lease.Open("/run/gilliam/ports", stateDir, lease.Numbers{First: 10000, Count: 100, Free: portFree})
//	n, err := p.Take(id)   // recorded before it returns
//	err = p.Release(n, id) // when nothing of the proc is left
//
// A lease is a file named by its number that says whose it is: the state folder
// and the proc. It is there as long as the proc holds the number, whether or not
// a hypervisor runs, so that two hypervisors side by side never give out the same
// one, and apps that outlive theirs keep their own. The folder is in /run: what a
// reboot ends, it forgets.
//
// A lease whose proc is no longer in its state folder is nobody's: whoever needs
// the number takes it, if it is not in use all the same.
package lease
