// Storm has a hypervisor make, stop and remove procs until the machine that both run
// in loses its power, and tells what becomes of them:
//
//	storm storm DIR // for ever
//	storm check DIR // what is there now, and then an end in order
//	storm clock DIR // sets the machine's clock a year ahead and back under procs that run
//	storm faulty DIR // has the disk of DIR answer with errors for a while
//
// All start the hypervisor on the state in DIR. The first two tell what it makes of what
// the power cut has left: each proc, and what is not as it should be. Everything that
// it says is a fact of package job, whose value is a [job.Seen]: "asking" before a
// request is sent, "made", "ended" and "removed" when it was answered. Meanwhile an app,
// the program powercut, writes to a volume with a size, and looks what is in there after
// each start: its facts are passed on. The host, which outlives the machine, compares.
package main
