// Package safely calls functions whose panic must end no more than they do. A
// goroutine that panics takes the whole program with it; behind this package it
// takes one request, one launch or one proc.
//
//	guard := safely.Guard{Log: log, Count: m.CountPanic}
//	go func() {
//		if p := guard.Run("proc", i.live, "proc", id); p != nil {
//			i.fail(p) // logged with its stack, and counted
//		}
//	}()
//
// [Catch] is the same without the log, for rooms that have none: a [*Panic] is an
// error and can be handed on to one that has.
//
// What this package does not protect against: what the runtime calls fatal and
// lets nobody recover from (two goroutines writing one map, no memory left), a
// panic in a goroutine that the function has started, and a lock that the
// function held without a deferred unlock.
package safely
