// Package attacks is what a program in a sandbox may try to get out, to gain a
// privilege or to see more than its own, and what must come of it. Two programs
// are made of it: the probe of hypervisor selftest, which the binary carries, and
// that of the attack tests, which knows some more.
//
// An attack is made of tries, each with its outcome in [Report.Detail]: "ok" when
// it worked, else the name of the error. Detail also holds facts, such as the
// capabilities in /proc/self/status. An [Expectation] judges a report; it stands
// beside the attack, and both the selftest and the attack tests go by it.
//
//	r := …                                        // what a probe has said in a sandbox
//	for _, wrong := range attacks.SystemCalls.Judge(r).Wrong {
//		fmt.Println(wrong) // "keyctl: it works"
//	}
//
// Attacks are made so that they do no harm where they work: they stop at the
// open(2) that shows it, or have arguments that do nothing.
package attacks
