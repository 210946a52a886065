package selftest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gilliam/hypervisor/isolate/selftest/attacks"
)

// limitChecks are about how much the program gets.
func limitChecks() []check {
	return []check{
		{name: "rlimits", promise: "its resource limits are those of the plan, and it cannot raise one", run: rlimits},
		{name: "memory", promise: "a program that takes more memory than its limit is killed, and that is noticed", run: memory},
		{name: "pids", promise: "a fork bomb ends at the limit of processes, and is killed whole", run: pids},
		{name: "disk", promise: "a full layer is full for the program alone: so many bytes and files, and no more, in whatever way", run: disk},
		{name: "cpu", promise: "a busy program is made to wait when it has used its share of CPU", run: cpu},
	}
}

func rlimits(ctx context.Context, b *bench) finding {
	s := b.spec(0, "grow")
	plan, err := b.plan(s)
	if err != nil {
		return broken(err)
	}
	want := map[string]string{}
	for _, r := range plan.Rlimits {
		s.Args = append(s.Args, fmt.Sprintf("%s=%d", r.Name, r.Resource))
		want["hard "+r.Name] = fmt.Sprint(r.Hard)
	}
	r, err := b.attackIn(ctx, s)
	return judge(attacks.Expectation{Want: want}, r, err)
}

// memory takes twice the limit.
func memory(ctx context.Context, b *bench) finding {
	const limit, size = 32, 64 // MiB
	if b.Swap && !b.SwapLimit {
		return finding{missing: true, note: "the kernel cannot limit swap, into which the program would go on: boot with swapaccount=1, or turn swap off"}
	}
	s := b.spec(0, "hoard", strconv.Itoa(size))
	s.Limits.Memory = limit << 20
	r, exit, err := b.fate(ctx, s)
	switch {
	case err != nil:
		return broken(err)
	case r.Result == "worked":
		return unless(false, "it took %d MiB under a limit of %d", size, limit)
	}
	return unless(exit.OOMKilled, "no OOM kill was noticed: the program ended with %d and said %v", exit.Code, r.Detail).
		and(unless(exit.Code == 137, "the program ended with %d and not as if by SIGKILL, 137", exit.Code))
}

// pids forks as often as it may, and is killed.
func pids(ctx context.Context, b *bench) (f finding) {
	const limit, bomb = 24, 200
	s := b.spec(0, "forkbomb", strconv.Itoa(bomb))
	s.Limits.Pids = limit
	x, err := b.start(ctx, s)
	if err != nil {
		return broken(err)
	}
	defer x.endWith(&f)
	r, err := x.report(ctx)
	if err != nil {
		return broken(err)
	}
	made, err := strconv.Atoi(r.Detail["made"])
	f = unless(err == nil && made > 0 && made <= limit, "it made %q processes under a limit of %d", r.Detail["made"], limit)
	usage, err := x.Usage()
	if err != nil {
		return broken(err)
	}
	x.Kill()
	_, late := x.ended(ctx)
	return f.and(unless(usage.Pids <= limit, "the cgroup has %d processes under a limit of %d", usage.Pids, limit)).
		and(unless(late == nil, "killed: %v", late))
}

// disk fills a layer by thrice its limits.
func disk(ctx context.Context, b *bench) finding {
	const mib, files = 16, 512
	if b.NoDiskLimit != "" {
		return finding{missing: true, note: b.NoDiskLimit + ": an app fills the state folder's disk as far as that goes"}
	}
	s := b.spec(0, "fill", strconv.Itoa(3*mib), strconv.Itoa(3*files), "/var/tmp")
	s.Limits.Disk, s.Limits.Inodes = mib<<20, files
	s.Layer = b.ground.layers.At(s.ID, s.Limits)
	r, err := b.attackIn(ctx, s)
	want := map[string]string{}
	f := finding{}
	for name, got := range r.Detail {
		if !strings.HasPrefix(name, "got by ") {
			continue
		}
		want[name] = attacks.Whatever
		most := files
		if way := strings.Fields(name)[2]; way == "write" || way == "allocate" || way == "direct" {
			most = mib
		}
		n, err := strconv.Atoi(got)
		f = f.and(unless(err == nil && n > most/2 && n <= most, "%s: %s, with a limit of %d", name, got, most))
	}
	return judge(attacks.Expectation{Errno: "ENOSPC", Want: want}, r, err).and(f)
}

// cpu lets a program burn until the kernel has made it wait, or it has used what it
// may have in many periods: no clock decides.
func cpu(ctx context.Context, b *bench) (f finding) {
	const share, enough = 0.05, 500 * time.Millisecond // 5 ms a period: a hundred of them
	s := b.spec(0, "burn")
	s.Limits.CPU = share
	x, err := b.start(ctx, s)
	if err != nil {
		return broken(err)
	}
	defer x.endWith(&f)
	if _, err := x.report(ctx); err != nil {
		return broken(err)
	}
	tick := time.NewTicker(10 * time.Millisecond) // no event tells of it
	defer tick.Stop()
	for {
		usage, err := x.Usage()
		if err != nil {
			return broken(err)
		}
		if usage.Throttled > 0 {
			return f
		}
		if usage.CPU > enough {
			return unless(false, "it used %v of CPU time with a share of %v, and never waited", usage.CPU, share)
		}
		select {
		case <-tick.C:
		case <-x.Done():
			return broken(errors.New("the program has ended"))
		case <-ctx.Done():
			return broken(ctx.Err())
		}
	}
}
