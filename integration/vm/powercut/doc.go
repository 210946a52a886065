// Powercut writes files until the machine that it runs in loses its power, and
// tells afterwards which of them are there:
//
//	powercut write DIR // for ever; says "durable 17" when 17 files must survive
//	powercut check DIR // says "flushed-whole 17", "flushed-torn 0", "careless-whole 5" …
//
// Each file is written, flushed, renamed to its name, and its folder flushed, as
// the hypervisor does with its records. Beside each lies one that is written and
// nothing more: what a power cut may take, to show that there was one.
//
// What it says are facts of package job.
package main
