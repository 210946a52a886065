package metrics

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gilliam/hypervisor/isolate"
	"github.com/gilliam/hypervisor/isolate/safely"
	"github.com/gilliam/hypervisor/rootfs"
	"github.com/gilliam/hypervisor/server/proc"
)

// Procs is what is read of the procs; *proc.Manager has it.
type Procs interface {
	List() []proc.Proc
	Usage(id string) (isolate.Usage, error)
	Counts() proc.Counts
	Space() (s rootfs.Space, reserve int64, err error)
	CallbackStats() proc.CallbackStats
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	procsDesc     = desc("gilliam_procs", "Procs that are known, by state.", "state")
	launchesDesc  = desc("gilliam_proc_launches_total", "Launches that came to an end, by outcome.", "outcome")
	restartsDesc  = desc("gilliam_proc_restarts_total", "Restarts of procs that had ended by themselves.")
	leakedDesc    = desc("gilliam_leaked_resources", "Resources of ours that no proc had at the last audit, which removes them.", "kind")
	pressureDesc  = desc("gilliam_pressure_errors_total", "Errors that came of what the host had too little of, by what that is.", "resource")
	callbacksDesc = desc("gilliam_callbacks_total", "Callbacks, by outcome: one is delivered, dead or dropped once, and may have failed before.", "outcome")
	pendingDesc   = desc("gilliam_callbacks_pending", "Callbacks that are still to be delivered.")
	deadDesc      = desc("gilliam_callbacks_dead_letters", "Callbacks that were given up and wait for somebody to look.")
	oldestDesc    = desc("gilliam_callbacks_oldest_pending_seconds", "How long the oldest callback that is still to be delivered has waited.")
	unwrittenDesc = desc("gilliam_callback_write_errors_total", "Times that the disk did not take a change of the callbacks.")
	droppedDesc   = desc("gilliam_log_dropped_lines_total", "Lines of the apps' output that were not kept, by what did not take them.", "sink")
	volumesDesc   = desc("gilliam_volumes", "Volumes that there are.")
	errorsDesc    = desc("gilliam_usage_errors_total", "Times that the usage of a running proc could not be read for a scrape.")

	cpuDesc    = desc("gilliam_proc_cpu_seconds_total", "CPU time that a running proc has used.", "id", "app", "name")
	memoryDesc = desc("gilliam_proc_memory_bytes", "Memory charged to a running proc.", "id", "app", "name")
	limitDesc  = desc("gilliam_proc_memory_limit_bytes", "Memory that a running proc may use.", "id", "app", "name")
	pidsDesc   = desc("gilliam_proc_pids", "Processes and threads of a running proc.", "id", "app", "name")

	diskDesc        = desc("gilliam_proc_disk_bytes", "Bytes of its writable layer that a running proc uses.", "id", "app", "name")
	diskLimitDesc   = desc("gilliam_proc_disk_limit_bytes", "Bytes of its writable layer that a running proc may use.", "id", "app", "name")
	volumeDesc      = desc("gilliam_proc_volume_bytes", "Bytes in use of a volume with a size that a running proc has.", "id", "app", "name", "target")
	volumeLimitDesc = desc("gilliam_proc_volume_limit_bytes", "Bytes of a volume that a running proc may use.", "id", "app", "name", "target")
	inodesDesc      = desc("gilliam_proc_disk_inodes", "Files, folders and others in the writable layer of a running proc.", "id", "app", "name")
	inodesLimitDesc = desc("gilliam_proc_disk_limit_inodes", "Files, folders and others that a running proc may have in its writable layer.", "id", "app", "name")

	sizeDesc    = desc("gilliam_layers_disk_size_bytes", "Size of the file system that the writable layers are on.")
	freeDesc    = desc("gilliam_layers_disk_free_bytes", "What is free of it.")
	reserveDesc = desc("gilliam_layers_disk_reserve_bytes", "What new procs leave free of it.")
	heldDesc    = desc("gilliam_layers_held_back", "Whether no app may take more of the disk, which is almost full.")
	refusedDesc = desc("gilliam_procs_refused_total", "New procs that were refused, by what there was too little of.", "lack")
)

// A collector reads procs and images at scrape time.
type collector struct {
	procs  Procs
	images Images
	guard  safely.Guard
	errors atomic.Uint64
}

func newCollector(procs Procs, images Images, countPanic func(where string)) *collector {
	return &collector{procs: procs, images: images, guard: safely.Guard{Count: countPanic}}
}

// Describe tells every metric there can be.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{procsDesc, launchesDesc, restartsDesc, pressureDesc, leakedDesc, callbacksDesc, pendingDesc, deadDesc, oldestDesc, unwrittenDesc,
		droppedDesc, volumesDesc, errorsDesc,
		cpuDesc, memoryDesc, limitDesc, pidsDesc, diskDesc, diskLimitDesc, inodesDesc, inodesLimitDesc, volumeDesc, volumeLimitDesc,
		sizeDesc, freeDesc, reserveDesc, heldDesc, refusedDesc} {
		ch <- d
	}
	for _, d := range imageDescs {
		ch <- d
	}
}

