// Package metrics shows the hypervisor to Prometheus. Whatever somebody else
// counts already is read at scrape time and not kept here; only the durations
// of launches and the HTTP requests are told to it as they happen.
//
//	m := metrics.New(metrics.Build{Version: version, Commit: commit})
//	procs, err := proc.Open(proc.Config{OnPhase: m.ObservePhase, OnListening: m.ObserveListening})
//	m.Watch(procs, images)
//	s := server.New(server.Config{Metrics: m.Handler(log), Observe: m.ObserveRequest})
//
// A proc has metrics of its own for as long as it runs: they come from a list
// of what runs now, so none has to be deleted.
//
// What this package does not protect against: /metrics tells whoever may read
// it the names and the ids of the apps.
package metrics