// Collect tells their values. It runs in a goroutine of the registry's, in which
// nobody else would catch a panic; [Metrics.Handler] logs it.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	if p := c.guard.Run("metrics", func() { c.collect(ch) }); p != nil {
		ch <- prometheus.NewInvalidMetric(procsDesc, fmt.Errorf("%w\n%s", p, p.Stack))
	}
}

func (c *collector) collect(ch chan<- prometheus.Metric) {
	procs := c.procs.List()
	states := map[proc.State]int{}
	for _, p := range procs {
		states[p.State]++
		if p.State == proc.Running {
			c.usage(ch, p)
		}
	}
	for _, s := range proc.States {
		ch <- gauge(procsDesc, float64(states[s]), string(s))
	}
	counts := c.procs.Counts()
	outcomes(ch, launchesDesc, counts.Launches, "running", "fail")
	for _, kind := range proc.LeakKinds {
		ch <- gauge(leakedDesc, float64(counts.Leaked[kind]), kind)
	}
	outcomes(ch, pressureDesc, counts.Pressure, proc.PressureKinds...)
	ch <- counter(restartsDesc, float64(counts.Restarts))
	ch <- counter(refusedDesc, float64(counts.Refused), "disk")
	c.space(ch)
	ch <- gauge(heldDesc, map[bool]float64{true: 1}[counts.HeldBack])
	callbacks(ch, c.procs.CallbackStats())
	outcomes(ch, droppedDesc, counts.LogDropped, "file", "syslog")

	c.cache(ch)
	ch <- gauge(volumesDesc, float64(counts.Volumes))
	ch <- counter(errorsDesc, float64(c.errors.Load()))
}

// space tells how full the disk of the layers is. What cannot be read is not told.
func (c *collector) space(ch chan<- prometheus.Metric) {
	s, reserve, err := c.procs.Space()
	if err != nil {
		return
	}
	ch <- gauge(sizeDesc, float64(s.Size))
	ch <- gauge(freeDesc, float64(s.Free))
	ch <- gauge(reserveDesc, float64(reserve))
}

// callbacks tells what there is of callbacks.
func callbacks(ch chan<- prometheus.Metric, s proc.CallbackStats) {
	outcomes(ch, callbacksDesc, map[string]uint64{"delivered": s.Delivered, "failed": s.Failed, "dead": s.GivenUp, "dropped": s.Dropped})
	ch <- counter(unwrittenDesc, float64(s.WriteErrors))
	ch <- gauge(pendingDesc, float64(s.Pending))
	ch <- gauge(deadDesc, float64(s.Dead))
	ch <- gauge(oldestDesc, s.Oldest.Seconds())
}

// usage tells what one running proc uses. That it has ended meanwhile is no
// error.
func (c *collector) usage(ch chan<- prometheus.Metric, p proc.Proc) {
	u, err := c.procs.Usage(p.ID)
	if err != nil {
		if !errors.Is(err, proc.ErrNotExist) && !errors.Is(err, proc.ErrNotRunning) {
			c.errors.Add(1)
		}
		return
	}
	// A label that is not UTF-8 would be a panic in the registry's goroutine.
	labels := []string{p.ID, strings.ToValidUTF8(p.App, "?"), strings.ToValidUTF8(p.Name, "?")}
	ch <- counter(cpuDesc, u.CPU.Seconds(), labels...)
	ch <- gauge(memoryDesc, float64(u.Memory), labels...)
	ch <- gauge(limitDesc, float64(u.MemoryLimit), labels...)
	ch <- gauge(pidsDesc, float64(u.Pids), labels...)
	if u.DiskLimit > 0 {
		ch <- gauge(diskDesc, float64(u.Disk), labels...)
		ch <- gauge(diskLimitDesc, float64(u.DiskLimit), labels...)
		ch <- gauge(inodesDesc, float64(u.Inodes), labels...)
		ch <- gauge(inodesLimitDesc, float64(u.InodesLimit), labels...)
	}
	for _, v := range u.Volumes {
		at := append(slices.Clone(labels), strings.ToValidUTF8(v.Target, "?"))
		ch <- gauge(volumeDesc, float64(v.Disk), at...)
		ch <- gauge(volumeLimitDesc, float64(v.DiskLimit), at...)
	}
}

// outcomes tells a counter for each outcome; those named are there from the
// start, so that a rate sees the first one.
func outcomes(ch chan<- prometheus.Metric, d *prometheus.Desc, counts map[string]uint64, always ...string) {
	all := map[string]uint64{}
	for _, outcome := range always {
		all[outcome] = 0
	}
	maps.Copy(all, counts)
	for outcome, n := range all {
		ch <- counter(d, float64(n), outcome)
	}
}

func counter(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

func gauge(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}
